"""SigLIP 2 (Tschannen et al. 2025) as "NaFlex": images of any size and aspect, as rows of patches.
Hugging Face model_type "siglip2"; each tower apart is "siglip2_text_model" and
"siglip2_vision_model". Its variants of one size are of the family "siglip"."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import norm
from transformers_jax.models.siglip import (
    BLOCKS,
    POOLER,
    SiglipConfig,
    SiglipTextConfig,
    SiglipTower,
    attention_pooler,
)
from transformers_jax.nn.embed import FlatPatchEmbedder, FlatPatchSpec


@dataclass(frozen=True, kw_only=True)
class Siglip2TextConfig(SiglipTextConfig):
    """The fields of a SigLIP 2 text config.json, which are SigLIP's."""

    model_type = "siglip2_text_model"
    HEADS = heads_of("Siglip2Text", "none")


@dataclass(frozen=True, kw_only=True)
class Siglip2VisionConfig(SiglipTower):
    """The fields of a SigLIP 2 vision config.json; defaults are those of base-patch16-naflex (93M).
    An image is what one learned query reads of its patches; `num_patches` is the trained number of
    positions, those of a square."""

    model_type = "siglip2_vision_model"
    HEADS = heads_of("Siglip2Vision", "none")
    ROWS = f"""
embeddings.patch_embedding.weight    | embed.patch | d p -> p d
embeddings.patch_embedding.bias      | embed.patch_bias
embeddings.position_embedding.weight | embed.position
{BLOCKS}
{norm("post_layernorm", "stack.norm")}
{POOLER}
"""

    num_channels: int = 3
    patch_size: int = 16
    num_patches: int = 256
    vision_use_head: bool = True

    def embedder(self, head):
        size = self.num_channels * self.patch_size**2
        spec = FlatPatchSpec(
            size, self.num_patches, self.hidden_size, self.num_channels, self.initial
        )
        return FlatPatchEmbedder(spec)

    def pooler(self, head):
        return attention_pooler(self) if self.vision_use_head else None


@dataclass(frozen=True, kw_only=True)
class Siglip2Config(SiglipConfig):
    """The configs of the towers, and what compares them."""

    model_type = "siglip2"
    HEADS = {"Siglip2Model": "contrastive", **heads_of("Siglip2", "image_classification")}
    POOLED = "mean"  # of the patches that are no padding

    text_config: FamilyConfig = field(default_factory=Siglip2TextConfig)
    vision_config: FamilyConfig = field(default_factory=Siglip2VisionConfig)
