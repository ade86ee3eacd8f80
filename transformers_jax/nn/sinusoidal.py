"""Sinusoids: positions that nothing has to learn, in the three forms in which models have them."""

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
        halves: all sines stand before all cosines (Marian, fairseq); else they alternate.
        closed: the slowest frequency is 1/10000 itself (tensor2tensor, fairseq).
        rows: how many positions there are; None where there is no end.
    """

    halves: bool = False
    closed: bool = False
    rows: int | None = None

    def frequencies(self, width: int) -> np.ndarray:
        """Float64[ceil(D/2)] radians per position; a closed row of an odd width is one short."""
        if self.closed:
            return np.exp(np.arange(width // 2) * (-math.log(1e4) / (width // 2 - 1)))
        return 1e4 ** (-np.arange(0, width, 2) / width)

    def table(self, width: int) -> np.ndarray:
        """Float32[rows D] of a finite number of positions, computed in float64.

        Raises:
            ValueError: there is no end of them.
        """
        if self.rows is None:
            raise ValueError("these sinusoids have no end, and therefore no table")
        return self._waves(
            np.arange(self.rows)[:, None] * self.frequencies(width), width, np
        ).astype(np.float32)

    def _waves(self, angle: Any, width: int, xp: Any) -> Any:
        sine, cosine = xp.sin(angle), xp.cos(angle)
        if not self.halves:
            pairs = xp.stack([sine, cosine], -1)
            return pairs.reshape(*angle.shape[:-1], -1)[..., :width]
        waves = xp.concatenate([sine, cosine], -1)[..., :width]
        missing = [(0, 0)] * (waves.ndim - 1) + [(0, width - waves.shape[-1])]
        return xp.pad(waves, missing)


def sinusoids(kind: Sinusoids, width: int, place: Int[Array, "b T"]) -> Float[Array, "b T D"]:
    """The waves at these places; NaN at places beyond the last, never those of another place.

    A finite number of positions is looked up in a table made in float64, as the reference does:
    angles of some hundred radians are right to five digits only in float32.
    """
    if kind.rows is None:
        angle = jnp.asarray(place, jnp.float32)[..., None] * kind.frequencies(width).astype(
            np.float32
        )
        return kind._waves(angle, width, jnp)
    table = kind.table(width)
    return jnp.take(jnp.asarray(table), unsigned(place), axis=0, mode="fill", fill_value=jnp.nan)


def unsigned(place: Int[Array, "..."]) -> UInt[Array, "..."]:
    """Indices of which a negative one lies far beyond every table, in place of JAX's counting from
    the end; of 32 bits the bits are the same, so that it costs nothing."""
    if place.dtype.itemsize == 8:  # a gather would cut them to 32 bits, whatever is above
        place = place.astype(np.uint64).clip(max=np.uint64(2**32 - 1))
    return place.astype(np.uint32)
