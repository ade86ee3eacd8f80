"""The guard of a step: it writes no parameters and no optimizer state that are not finite.

A finite gradient is not enough: Adam in float16 squares it beyond 65504, a learning rate may be
NaN, a quotient of small numbers infinite. So an update is checked before it replaces the old
state, which otherwise keeps every bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from transformers_jax.arrays import Array, Bool, Float, Int, Params

Written = tuple[Params, Any]
"""(parameters, state of the optimizer)"""


def measured(grads: Params) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """(global norm, index of the first leaf whose sum of squares is not finite, or -1)."""
    squares = jnp.stack([jnp.square(g.astype(jnp.float32)).sum() for g in jax.tree.leaves(grads)])
    return jnp.sqrt(squares.sum()), _first(~jnp.isfinite(squares))


def guarded(
    finite: Bool[Array, ""],
    update: Callable[[Written], Written],
    old: Written,
    *,
    branch: bool,
) -> tuple[Written, Bool[Array, ""], Int[Array, ""]]:
    """(update(old) if `finite` and all that it writes is finite, else `old`; whether it was made;
    the index of the first parameter that would not have been finite, or -1).

    An elementwise update is computed twice: first to be checked, without storing it, and then into
    the memory of the old state. Storing it instead would take the memory of the state once more,
    and five times as long on a CPU. One with products of matrices or loops (Muon, line searches) is
    computed once.

    With a `branch` no number is selected, and the leaf that is not finite is searched for only
    where there is one: right on a CPU. On an accelerator the selection is part of the update's own
    loop, and a branch would have to wait on the host.
    """
    first_of = lambda nonfinite: _first(nonfinite[: len(jax.tree.leaves(old[0]))])
    twice, count = is_elementwise(update, old), len(jax.tree.leaves(old))
    if branch:
        none = jnp.zeros(count, bool)
        if twice:
            good = finite & ~any_became_nonfinite(old, update(old))
            named = lambda: (old, finite & became_nonfinite(old, update(old)))
            chosen, nonfinite = jax.lax.cond(good, lambda: (update(old), none), named)
            return chosen, good, first_of(nonfinite)

        def attempt() -> tuple[Written, Array]:
            new = update(old)
            nonfinite = became_nonfinite(old, new)
            return jax.lax.cond(nonfinite.any(), lambda: old, lambda: new), nonfinite

        chosen, nonfinite = jax.lax.cond(finite, attempt, lambda: (old, none))
        return chosen, finite & ~nonfinite.any(), first_of(nonfinite)
    new = update(old)
    nonfinite = finite & became_nonfinite(old, new)
    good = finite & ~nonfinite.any()
    if twice:  # behind a barrier, so that the compiler does not store what was checked
        new = update(jax.lax.optimization_barrier(old))
    chosen = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
    return chosen, good, first_of(nonfinite)


def is_elementwise(update: Callable[[Written], Written], old: Written) -> bool:
    """Whether an update has no products of matrices, sorting or loops, so that computing it again
    costs less than keeping it."""
    return _COSTLY.isdisjoint(_primitives(jax.make_jaxpr(update)(old).jaxpr))


_COSTLY = frozenset("dot_general conv_general_dilated while scan sort fft eigh qr svd".split())


def _primitives(jaxpr: Any) -> set[str]:
    names: set[str] = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        for inner in jaxprs_in_params(equation.params):
            names |= _primitives(inner)
    return names


def became_nonfinite(old: Any, new: Any) -> Bool[Array, " n"]:
    """Of each leaf, whether a number in it was finite and is not any more. A number that was
    infinite before, such as the best loss so far, may stay infinite."""
    pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
    return jnp.stack([_became_nonfinite(a, b).any() for a, b in pairs])


def any_became_nonfinite(old: Any, new: Any) -> Bool[Array, ""]:
    """Whether `became_nonfinite` names a leaf: one loop over all leaves of a shape, each number of
    the update computed once, and truth values read by four. This halves what the guard costs on a
    CPU."""
    by_shape: dict[tuple[int, ...], Array] = {}
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        nonfinite = _became_nonfinite(a, b)
        by_shape[b.shape] = by_shape[b.shape] | nonfinite if b.shape in by_shape else nonfinite
    return jnp.stack([_by_fours(x).any() for x in by_shape.values()]).any()


def _became_nonfinite(old: Array, new: Array) -> Bool[Array, "..."]:
    if not jnp.issubdtype(new.dtype, jnp.inexact):
        return jnp.zeros(new.shape, bool)
    return ~jnp.isfinite(new) & jnp.isfinite(old)


def _by_fours(truths: Bool[Array, "..."]) -> Array:
    """Truth values, four packed into an integer, where there are many."""
    if truths.size < 4096 or truths.size % 4:
        return truths
    return jax.lax.bitcast_convert_type(truths.astype(jnp.uint8).reshape(-1, 4), jnp.uint32) != 0


def _first(bad: Bool[Array, " n"]) -> Int[Array, ""]:
    """The index of the first that is bad, or -1."""
    return jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)
