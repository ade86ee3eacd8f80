"""Resizing as three libraries do it, by name: `pil`, `torchvision`, `tf`.

- `pil` is Pillow itself.
- `torchvision` is `resize(..., antialias=True)` of torchvision on tensors: floats in float32, uint8
  with the horizontal pass rounded to levels before the vertical one, as torch's own kernel does.
- `tf` is `tf.image.resize`, with and without antialias; uint8 is cut off to levels, as the `resize`
  of big_vision casts it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

from transformers_jax.extras import need
from transformers_jax.processing.image.filters import (
    Taps,
    antialiased,
    interpolated,
    nearest,
    scaled,
)

BACKENDS = ("pil", "torchvision", "tf")
RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Filters by Pillow's numbers, as configs have them."""
Image = Num[np.ndarray, "C H W"]
BLOCK = 32  # pixels of the result that are computed by one product of matrices


def resize(
    image: Image, size: tuple[int, int], resample: str, backend: str, *, antialias: bool = True
) -> Image:
    """The picture with this height and width, in its own dtype (uint8 or float32).

    Args:
        antialias: of `tf` only; False interpolates between the nearest pixels.

    Raises:
        ValueError: an unknown backend or filter, one that the backend does not have, or no size.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")
    if resample not in RESAMPLE:
        raise ValueError(f"resample is {resample!r}; expected one of {', '.join(RESAMPLE)}")
    if backend != "pil" and resample in ("box", "hamming"):
        raise ValueError(f"the backend {backend!r} has no filter {resample!r}; 'pil' has")
    if min(size) < 1:
        raise ValueError(f"a picture of {image.shape[1]} x {image.shape[2]} cannot become {size}")
    if backend == "pil":
        return _pil(image, size, RESAMPLE.index(resample))
    if backend == "torchvision" and image.shape[1:] == size:
        return image
    if resample == "nearest":
        rows, columns = nearest(image.shape[1], size[0]), nearest(image.shape[2], size[1])
        return np.ascontiguousarray(image[:, rows[:, None], columns])
    if backend == "torchvision":
        return _torchvision(image, size, resample)
    return _tf(image, size, resample, antialias)


# ---------------------------------------------------------------- Pillow


def _pil(image: Image, size: tuple[int, int], number: int) -> Image:
    need("PIL", "vision", "resizing with Pillow")
    from PIL import Image as pillow

    def one(plane: np.ndarray) -> np.ndarray:
        return np.asarray(pillow.fromarray(plane).resize(size[::-1], resample=number))

    if image.dtype == np.uint8 and image.shape[0] in (3, 4):
        return one(np.ascontiguousarray(image.transpose(1, 2, 0))).transpose(2, 0, 1)
    return np.stack([one(np.ascontiguousarray(plane)) for plane in image])


# ---------------------------------------------------------------- the others


def _torchvision(image: Image, size: tuple[int, int], resample: str) -> Image:
    levels = image.dtype == np.uint8
    dtype = np.float64 if levels else np.float32
    wide = _columns(image, antialiased(image.shape[2], size[1], resample, dtype), levels)
    tall = antialiased(image.shape[1], size[0], resample, dtype)
    return _columns(wide.transpose(0, 2, 1), tall, levels).transpose(0, 2, 1)


def _tf(image: Image, size: tuple[int, int], resample: str, antialias: bool) -> Image:
    smooth = antialias or resample not in ("bilinear", "bicubic")
    taps = scaled if smooth else interpolated
    floats = image.astype(np.float32)
    tall = _columns(floats.transpose(0, 2, 1), taps(image.shape[1], size[0], resample))
    result = _columns(tall.transpose(0, 2, 1), taps(image.shape[2], size[1], resample))
    return np.clip(result, 0, 255).astype(np.uint8) if image.dtype == np.uint8 else result


def _columns(image: Image, taps: Taps, levels: bool = False) -> Image:
    """The last axis filtered, in float32; `levels` are rounded to uint8.

    A block of pixels of the result is one product with the pixels of the picture that it needs.
    Levels are weighted by whole numbers of 15 bits, as torch's kernel does it (and Pillow-SIMD):
    their sums stay below 2**24, so that float32 holds them exactly.
    """
    image = np.ascontiguousarray(image)
    bits = 0
    if levels:
        while bits < 22 and int(0.5 + taps.weights.max() * 2 ** (bits + 1)) < 2**15:
            bits += 1
        taps = Taps(
            taps.pixels, np.trunc(taps.weights * 2.0**bits + np.copysign(0.5, taps.weights))
        )
    result = np.empty((*image.shape[:2], len(taps.pixels)), np.uint8 if levels else np.float32)
    for start in range(0, len(taps.pixels), BLOCK):
        pixels, weights = (part[start : start + BLOCK] for part in taps)
        low, high = pixels.min(), pixels.max() + 1
        matrix = np.zeros((high - low, len(pixels)), np.float32)
        columns = np.broadcast_to(np.arange(len(pixels))[:, None], pixels.shape)
        np.add.at(matrix, (pixels - low, columns), weights)
        part = image[:, :, low:high].astype(np.float32) @ matrix
        if levels:
            part = np.clip(np.floor((part + 2 ** (bits - 1)) / 2**bits), 0, 255)
        result[:, :, start : start + BLOCK] = part
    return result
