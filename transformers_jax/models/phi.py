"""Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023; Li et al. 2023). Hugging Face model_type
"phi"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.decoders import RotaryDecoder, usual_rope
from transformers_jax.models.shared.weight_rows import S, norm


@dataclass(frozen=True, kw_only=True)
class PhiConfig(RotaryDecoder):
    """The fields of a Phi config.json; defaults are Phi-1. Attention and MLP are in parallel behind
    one norm, and a part of each head is rotated."""

    model_type = "phi"
    EPS = "layer_norm_eps"
    RATES = ("embd_pdrop", "attention_dropout", "resid_pdrop")
    PREFIX = "model."
    TABLE = "embed_tokens layers.{i} final_layernorm"
    NORMS = "input_layernorm"
    ATTENTION = "self_attn q_proj k_proj v_proj dense"
    MLP = "mlp.fc1 mlp.fc2"
    TOKENS = "score"
    WORDS_BIAS = True
    HEADS = heads_of("Phi", "none", "causal_lm", "sequence_classification", "token_classification")

    vocab_size: int = 51200
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 24
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attention_dropout: float = 0.0
    hidden_act: str = "gelu_new"
    layer_norm_eps: float = 1e-5
    rope_parameters: Frozen = usual_rope(partial_rotary_factor=0.5)
    qk_layernorm: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tie_word_embeddings: bool = False

    def attend(self, mask):
        of_heads = self.layer_norm if self.qk_layernorm else None
        return replace(super().attend(mask), kv_heads=self.num_key_value_heads, norm=of_heads)

    def embed(self):
        """Words without positions."""
        return replace(super().embed(), padding_idx=self.pad_token_id)

    def backbone(self):
        norms = {"q_layernorm": "query_norm", "k_layernorm": "key_norm"}.items()
        rows = (norm(f"layers.{{i}}.self_attn.{name}", f"{S}.self.{own}") for name, own in norms)
        return super().backbone() + "".join(rows)
