"""Falcon (Almazrouei et al. 2023). Hugging Face model_type "falcon"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoders import RotaryDecoder
from transformers_jax.spec import Alibi


@dataclass(frozen=True, kw_only=True)
class FalconConfig(RotaryDecoder):
    """The fields of a Falcon config.json; defaults are Falcon-7B. Queries share keys and values:
    all heads one (`multi_query`), or `num_kv_heads` (`new_decoder_architecture`, Falcon-40B);
    branches are in parallel (`parallel_attn`); positions are rotary, or distances (`alibi`).

    The "eager" attention of transformers 5 adds the bias of distances twice, to the products and
    with the mask. Its files are read in this way (`alibi_twice`); the released ones, which earlier
    releases wrote, and new models are not.
    """

    model_type = "falcon"
    FIXED = {"apply_residual_connection_post_layernorm": False}
    UNUSED = frozenset({"ff_factor"})
    SPELLINGS = {"n_embed": "hidden_size"}
    INNER = "ffn_hidden_size activation"
    RATES = ("", "attention_dropout", "hidden_dropout")
    PREFIX = "transformer."
    TABLE = "word_embeddings h.{i} ln_f"
    ATTENTION = "self_attention query_key_value dense"
    MLP = "mlp.dense_h_to_4h mlp.dense_4h_to_h"
    HEADS = heads_of("Falcon", "none", "causal_lm", *LABELLING)

    vocab_size: int = 65024
    hidden_size: int = 4544
    num_hidden_layers: int = 32
    num_attention_heads: int = 71
    num_ln_in_parallel_attn: int | None = None
    layer_norm_epsilon: float = 1e-5
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    num_kv_heads: int | None = None
    alibi: bool = False
    alibi_twice: bool = False
    new_decoder_architecture: bool = False
    multi_query: bool = True
    parallel_attn: bool = True
    bias: bool = False
    ffn_hidden_size: int | None = None
    activation: str = "gelu"
    bos_token_id: int | None = 11
    eos_token_id: int | tuple[int, ...] | None = 11

    @classmethod
    def modernise(cls, values):
        if values.get("alibi") and str(values.get("transformers_version")).startswith("5."):
            values.setdefault("alibi_twice", True)
        return super().modernise(values)

    def __post_init__(self):
        super().__post_init__()
        new, count = self.new_decoder_architecture, self.num_ln_in_parallel_attn
        problems = {
            f"num_ln_in_parallel_attn={count} (1, or 2 with new_decoder_architecture)": (
                self.parallel_attn and count not in ((None, 1, 2) if new else (None, 1))
            ),
            "parallel_attn=False with new_decoder_architecture": new and not self.parallel_attn,
            f"num_kv_heads={self.num_kv_heads} without new_decoder_architecture": (
                not new and self.kv_heads not in (1, self.num_attention_heads)
            ),
        }
        if wrong := [text for text, holds in problems.items() if holds]:
            raise ValueError(f"FalconConfig: not implemented: {', '.join(wrong)}")

    @property
    def kv_heads(self) -> int:
        """How many key/value heads there are."""
        if self.multi_query and not self.new_decoder_architecture:
            return 1
        return self.num_kv_heads or self.num_attention_heads

    @property
    def groups(self):
        return None if self.kv_heads == self.num_attention_heads else self.kv_heads

    @property
    def norms(self):
        if not self.parallel_attn:
            return "input_layernorm post_attention_layernorm"
        two = self.new_decoder_architecture and self.num_ln_in_parallel_attn != 1
        return "ln_attn ln_mlp" if two else "input_layernorm"

    @property
    def parallel(self):
        return len(self.norms.split()) if self.parallel_attn else None

    @property
    def stated_positions(self):
        return None if self.alibi else super().stated_positions

    def attend(self, mask):
        own = replace(super().attend(mask), kv_heads=self.kv_heads)
        own = own if self.bias else replace(own, bias=())
        if not self.alibi:
            return replace(own, dropout=0.0)  # the reference has none of these weights
        scale = (2 if self.alibi_twice else 1) * own.kv**-0.5
        return replace(own, rotary=None, score=Alibi(signed=True, scale=scale, rounded=True))

    def feed_forward(self):
        return replace(super().feed_forward(), bias=self.bias)

    def layer(self, own):
        first, second = super().layer(own)
        rate = self.hidden_dropout if self.parallel_attn else self.attention_dropout
        return replace(first, dropout=rate), second

    def embed(self):
        """Words; positions are counted over those that are no padding where they are distances."""
        return replace(super().embed(), unpadded=self.alibi)
