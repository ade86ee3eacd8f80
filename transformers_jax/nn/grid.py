"""Tables whose rows are the points of a grid, and their resampling for a grid of another size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, wide

Grid = tuple[int, int]
"""How many points there are from top to bottom, and across."""

TAPS = {"bilinear": 1, "bicubic": 2}  # points on either side that a kernel reaches
REPEATED, CUT_OFF = -0.75, -0.5
"""The free coefficient of torch's bicubic kernel, without and with `antialias`; Keys 1981: -0.5."""


@dataclass(frozen=True)
class Resampling:
    """Interpolation of a grid as torch.nn.functional.interpolate computes it (points are areas,
    align_corners=False).

    Without `antialias` the border is repeated, and every point of a smaller grid reads as few
    points as one of a larger. With it the kernel is as wide as a point of the smaller grid, and
    what lies beyond the border has no weight.
    """

    kernel: Literal["bilinear", "bicubic"] = "bicubic"
    antialias: bool = False

    def matrix(self, old: int, new: int) -> Float[np.ndarray, "new old"]:
        """The weights of `old` points in a row for each of `new` ones, in float32."""
        taps, stretch = TAPS[self.kernel], max(old / new, 1.0) if self.antialias else 1.0
        center = (np.arange(new) + 0.5) * old / new - 0.5
        reach = int(np.ceil(taps * stretch)) + 1
        points = np.floor(center).astype(int)[:, None] + np.arange(-reach, reach + 1)
        values = self._weight(np.abs(points - center[:, None]) / stretch)
        if self.antialias:
            values = np.where((points >= 0) & (points < old), values, 0)
            values /= values.sum(1, keepdims=True)
        weights = np.zeros((new, old))
        np.add.at(weights, (np.arange(new)[:, None], np.clip(points, 0, old - 1)), values)
        return weights.astype(np.float32)

    def _weight(self, distance: np.ndarray) -> np.ndarray:
        """The kernel at a distance."""
        if self.kernel == "bilinear":
            return np.maximum(1 - distance, 0)
        a = CUT_OFF if self.antialias else REPEATED
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = a * (((distance - 5) * distance + 8) * distance - 4)
        return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


@dataclass(frozen=True)
class AreaMean:
    """The mean of each of as many regions as there are new points, which overlap where their number
    does not divide that of the old ones, as torch.nn.AdaptiveAvgPool2d computes it."""

    def matrix(self, old: int, new: int) -> Float[np.ndarray, "new old"]:
        """The weights of `old` points in a row for each of `new` ones, in float32."""
        numbers, points = np.arange(new)[:, None], np.arange(old)
        inside = (points >= numbers * old // new) & (points < -(-(numbers + 1) * old // new))
        return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


def resample(
    points: Float[Array, "*lead h w D"], grid: Grid, how: Resampling | AreaMean
) -> Float[Array, "*lead r c D"]:
    """The points of a grid of another size, of those of a grid; NumPy of NumPy."""
    axes = zip(points.shape[-3:-1], grid)
    rows, columns = (how.matrix(old, new).astype(points.dtype) for old, new in axes)
    equation = "rh,cw,...hwd->...rcd"
    if isinstance(points, np.ndarray):
        return np.einsum(equation, rows, columns, points)
    return jnp.einsum(equation, rows, columns, points, precision="highest")


@dataclass(frozen=True)
class GridRows:
    """What the rows of a table [N D] stand for: `front` of no point, those of a grid row by row,
    and `behind` of no point. Metadata of a parameter, by which a checkpoint that was trained at
    another size is read (`hub`)."""

    grid: Grid
    front: int = 0
    behind: int = 0
    how: Resampling = Resampling()

    @property
    def count(self) -> int:
        """N, the number of rows."""
        return self.front + self.grid[0] * self.grid[1] + self.behind

    def resampled(self, table: Float[Array, "*lead N D"], grid: Grid) -> Float[Array, "*lead M D"]:
        """The table for a grid of another size, computed in float32 or wider; rows of no point are
        as they were. Itself, where the size is the same."""
        if grid == self.grid:
            return table
        numpy: Any = np if isinstance(table, np.ndarray) else jnp
        last = table.shape[-2] - self.behind
        points = table[..., self.front : last, :].astype(wide(table))
        points = points.reshape(*table.shape[:-2], *self.grid, table.shape[-1])
        points = resample(points, grid, self.how).astype(table.dtype)
        points = points.reshape(*table.shape[:-2], grid[0] * grid[1], table.shape[-1])
        parts = table[..., : self.front, :], points, table[..., last:, :]
        return numpy.concatenate(parts, axis=-2)
