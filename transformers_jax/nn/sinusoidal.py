"""Sinusoidal positions, in the three forms in which models have them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt

from transformers_jax.arrays import Array, Float, Int


@dataclass(frozen=True)
class Sinusoids:
    """Sines and cosines of D/2 frequencies, 1 to nearly 1/10000 (Vaswani et al. 2017, section 3.5).

    Attributes:
        halves: all sines come before all cosines (Marian, fairseq); else they alternate.
        closed: the slowest frequency is 1/10000 itself (tensor2tensor, fairseq).
        rows: how many positions there are; None for any number.
        zero: a position whose vector is zero (fairseq: that of the id of the padding).
    """

    halves: bool = False
    closed: bool = False
    rows: int | None = None
    zero: int | None = None

    def frequencies(self, width: int) -> np.ndarray:
        """Float64[ceil(D/2)] radians per position; a closed row of an odd width is one short."""
        if self.closed:
            return np.exp(np.arange(width // 2) * (-math.log(1e4) / (width // 2 - 1)))
        return 1e4 ** (-np.arange(0, width, 2) / width)

    def table(self, width: int) -> np.ndarray:
        """Float32[rows D] of a finite number of positions, computed in float64.

        Raises:
            ValueError: their number is not limited.
        """
        if self.rows is None:
            raise ValueError("sinusoids of any number of positions have no table")
        angle = np.arange(self.rows)[:, None] * self.frequencies(width)
        vectors = self.of_angle(angle, width, np).astype(np.float32)
        return (
            vectors if self.zero is None else vectors * (np.arange(self.rows) != self.zero)[:, None]
        )

    def of_angle(self, angle: Any, width: int, xp: Any) -> Any:
        """The vectors of these angles per frequency, by NumPy or jax.numpy."""
        sine, cosine = xp.sin(angle), xp.cos(angle)
        if not self.halves:
            pairs = xp.stack([sine, cosine], -1)
            return pairs.reshape(*angle.shape[:-1], -1)[..., :width]
        halves = xp.concatenate([sine, cosine], -1)[..., :width]
        return xp.pad(halves, [(0, 0)] * (halves.ndim - 1) + [(0, width - halves.shape[-1])])


def sinusoids(form: Sinusoids, width: int, position: Int[Array, "b T"]) -> Float[Array, "b T D"]:
    """The vectors of these positions; NaN beyond the last, never those of another position.

    A finite number of positions is looked up in a table made in float64, as the reference does:
    angles of some hundred radians are right to five digits only in float32.
    """
    if form.rows is None:
        frequencies = form.frequencies(width).astype(np.float32)
        angle = jnp.asarray(position, jnp.float32)[..., None] * frequencies
        vectors = form.of_angle(angle, width, jnp)
        zero = None if form.zero is None else (jnp.asarray(position) == form.zero)[..., None]
        return vectors if zero is None else jnp.where(zero, 0.0, vectors)
    table = jnp.asarray(form.table(width))
    return jnp.take(table, unsigned(position), axis=0, mode="fill", fill_value=jnp.nan)


def grid_sinusoids(grid: tuple[int, int], rows: int, width: int) -> np.ndarray:
    """Float32[rows D], of the points of a grid behind rows of zeros: sines and cosines of the place
    across, then of the place down, a quarter of the width each (the released code of MAE).

    Raises:
        ValueError: a width that has no quarters.
    """
    if width % 4:
        raise ValueError(f"sinusoids of a grid: the width ({width}) must be a multiple of 4")
    down, across = np.indices(grid).reshape(2, -1, 1)
    frequency = 1e4 ** (-np.arange(width // 4) / (width // 4))
    angles = across * frequency, down * frequency
    table = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return np.pad(table, ((rows - len(table), 0), (0, 0))).astype(np.float32)


def unsigned(index: Int[Array, "..."]) -> UInt[Array, "..."]:
    """Indices of which a negative one lies far beyond every table, in place of JAX's counting from
    the end; of 32 bits the bits are the same, so that it costs nothing."""
    if index.dtype.itemsize == 8:  # a gather would cut them to 32 bits, whatever is above
        index = index.astype(np.uint64).clip(max=np.uint64(2**32 - 1))
    return index.astype(np.uint32)
