"""Schedules: the learning rate of every step, as a fraction of its peak.

A record says the shape, `rate(peak, steps)` makes the function. Steps count from 0; all shapes
rise linearly from 0 (exclusive, unless `from_zero`) to the peak in `warmup` steps (InverseRoot may
start at it), a warm-up that is longer than the whole schedule ends with it, and the rate stays what
it is at the end for steps after the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax.numpy as jnp
import optax

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.settings import Settings

Rate = Callable[[Int[Array, ""]], Float[Array, ""]]
"""The learning rate of a step that is counted from 0."""


@dataclass(frozen=True)
class Warmed(Settings):
    """A linear warm-up, and what comes after it."""

    warmup: int | float = 100
    """steps of linear warm-up; a number between 0 and 1 is a fraction of the schedule"""
    from_zero: bool = field(default=False, kw_only=True)
    """the rate of the first step is 0, and the peak that of the first after the warm-up, as of
    `get_linear_schedule_with_warmup` and its like in PyTorch's transformers"""

    def __post_init__(self) -> None:
        super().__post_init__()
        good = self.warmup >= 0 and (self.warmup < 1 or self.warmup == int(self.warmup))
        problems = [] if good else [f"warmup ({self.warmup}) is a number of steps, or a fraction"]
        problems += [
            f"{field} ({getattr(self, field)}) is a fraction of the {whole}, from 0 to 1"
            for field, whole in (("decay", "schedule"), ("final", "peak"))
            if not 0 <= getattr(self, field, 0) <= 1
        ]
        if problems:
            name = type(self).__name__
            raise ValueError(f"optimizer.schedule, {name}: " + "; ".join(problems))

    def rate(self, peak: float, steps: int) -> Rate:
        """The learning rate of each step of a schedule of `steps`.

        Raises:
            ValueError: warm-up and decay that do not fit into the schedule (`WSD`).
        """
        warmup = self.first(steps)
        after = self.after(peak, warmup, steps)

        def rate(step: Int[Array, ""]) -> Float[Array, ""]:
            step = jnp.minimum(jnp.asarray(step, jnp.float32), steps)
            rising = peak * (step + (not self.from_zero)) / max(warmup, 1)
            return jnp.where(step < warmup, rising, after(step - warmup))

        return rate

    def first(self, steps: int) -> int:
        """Steps of warm-up in a schedule of `steps`."""
        return min(round(self.warmup * steps if self.warmup < 1 else self.warmup), steps)

    def after(self, peak: float, first: int, steps: int) -> Rate:
        """The learning rate of steps that are counted from the end of the warm-up, of `first`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cosine(Warmed):
    """Half a cosine from the peak to `final` (Loshchilov and Hutter 2017, without restarts)."""

    final: float = 0.1
    """the last rate, as a fraction of the peak"""

    def after(self, peak: float, first: int, steps: int) -> Rate:
        return optax.cosine_decay_schedule(peak, max(steps - first, 1), self.final)


@dataclass(frozen=True)
class Linear(Warmed):
    """A straight line from the peak to `final` (BERT: to 0; Devlin et al. 2018, A.2)."""

    final: float = 0.0
    """the last rate, as a fraction of the peak"""

    def after(self, peak: float, first: int, steps: int) -> Rate:
        return optax.linear_schedule(peak, peak * self.final, max(steps - first, 1))


@dataclass(frozen=True)
class WSD(Warmed):
    """Warm-up, stable, decay: the peak stays until the last part, which falls as 1 - sqrt
    (Hu et al. 2024, MiniCPM, section 4; the shape: Hägele et al. 2024, section 3)."""

    decay: float = 0.2
    """the part of the schedule that falls, at its end"""
    final: float = 0.0
    """the last rate, as a fraction of the peak"""

    def after(self, peak: float, first: int, steps: int) -> Rate:
        falls = round(self.decay * steps)
        whole = round(self.warmup) if self.warmup >= 1 else first
        if whole <= steps < whole + falls:
            raise ValueError(
                f"optimizer.schedule, WSD: {whole} steps of warmup and {falls} of decay "
                f"({self.decay} of the schedule) do not fit into {steps} steps; lower one of them"
            )
        stable, low = max(steps - falls - first, 0), peak * self.final

        def falling(step: Array) -> Array:
            done = jnp.clip((step - stable) / max(steps - first - stable, 1), 0.0, 1.0)
            return low + (peak - low) * (1 - jnp.sqrt(done))

        return falling


@dataclass(frozen=True)
class InverseRoot(Warmed):
    """Falls with 1 / sqrt(step) from the peak at step `warmup` (Vaswani et al. 2017, 5.3).

    It has no end: the rate does not depend on the number of steps.
    """

    warmup: int = 4000
    """steps until the rate falls"""
    start: Literal["linear", "peak"] = "linear"
    """how it gets there: linearly from 0, or at the peak from the first step (Raffel et al. 2019,
    3.1.2: 1 / sqrt(max(step, 10 000)))"""

    def rate(self, peak: float, steps: int) -> Rate:
        """The learning rate of each step."""
        warmup = max(self.warmup, 1)

        def rate(step: Int[Array, ""]) -> Float[Array, ""]:
            number = jnp.asarray(step, jnp.float32) + (not self.from_zero)
            falling = peak * jnp.sqrt(warmup / jnp.maximum(number, warmup))
            return falling if self.start == "peak" else falling * jnp.minimum(number / warmup, 1)

        return rate


@dataclass(frozen=True)
class Constant(Warmed):
    """The peak, after the warm-up."""

    def after(self, peak: float, first: int, steps: int) -> Rate:
        return lambda step: jnp.full_like(step, peak)


Schedule = Cosine | Linear | WSD | InverseRoot | Constant
