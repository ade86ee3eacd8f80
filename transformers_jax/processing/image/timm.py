"""Pictures as timm evaluates with them: `pretrained_cfg` in the config.json of its models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers_jax.processing.image import sizes, steps
from transformers_jax.processing.image.resize import RESAMPLE
from transformers_jax.processing.image.types import IMAGENET
from transformers_jax.spelling import nearest

KIND = "TimmWrapper"
DEFAULTS: Mapping[str, Any] = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": IMAGENET["image_mean"],
    "std": IMAGENET["image_std"],
}
"""What counts of `pretrained_cfg`; the rest of it is about weights."""


def timm_steps(config: Mapping[str, Any], backend: str) -> tuple[steps.Step, ...]:
    """Resizing to input_size / crop_pct (`center`: of the shorter edge; `squash`: of both), the
    middle of it, levels from 0 to 1, and the mean and deviation of the training data.

    Raises:
        ValueError: a mode of cropping that is not supported, or numbers that mean nothing.
    """
    found = {**DEFAULTS, **{k: v for k, v in config.items() if k in DEFAULTS and v is not None}}
    channels, height, width = found["input_size"]
    if channels != 3:
        raise ValueError(f"input_size has {channels} channels; pictures are read as RGB")
    if found["interpolation"] not in RESAMPLE:
        raise ValueError(
            f"interpolation is {found['interpolation']!r}; expected one of {', '.join(RESAMPLE)}"
        )
    crop = found["crop_pct"]
    if not 0 < crop <= 1:
        raise ValueError(f"crop_pct is {crop}; expected a share above 0 and up to 1")
    larger = (math.floor(height / crop), math.floor(width / crop))
    if found["crop_mode"] == "squash":
        rule: sizes.Rule = sizes.Exactly(*larger)
    elif found["crop_mode"] == "center" and height == width:
        rule = sizes.ShortestEdge(larger[0])
    else:
        raise ValueError(
            f"crop_mode={found['crop_mode']!r} of {height} x {width} is not supported; 'center' of "
            "a square and 'squash' are (load_processor(folder, crop_mode='squash'))"
        )
    return (
        steps.Resize(rule, found["interpolation"], backend),
        steps.CenterCrop(height, width, "after", rounds=True),
        steps.Rescale(1 / 255),
        steps.Normalize(tuple(found["mean"]), tuple(found["std"])),
    )


def check_names(names: Any) -> None:
    """Raises ValueError for settings that say nothing of pictures."""
    for name in names:
        if name not in DEFAULTS:
            raise ValueError(
                f"timm's pretrained_cfg says nothing of pictures by {name!r}"
                f"{nearest(name, DEFAULTS)}"
            )
