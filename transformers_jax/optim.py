"""Optimizers, from frozen records to optax; each knows which parameters are matrices.

Parameters are stored stacked over the layers and with heads apart, so that the number of axes of
an array does not tell a matrix from a vector: the names of its axes do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from transformers_jax.arrays import Array, Float, Int

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]


class Optimizer(NamedTuple):
    """An optax transformation, and the learning rate of each step that it uses."""

    transformation: optax.GradientTransformation
    schedule: Schedule


def is_matrix(axes: tuple[str, ...]) -> bool:
    """Whether one layer's parameter is a matrix: biases over (heads, kv) are vectors, and so are
    the scales of all layers together."""
    sides = [name for name in axes if name not in ("layers", "experts")]
    if "kv" in sides and ("heads" in sides or "kv_heads" in sides):
        sides.remove("kv")  # heads and their width are one side of a matrix
    return len(sides) >= 2


def matrices(axes: Any) -> Any:
    """A tree of booleans: which of the parameters, whose axis names are `axes`, are matrices."""
    return jax.tree.map(is_matrix, axes, is_leaf=lambda node: isinstance(node, tuple))


def warmup_cosine(peak: float, warmup: int, steps: int, final: float) -> Schedule:
    """Linear from 0 (exclusive) to `peak` in `warmup` steps, then half a cosine down to `final`.

    Units: optimizer steps; the rate stays at `final` after `steps`.
    """

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        step = jnp.asarray(step, jnp.float32)
        rising = peak * (step + 1) / max(warmup, 1)
        done = jnp.where(step < steps, (step - warmup) / max(steps - warmup, 1), 1.0)
        falling = final + 0.5 * (peak - final) * (1 + jnp.cos(jnp.pi * done))
        return jnp.where(step < warmup, rising, falling)

    return rate


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter 2019) with warm-up and a cosine; only matrices decay."""

    learning_rate: float = 6e-4
    final_rate: float = 6e-5
    """the learning rate from the end of the schedule on"""
    warmup: int = 100
    """steps of linear warm-up, shortened where the schedule is shorter"""
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1

    def build(self, axes: Any, steps: int) -> Optimizer:
        """The optimizer for parameters whose axis names are `axes`, over a schedule of `steps`.

        Raises:
            ValueError: rates that make no schedule.
        """
        if self.learning_rate <= 0 or self.final_rate < 0 or self.warmup < 0:
            raise ValueError(
                "optimizer.learning_rate must be positive, final_rate and warmup at least 0"
            )
        warmup = min(self.warmup, steps)
        schedule = warmup_cosine(self.learning_rate, warmup, steps, self.final_rate)
        transformation = optax.chain(
            optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps),
            optax.add_decayed_weights(self.weight_decay, mask=matrices(axes)),
            optax.scale_by_learning_rate(schedule),
        )
        return Optimizer(transformation, schedule)
