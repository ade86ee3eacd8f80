"""mT5 (Xue et al. 2020): T5 v1.1 over many languages. Hugging Face model_type "mt5"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.t5 import T5Config


@dataclass(frozen=True, kw_only=True)
class MT5Config(T5Config):
    """The fields of an mT5 config.json; defaults are mT5-small (300M)."""

    model_type = "mt5"
    HEADS = heads_of("MT5", *T5Config.EVERY)
    UNWRITTEN = T5Config.UNWRITTEN | {"scale_decoder_outputs"}

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"
    scale_decoder_outputs: bool = False

    @classmethod
    def modernise(cls, values):
        # whatever a file says of ties, states are never scaled before the output
        return {**super().modernise(values), "scale_decoder_outputs": False}
