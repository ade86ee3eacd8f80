"""BLOOM (Le Scao et al. 2022). Hugging Face model_type "bloom"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoders import LayerNormDecoder
from transformers_jax.models.shared.weight_rows import norm
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Alibi

AUTHORS = """attention_softmax_in_fp32 bias_dropout_fusion masked_softmax_fusion offset_alibi
seq_length skip_bias_add skip_bias_add_qkv"""


@dataclass(frozen=True, kw_only=True)
class BloomConfig(LayerNormDecoder):
    """The fields of a BLOOM config.json; defaults are those of transformers, a toy. Positions are
    distances (ALiBi), counted over the tokens that are no padding; embeddings are normalised."""

    model_type = "bloom"
    FIXED = {"n_inner": None}
    UNUSED = frozenset(AUTHORS.split())
    SPELLINGS = {
        "n_embed": "hidden_size", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"
    }  # fmt: skip
    SIZES = "hidden_size n_head n_layer"
    RATES = ("", "attention_dropout", "hidden_dropout")
    PREFIX = "transformer."
    TABLE = "word_embeddings h.{i} ln_f"
    NORMS = "input_layernorm post_attention_layernorm"
    ATTENTION = "self_attention query_key_value dense"
    MLP = "mlp.dense_h_to_4h mlp.dense_4h_to_h"
    HEADS = heads_of("Bloom", "none", "causal_lm", *LABELLING)

    vocab_size: int = 250880
    hidden_size: int = 64
    n_layer: int = 2
    n_head: int = 8
    layer_norm_epsilon: float = 1e-5
    apply_residual_connection_post_layernorm: bool = False
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    pretraining_tp: int = 1
    slow_but_exact: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2

    def __post_init__(self):
        super().__post_init__()
        if self.slow_but_exact and self.pretraining_tp > 1:
            raise ValueError(
                f"BloomConfig: slow_but_exact with pretraining_tp={self.pretraining_tp} is not "
                "implemented (its products in slices leave out the biases that files hold); set "
                "slow_but_exact=False"
            )

    def attend(self, mask):
        return replace(super().attend(mask), score=Alibi(signed=True))

    def feed_forward(self):
        return FeedForwardSpec(4 * self.hidden_size, "gelu_new")

    def layer(self, own):
        one = super().layer(own)
        behind = self.apply_residual_connection_post_layernorm
        return tuple(replace(branch, placement="entry") for branch in one) if behind else one

    def embed(self):
        """Words, normalised."""
        return replace(super().embed(), norm=self.layer_norm, unpadded=True)

    def backbone(self):
        return super().backbone() + norm("word_embeddings_layernorm", "embed.norm")
