"""The filters of resizing: which pixels of a picture a pixel of the result is made of, by which
weights.

Three libraries, three readings of the same filters (Turkowski, "Filters for common resampling
tasks", 1990). Pillow computes its own. `antialiased` are the weights of torch's antialiased
interpolation, which are Pillow's in floats; `scaled` those of TensorFlow's ScaleAndTranslate, and
`interpolated` of its resize without antialias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Taps(NamedTuple):
    """For each pixel of the result: the pixels of the picture (consecutive, or any), their weights.

    Attributes:
        pixels: which of the picture, within it.
        weights: of those; 0 where a pixel is one of no account.
    """

    pixels: Int[np.ndarray, "out taps"]
    weights: Float[np.ndarray, "out taps"]


def triangle(x: np.ndarray) -> np.ndarray:
    """Bilinear."""
    return np.maximum(1 - np.abs(x), 0).astype(x.dtype)


def cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' cubic convolution; a = -0.5 is what all three libraries take with antialias."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


def lanczos(x: np.ndarray, radius: int = 3) -> np.ndarray:
    """A sinc under the main lobe of a wider one."""
    return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0).astype(x.dtype)


FILTERS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bilinear": (triangle, 1.0),
    "bicubic": (cubic, 2.0),
    "lanczos": (lanczos, 3.0),
}
"""Name -> (filter, its radius in pixels)."""


def antialiased(size: int, out: int, name: str, dtype: type = np.float64) -> Taps:
    """torch's weights with antialias: the filter is as wide as what a pixel of the result covers.

    Args:
        dtype: in which torch computes them: that of the picture, float64 of uint8.
    """
    function, radius = FILTERS[name]
    scale = dtype(size) / dtype(out)
    stretch = max(scale, dtype(1))
    support = dtype(radius) * stretch
    centers = scale * (np.arange(out).astype(dtype) + dtype(0.5))
    first = np.maximum((centers - support + dtype(0.5)).astype(np.int64), 0)
    last = np.minimum((centers + support + dtype(0.5)).astype(np.int64), size)
    pixels = first[:, None] + np.arange(int((last - first).max()))
    inside = pixels < last[:, None]
    places = (pixels.astype(dtype) - centers[:, None] + dtype(0.5)) / stretch
    weights = np.where(inside, function(places), dtype(0))
    return Taps(np.minimum(pixels, size - 1), weights / weights.sum(1, keepdims=True))


def scaled(size: int, out: int, name: str) -> Taps:
    """TensorFlow's weights with antialias (ScaleAndTranslate), in float32 as it computes them."""
    function, radius = FILTERS[name]
    one = np.float32(1)
    inverse = one / (np.float32(out) / np.float32(size))
    stretch = max(inverse, one)
    reach = np.float32(radius) * stretch
    centers = (np.arange(out).astype(np.float32) + np.float32(0.5)) * inverse
    half = np.float32(0.5)
    first = np.clip(np.ceil(centers - reach - half), 0, size - 1).astype(np.int64)
    last = np.clip(np.floor(centers + reach - half), 0, size - 1).astype(np.int64) + 1
    pixels = first[:, None] + np.arange(int((last - first).max()))
    inside = pixels < last[:, None]
    places = (pixels.astype(np.float32) + half - centers[:, None]) / stretch
    weights = np.where(inside, function(places), np.float32(0))
    return Taps(np.minimum(pixels, size - 1), weights / weights.sum(1, keepdims=True))


TABLE = 1024  # steps of a pixel by which TensorFlow's bicubic reads its weights from a table


def interpolated(size: int, out: int, name: str) -> Taps:
    """TensorFlow's weights without antialias, between the two or four nearest pixels.

    Bicubic weights are those of the nearest 1024th of a pixel, and pixels outside of the picture
    count nothing (ResizeBicubic with half-pixel centers).
    """
    scale = np.float32(size) / np.float32(out)
    centers = (np.arange(out).astype(np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(centers)
    if name == "bilinear":
        pixels = np.stack([np.maximum(floor, 0), np.minimum(np.ceil(centers), size - 1)], 1)
        rest = centers - floor
        return Taps(pixels.astype(np.int64), np.stack([1 - rest, rest], 1))
    if name != "bicubic":
        raise ValueError(f"without antialias there are 'bilinear' and 'bicubic', not {name!r}")
    step = np.rint((centers - floor) * TABLE) / np.float32(TABLE)
    offsets = np.arange(-1, 3)
    weights = cubic((step[:, None] - offsets).astype(np.float32))
    pixels = floor[:, None].astype(np.int64) + offsets
    weights = np.where((pixels >= 0) & (pixels < size), weights, np.float32(0))
    weights /= weights.sum(1, keepdims=True)
    return Taps(np.clip(pixels, 0, size - 1), weights)


def nearest(size: int, out: int) -> Int[np.ndarray, " out"]:
    """The pixel under the center of each pixel of the result; the same in all three libraries."""
    scale = np.float32(size) / np.float32(out)
    centers = (np.arange(out).astype(np.float32) + np.float32(0.5)) * scale
    return np.minimum(centers.astype(np.int64), size - 1)
