"""GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023). Hugging Face model_type
"gpt_neox"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoders import RotaryDecoder, usual_rope


@dataclass(frozen=True, kw_only=True)
class GPTNeoXConfig(RotaryDecoder):
    """The fields of a GPT-NeoX config.json; defaults are GPT-NeoX-20B. Attention and MLP are in
    parallel (`use_parallel_residual`), each behind a norm of its own."""

    model_type = "gpt_neox"
    FIXED = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    EPS = "layer_norm_eps"
    RATES = ("hidden_dropout", "attention_dropout", "hidden_dropout")
    PREFIX = "gpt_neox."
    TABLE = "embed_in layers.{i} final_layer_norm"
    NORMS = "input_layernorm post_attention_layernorm"
    ATTENTION = "attention query_key_value dense"
    MLP = "mlp.dense_h_to_4h mlp.dense_4h_to_h"
    WORDS = "embed_out"
    ALIASES = ((r"^lm_head\.", "embed_out."),)
    HEADS = heads_of("GPTNeoX", "none", "causal_lm", *LABELLING)

    vocab_size: int = 50432
    hidden_size: int = 6144
    num_hidden_layers: int = 44
    num_attention_heads: int = 64
    intermediate_size: int = 24576
    hidden_act: str = "gelu"
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    classifier_dropout: float | None = 0.1
    layer_norm_eps: float = 1e-5
    use_parallel_residual: bool = True
    rope_parameters: Frozen = usual_rope(partial_rotary_factor=0.25)
    attention_bias: bool = True
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2
    tie_word_embeddings: bool = False

    @classmethod
    def modernise(cls, values):
        older = {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"}
        known = {name: values.pop(name, None) for name in older}
        new = {older[name]: value for name, value in known.items() if value is not None}
        return super().modernise(new | values)

    @property
    def parallel(self):
        return 2 if self.use_parallel_residual else None

    def attend(self, mask):
        own = super().attend(mask)
        return own if self.attention_bias else replace(own, bias=())
