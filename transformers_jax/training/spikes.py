"""Loss spikes: steps whose loss or gradient norm is far above that of the steps before.

A spike is more than 15 standard deviations above the mean of the last 128 updates. The SkipStep
optimizers of OLMo-core and Levanter take six, for batches of millions of tokens; gradient norms of
small batches come seven deviations, or twice their mean, above it by themselves. A deviation is at
least 3% of the mean, so that a spike is half as much again. Unlike there a spike does not enter the
window, in which one of a hundred times the mean would hide all smaller ones until it has left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int

WINDOW = 128  # updates that a step is compared with
LEAST = WINDOW // 2  # updates before the first comparison
DEVIATIONS = 15.0
FLAT = 0.03  # of the mean: the least standard deviation, for a loss that is all but constant

OnSpike = Literal["off", "abort", "skip"]


class Window(NamedTuple):
    """What a train state remembers of its last updates, for the comparison.

    Attributes:
        figures: losses and gradient norms; update n is in place n modulo 128.
        updates: their number so far.
        spikes: steps that were skipped as spikes, so far.
    """

    figures: Float[Array, "2 128"]
    updates: Int[Array, ""]
    spikes: Int[Array, ""]


def empty() -> Window:
    """The window before the first update."""
    return Window(
        jnp.zeros((2, WINDOW), jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    )


@dataclass(frozen=True)
class Spikes:
    """What a step does about spikes.

    Raises:
        ValueError: an unknown `then`, or deviations that are not above 0.
    """

    then: OnSpike = "off"
    deviations: float = DEVIATIONS

    def __post_init__(self) -> None:
        if self.then not in get_args(OnSpike):
            raise ValueError(f"on_spike={self.then!r}: expected 'off', 'abort' or 'skip'")
        if not self.deviations > 0:
            raise ValueError(f"spike_deviations={self.deviations!r}: expected a number above 0")

    def above(
        self, window: Window, figures: Float[Array, " 2"]
    ) -> tuple[Bool[Array, ""], Float[Array, " 2"]]:
        """(whether this is a spike, by how many standard deviations loss and gradient norm are
        above their means: 0 while the window is filling)."""
        known = jnp.arange(WINDOW) < window.updates
        count = jnp.maximum(known.sum(), 1)
        mean = jnp.where(known, window.figures, 0).sum(1) / count
        square = jnp.where(known, jnp.square(window.figures - mean[:, None]), 0).sum(1) / count
        deviation = jnp.maximum(jnp.sqrt(square), FLAT * jnp.abs(mean))
        above = jnp.where(deviation > 0, (figures - mean) / deviation, 0)
        above = jnp.where(window.updates >= LEAST, above, 0)
        return (above > self.deviations).any(), above

    def after(
        self, window: Window, figures: Float[Array, " 2"], made: Array, spike: Array
    ) -> Window:
        """The window after a step whose update was made, or which was a spike, or neither."""
        place = window.updates % WINDOW
        kept = jnp.where(made, figures, window.figures[:, place])
        return Window(
            window.figures.at[:, place].set(kept),
            window.updates + made.astype(jnp.int32),
            window.spikes + (spike.astype(jnp.int32) if self.then == "skip" else 0),
        )
