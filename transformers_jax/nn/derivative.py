"""Functions with a derivative of their own that works in both directions.

`jax.custom_vjp` gives a fast backward pass and takes forward mode away: `jax.jvp`, `jacfwd` and
`linearize` stop at it. `both_ways` keeps both: it is a `jax.custom_jvp` whose tangent is one linear
primitive. Forward mode evaluates the tangent; reverse mode, which transposes it, calls the backward
pass instead. Higher derivatives differentiate these three functions as the plain JAX they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from transformers_jax.arrays import ordinary
from transformers_jax.shard import varying


def both_ways(
    forward: Callable, tangent: Callable, backward: Callable, *, static: int, linear: int
) -> Callable:
    """`forward` as a function that can be differentiated forward and in reverse.

    Args:
        forward: (*static, *operands) -> out, any tree of floats; it includes what the derivatives
            need besides the operands.
        tangent: (*static, (operands, out), tangents) -> the tangent of out.
        backward: (*static, (operands, out), cotangent of out) -> the cotangents, a tuple: the
            transpose of `tangent`.
        static: how many arguments come first that are hashable and no arrays.
        linear: how many operands, the first ones, have a derivative; all their leaves are floats.
    """
    function = jax.custom_jvp(forward, nondiff_argnums=tuple(range(static)))

    @function.defjvp
    def _(*arguments):
        *fixed, operands, tangents = arguments
        out = function(*fixed, *operands)
        of_out, of_operands = partial(tangent, *fixed), partial(backward, *fixed)
        return out, _linear(of_out, of_operands, (operands, out), tangents[:linear])

    return function


def _linear(tangent: Callable, backward: Callable, saved: Any, tangents: Any) -> Any:
    """tangent(saved, tangents), whose transpose is backward(saved, .)."""
    known, known_tree = jax.tree.flatten(saved)
    moving, moving_tree = jax.tree.flatten(tangents)
    outs, out_tree = jax.tree.flatten(saved[1])
    # Inside a shard_map, a parameter that all devices share meets rows that they do not: its
    # cotangent is a sum over them, which JAX adds where the tangent is made to vary.
    moving = [varying(x, outs) for x in moving]
    count = len(known)

    def flat(function: Callable, tree: Any) -> Callable:
        """`function`, of the known leaves and of those of a `tree`, with leaves as its result."""

        def of_leaves(*leaves):
            saved = jax.tree.unflatten(known_tree, leaves[:count])
            with ordinary():  # reverse mode comes here later than the call
                return jax.tree.leaves(function(saved, jax.tree.unflatten(tree, leaves[count:])))

        return of_leaves

    avals = tuple(jax.typeof(x).strip_weak_type() for x in outs)
    pair = dict(tangent=flat(tangent, moving_tree), backward=flat(backward, out_tree))
    leaves = _linear_p.bind(*known, *moving, **pair, avals=avals, count=count)
    return jax.tree.unflatten(out_tree, leaves)


# ---------------------------------------------------------------- the primitive


_linear_p = Primitive("linear")
_linear_p.multiple_results = True
_linear_p.def_impl(lambda *args, tangent, **_: tangent(*args))
_linear_p.def_abstract_eval(lambda *args, avals, **_: list(avals))
mlir.register_lowering(
    _linear_p,
    mlir.lower_fun(lambda *args, tangent, **_: tangent(*args), multiple_results=True),
)


def _jvp(primals: Sequence, tangents: Sequence, *, tangent: Callable, **params):
    """With tangents of the known arrays as well (a second derivative), the tangent is plain JAX."""
    if all(isinstance(t, ad.Zero) for t in tangents[: params["count"]]):
        call = partial(_linear_p.bind, tangent=tangent, **params)
        moving = [ad.instantiate_zeros(t) for t in tangents[params["count"] :]]
        return call(*primals), call(*primals[: params["count"]], *moving)
    moves = [jnp.issubdtype(x.dtype, jnp.inexact) for x in map(jax.typeof, primals)]

    def of_moving(*leaves):
        left = iter(leaves)
        return tangent(*(next(left) if move else x for x, move in zip(primals, moves)))

    pairs = [(x, ad.instantiate_zeros(t)) for x, t, move in zip(primals, tangents, moves) if move]
    points, directions = zip(*pairs)
    return jax.jvp(of_moving, points, directions)


def _transpose(cotangents: Sequence, *args, backward: Callable, avals, count: int, **_):
    filled = [ad.instantiate_zeros(c) if isinstance(c, ad.Zero) else c for c in cotangents]
    known, moving = args[:count], args[count:]
    gradients = backward(*known, *filled)
    linear = [ad.is_undefined_primal(x) for x in moving]
    return [None] * count + [x if needed else None for x, needed in zip(gradients, linear)]


def _batch(args: Sequence, axes: Sequence, *, tangent: Callable, backward: Callable, avals, count):
    """Every row of the batch has its own tangent and cotangent; known arrays may be shared."""
    size = next(x.shape[a] for x, a in zip(args, axes) if a is not None)
    known = tuple(None if a is None else a for a in axes[:count])
    moving = [
        jnp.broadcast_to(x, (size, *x.shape)) if a is None else jnp.moveaxis(x, a, 0)
        for x, a in zip(args[count:], axes[count:])
    ]
    many = jax.vmap(tangent, (*known, *(0 for _ in moving)), axis_size=size)
    back = jax.vmap(backward, (*known, *(0 for _ in avals)), axis_size=size)
    args = (*args[:count], *moving)
    outs = tuple(jax.make_jaxpr(many)(*args).out_avals)
    results = _linear_p.bind(*args, tangent=many, backward=back, avals=outs, count=count)
    return results, [0] * len(results)


ad.primitive_jvps[_linear_p] = _jvp
ad.primitive_transposes[_linear_p] = _transpose
batching.primitive_batchers[_linear_p] = _batch
