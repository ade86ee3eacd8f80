"""DINOv2 with registers (Darcet et al. 2023): further tokens, which no patch has to be. Hugging
Face model_type "dinov2_with_registers"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.dinov2 import Dinov2Config
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.nn.embed import GridPositions
from transformers_jax.nn.grid import Resampling


@dataclass(frozen=True, kw_only=True)
class Dinov2WithRegistersConfig(Dinov2Config):
    """The fields of such a config.json; defaults are ViT-B/16 with four registers (86M)."""

    model_type = "dinov2_with_registers"
    PREFIX = "dinov2_with_registers."
    HEADS = heads_of("Dinov2WithRegisters", "none", "image_classification", "backbone")
    use_mask_token: ClassVar[bool] = True  # type: ignore[misc]

    patch_size: int | tuple[int, ...] = 16
    num_register_tokens: int = 4

    def patches(self):
        positions = GridPositions(Resampling(antialias=True), any_size=True)
        return replace(super().patches(), registers=self.num_register_tokens, positions=positions)
