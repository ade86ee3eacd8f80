"""What a step refuses to write: gradients, parameters and optimizer states that are not finite.

A finite gradient is not enough: Adam in float16 squares it beyond 65504, a learning rate may be
NaN, a quotient of small numbers infinite. So an update is looked at before it replaces the old
state, which otherwise keeps every bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Params

Written = tuple[Params, Any]
"""(parameters, state of the optimizer)"""


def measured(grads: Params) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """(global norm, place of the first leaf whose sum of squares is not finite, or -1)."""
    squares = jnp.stack([jnp.square(g.astype(jnp.float32)).sum() for g in jax.tree.leaves(grads)])
    return jnp.sqrt(squares.sum()), _first(~jnp.isfinite(squares))


def guarded(
    finite: Bool[Array, ""], update: Callable[[], Written], old: Written, *, branch: bool
) -> tuple[Written, Bool[Array, ""], Int[Array, ""]]:
    """(update() if `finite` and all it would write stays so, else `old`; whether it was; the place
    of the first parameter that would not have been finite, or -1).

    With a `branch`, what is not finite beforehand costs nothing, and selecting is one copy: right
    on a CPU, where selecting every number takes 2 % of a small step. On an accelerator the
    selection is part of the update's own loop, and a branch would have to wait on the host.
    """

    def first_of(spoiled: Array) -> Array:
        return _first(spoiled[: len(jax.tree.leaves(old[0]))])

    def attempt() -> tuple[Written, Array, Array]:
        new = update()
        spoiled = spoils(old, new)
        good = ~spoiled.any()
        return jax.lax.cond(good, lambda: new, lambda: old), good, first_of(spoiled)

    if branch:
        return jax.lax.cond(finite, attempt, lambda: (old, jnp.array(False), jnp.int32(-1)))
    new = update()
    spoiled = spoils(old, new)
    good = finite & ~spoiled.any()
    chosen = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
    return chosen, good, jnp.where(finite, first_of(spoiled), -1)


def spoils(old: Any, new: Any) -> Bool[Array, "n"]:
    """Of each leaf, whether a number in it was finite and is not any more. What began as infinite,
    such as the best loss so far, may stay so."""

    def spoiled(a: Array, b: Array) -> Array:
        if not jnp.issubdtype(b.dtype, jnp.inexact):
            return jnp.array(False)
        return (jnp.isfinite(a) & ~jnp.isfinite(b)).any()

    return jnp.stack(jax.tree.leaves(jax.tree.map(spoiled, old, new)))


def _first(bad: Bool[Array, "n"]) -> Int[Array, ""]:
    """The place of the first that is bad, or -1."""
    return jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)
