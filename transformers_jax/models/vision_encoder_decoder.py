"""An encoder of images of one family and a decoder of texts of another, which describes them (Li et
al. 2021, "TrOCR"). Hugging Face model_type "vision-encoder-decoder"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.encoder_decoder import EncoderDecoderConfig
from transformers_jax.models.vit import ViTConfig


@dataclass(frozen=True, kw_only=True)
class VisionEncoderDecoderConfig(EncoderDecoderConfig):
    """Two configs, as of an encoder-decoder of texts; the encoder is any tower of images. Pads
    among the decoder's inputs are no padding unless a mask says so."""

    model_type = "vision-encoder-decoder"
    PADS_MASKED = False
    HEADS: ClassVar[Mapping[str, str]] = {"VisionEncoderDecoderModel": "seq2seq_lm"}

    encoder: FamilyConfig = field(default_factory=ViTConfig)
