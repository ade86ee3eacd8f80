"""A tower for texts of one family and a tower for images of another, compared as CLIP compares its
own (Zhai et al. 2021, "LiT"). Hugging Face model_type "vision-text-dual-encoder"."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers_jax.models.bert import BertConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.dual import ProjectedDualConfig
from transformers_jax.models.vit import ViTConfig
from transformers_jax.spec import Initial


@dataclass(frozen=True, kw_only=True)
class VisionTextDualEncoderConfig(ProjectedDualConfig):
    """Two configs, each of a family of its own (or the content of its config.json): any tower of
    images and any encoder of texts that makes one vector of a row."""

    model_type = "vision-text-dual-encoder"
    HEADS = {"VisionTextDualEncoderModel": "contrastive"}

    text_config: FamilyConfig = field(default_factory=BertConfig)
    vision_config: FamilyConfig = field(default_factory=ViTConfig)

    @property
    def initial(self):
        """normal(0.02), as torch's transformers draw what has no rule of its own."""
        return Initial()
