"""UMT5 (Chung et al. 2023): mT5 whose layers learn the bias of distances each for itself. Hugging
Face model_type "umt5"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.mt5 import MT5Config
from transformers_jax.models.shared.class_names import heads_of


@dataclass(frozen=True, kw_only=True)
class UMT5Config(MT5Config):
    """The fields of a UMT5 config.json; defaults are UMT5-small (300M)."""

    model_type = "umt5"
    HEADS = heads_of("UMT5", *MT5Config.EVERY)
    UNUSED = MT5Config.UNUSED | {"scalable_attention"}  # hub files say it; nothing ever read it

    scale_decoder_outputs: bool = True

    @classmethod
    def modernise(cls, values):
        # transformers v5 ties always, and scales what is tied, whatever the file says
        return {**super().modernise(values), "scale_decoder_outputs": True}

    def attend(self, decoder, mask):
        return replace(super().attend(decoder, mask), score=self.buckets(decoder))
