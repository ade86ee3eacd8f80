"""Maps of classes, a number for each pixel, in the size of the pictures that they are of."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from transformers_jax.extras import need
from transformers_jax.json_files import errors_of
from transformers_jax.processing.image import steps

IGNORED = 255  # no class: losses leave it out


def segmentation_labels(
    maps: Sequence[Any], geometry: Sequence[steps.Step], reduce: bool
) -> Int[np.ndarray, "B H W"]:
    """The maps after the steps that change the size of a picture, each pixel by the nearest, as
    classes have no mean. (The processors of transformers smooth them like pictures.)

    Args:
        maps: paths or bytes of pictures of one channel (of a palette, its numbers), pictures of
            Pillow, or arrays `[H W]` of whole numbers.
        reduce: whether 0 is no class and all others are one less (ADE20K).

    Raises:
        ValueError: what is no map, or maps of different sizes.
    """
    made = []
    for number, source in enumerate(maps):
        with errors_of(f"map {number}"):
            classes = read_map(source)
            if reduce:
                none = (classes == 0) | (classes == IGNORED)
                classes = np.where(none, IGNORED, classes - 1)
            for step in geometry:
                if isinstance(step, steps.Resize):
                    step = replace(step, resample="nearest", backend="torchvision")
                classes = step(classes)
            made.append(classes)
    return steps.stack(made)[:, 0]


def read_map(source: Any) -> Int[np.ndarray, "1 H W"]:
    """One map, in int64.

    Raises:
        ValueError: it is none.
    """
    if isinstance(source, (str, os.PathLike, bytes)):
        need("PIL", "vision", "a map of classes")
        from PIL import Image as pillow

        try:
            file: Any = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
            with pillow.open(file) as opened:
                source = np.asarray(opened)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"no picture that can be read: {error}") from None
    array = np.asarray(source)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(
            f"{array.dtype} {list(array.shape)}; expected whole numbers [H W], a class for each "
            "pixel"
        )
    return array[None].astype(np.int64)
