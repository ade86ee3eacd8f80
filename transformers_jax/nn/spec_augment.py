"""SpecAugment: spans of frames, and of channels, that training hides (Park et al. 2019; as masked
in wav2vec 2.0, Baevski et al. 2020, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.sizes import check_count, check_probability


@dataclass(frozen=True)
class Spans:
    """Spans of `length` steps, of which there are so many that `rate` of the steps would be hidden
    if none overlapped, and at least `least`; a row that is too short for them has fewer."""

    rate: float
    length: int
    least: int = 0

    def __post_init__(self):
        check_probability("the rate of hidden spans", self.rate)
        check_count("the length of hidden spans", self.length)

    def draw(self, key: Key, lengths: Int[Array, " B"], steps: int) -> Bool[Array, "B T"]:
        """Where rows of these lengths, in arrays of so many steps, are hidden. Spans of a row begin
        at different steps; how a fraction of a span is rounded is drawn once for all rows."""
        first, second = jax.random.split(key)
        rows = lengths.shape[0]
        rounding = jax.random.uniform(first)
        most = steps // self.length
        count = jnp.floor(self.rate * lengths / self.length + rounding).astype(jnp.int32)
        count = jnp.clip(count, self.least, None)
        starts = jnp.maximum(lengths - (self.length - 1), 0)
        count = jnp.minimum(jnp.minimum(count, most), starts)
        # the starts of a row in a random order, those that do not fit behind all others
        index = jnp.arange(steps)
        order = jax.random.uniform(second, (rows, steps))
        order = jnp.where(index < starts[:, None], order, 2.0)
        rank = jnp.argsort(jnp.argsort(order, axis=1), axis=1)
        begins = (rank < count[:, None]).astype(jnp.int32)
        opened = jnp.cumsum(begins, axis=1)
        closed = jnp.pad(opened, ((0, 0), (self.length, 0)))[:, :steps]
        return opened > closed


@dataclass(frozen=True)
class SpecAugment:
    """What is hidden of a row of audio in a call with a key: spans of frames, whose vector is then
    a learned one or zero, and spans of channels, which are then zero."""

    frames: Spans | None = None
    channels: Spans | None = None

    def __post_init__(self):
        if self.frames is None and self.channels is None:
            raise ValueError("SpecAugment hides spans of frames or of channels; both are None")

    def zeroed(self, x: Float[Array, "B T M"], key: Key) -> Float[Array, "B T M"]:
        """The rows, in whose hidden frames and channels there is zero."""
        rows, steps, channels = x.shape
        times, widths = jax.random.split(key)
        if self.frames is not None:
            hidden = self.frames.draw(times, all_steps(rows, steps), steps)
            x = jnp.where(hidden[..., None], 0, x)
        if self.channels is not None:
            hidden = self.channels.draw(widths, all_steps(rows, channels), channels)
            x = jnp.where(hidden[:, None], 0, x)
        return x


def all_steps(rows: Any, steps: int) -> Int[Array, " B"]:
    """The lengths of rows without padding."""
    return jnp.full((rows,), steps, jnp.int32)
