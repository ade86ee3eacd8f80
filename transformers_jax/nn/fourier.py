"""Fourier features of points: what a Perceiver knows of where each pixel or sample is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.sizes import check_count


@dataclass(frozen=True)
class FourierPositions:
    """The coordinates of a point, each between -1 and 1, and sin(pi f x) and cos(pi f x) of each
    (Jaegle et al. 2021, Perceiver, section 3.2): all coordinates, all sines, all cosines.

    Attributes:
        bands: how many frequencies f an axis has, evenly from 1 to half of its resolution.
        resolution: points of each axis that are told apart; f ends at their Nyquist frequency.
    """

    bands: int
    resolution: tuple[int, ...]

    def __post_init__(self):
        check_count("bands of Fourier features", self.bands)
        for points in self.resolution:
            check_count("the resolution of Fourier features", points)

    @property
    def width(self) -> int:
        """How many features a point has."""
        return len(self.resolution) * (2 * self.bands + 1)

    def of_axis(self, axis: int, x: Float[np.ndarray, " N"]) -> tuple[np.ndarray, ...]:
        """(coordinates [N 1], sines [N K], cosines [N K]) of points on one axis, in float32.

        Angles are rounded as the reference rounds them: the highest frequencies of audio make tens
        of thousands of radians, of which float32 keeps two digits behind the point.
        """
        frequencies = even(1.0, self.resolution[axis] / 2, self.bands)
        angles = (np.float32(math.pi) * (x[:, None] * frequencies)).astype(np.float64)
        waves = np.sin(angles), np.cos(angles)
        return (x[:, None], *(wave.astype(np.float32) for wave in waves))

    def of_grid(self, sizes: Sequence[int]) -> Float[Array, "N W"]:
        """The features of all points of a grid, the last axis fastest; the first point of an axis
        is at -1, and the last at 1."""

        def spread(axis: int, table: np.ndarray) -> Array:
            # broadcast by the program, which would otherwise hold the features of every pixel
            shape = [size if n == axis else 1 for n, size in enumerate(sizes)]
            rows = jnp.asarray(table).reshape(*shape, -1)
            return jnp.broadcast_to(rows, (*sizes, rows.shape[-1])).reshape(-1, rows.shape[-1])

        return self._joined([even(-1.0, 1.0, size) for size in sizes], spread)

    def of_points(self, numbers: Int[Array, " N"], sizes: Sequence[int]) -> Float[Array, "N W"]:
        """The features of some points of a grid, by their numbers in it; NaN beyond it. Here points
        are 2 / size apart, the first at -1, as in the released code."""

        def look_up(axis: int, table: np.ndarray) -> Array:
            rows = numbers // math.prod(sizes[axis + 1 :]) % sizes[axis]
            return jnp.take(jnp.asarray(table), rows, axis=0)

        steps = [np.float32(2 * np.arange(size) / size) for size in sizes]
        features = self._joined([np.float32(-1) + step for step in steps], look_up)
        inside = (numbers >= 0) & (numbers < math.prod(sizes))
        return jnp.where(inside[:, None], features, jnp.nan)

    def _joined(self, points: list[np.ndarray], place: Any) -> Array:
        """The features of points: of those of each axis, which `place` brings to all points."""
        assert len(points) == len(self.resolution)
        tables = [self.of_axis(axis, x) for axis, x in enumerate(points)]
        kinds = zip(*([place(n, table) for table in own] for n, own in enumerate(tables)))
        return jnp.concatenate([part for kind in kinds for part in kind], axis=-1)


def beside(x: Float[Array, "B T C"], vectors: Float[Array, "#T W"]) -> Float[Array, "B T D"]:
    """Tokens with further numbers behind theirs, the same in every row."""
    spread = jnp.broadcast_to(vectors.astype(x.dtype), (*x.shape[:2], vectors.shape[-1]))
    return jnp.concatenate([x, spread], axis=-1)


def even(first: float, last: float, count: int) -> Float[np.ndarray, " N"]:
    """Numbers evenly from the first to the last, counted from the nearer of the two by a step of
    float32 and then rounded to it, as torch.linspace has them."""
    step = np.float64(np.float32(last - first) / np.float32(max(count - 1, 1)))
    number = np.arange(count)
    near = number < max(count // 2, 1)
    return np.where(near, first + step * number, last - step * (count - 1 - number)).astype(
        np.float32
    )
