"""What surrounds a direction: decay, rates, averages, what is frozen, and float32.

p <- p - rate(n) * leaf.rate * (direction + leaf.decay * p)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from transformers_jax.arrays import Params
from transformers_jax.nn.param import flatten, unflatten
from transformers_jax.optim.layers import map_leaves
from transformers_jax.optim.leaves import Leaf
from transformers_jax.optim.schedules import Rate

Evaluated = Callable[[Any, Params], Params]
"""(state, parameters) -> the parameters that are evaluated."""


class Optimizer(NamedTuple):
    """What a record builds.

    Attributes:
        transformation: the optax transformation, for any training loop.
        schedule: the learning rate of each update, counted from 0; None if it is not known.
        averaged: (its state, parameters) -> the parameters that are evaluated, sampled and
            exported: an average, if the optimizer keeps one.
        frozen: which parameters never change: a tree of booleans, or, where only some of a
            parameter's layers are frozen, of arrays that broadcast; None if none is frozen.
        averages: whether it keeps an average, so that `averaged` reads the state.
    """

    transformation: optax.GradientTransformation
    schedule: Rate | None
    averaged: Evaluated = lambda state, params: params
    frozen: Any = None
    averages: bool = False


def optimizer(
    known: Mapping[str, Leaf],
    inner: optax.GradientTransformation,
    rate: Rate,
    evaluated: Evaluated | None = None,
) -> Optimizer:
    """The optimizer that gives everything but what is frozen to `inner`, in float32.

    `evaluated` is of the state of `inner` and of the parameters that it is applied to.
    """
    frozen = unflatten({path: leaf.along(leaf.frozen) for path, leaf in known.items()})
    some = any(np.any(leaf) for leaf in jax.tree.leaves(frozen))
    labels = jax.tree.map(lambda f: "frozen" if f is True else "trained", frozen)
    parts = optax.partition({"trained": _in_float32(inner), "frozen": _unchanged()}, labels)

    def init(params: Params) -> optax.OptState:
        _check(known, params)
        return parts.init(params)

    def update(grads: Params, state: optax.OptState, params: Params | None = None):
        if params is None:
            raise ValueError("this optimizer needs the parameters: update(grads, state, params)")
        _check(known, params)
        updates, state = parts.update(grads, state, params)
        return jax.tree.map(lambda f, u: _where(f, -0.0, u), frozen, updates), state

    def averaged(state: Any, params: Params) -> Params:
        if evaluated is None:
            return params
        _check(known, params)
        trained = jax.tree.map(
            lambda label, p: p if label == "trained" else optax.MaskedNode(), labels, params
        )
        means = evaluated(
            state.inner_states["trained"].inner_state, optax.tree.cast(trained, jnp.float32)
        )
        return jax.tree.map(
            lambda f, p, mean: p if f is True else _where(f, p, mean.astype(p.dtype)),
            *(frozen, params, means),
        )

    return Optimizer(
        optax.GradientTransformation(init, update),
        rate,
        averaged,
        frozen if some else None,
        evaluated is not None,
    )


def applied(known: Mapping[str, Leaf], rate: Rate) -> optax.GradientTransformation:
    """From directions to updates: each parameter's own decay and its own factor of the rate."""

    def each(change: Callable[[Leaf, Any, Any], Any]) -> optax.GradientTransformation:
        """`change` of every parameter: (what is known of it, its update, itself)."""
        return optax.stateless(lambda updates, params: map_leaves(change, known, updates, params))

    decays = any(leaf.decay != 0 for leaf in known.values())
    rated = any(leaf.rate != 1 for leaf in known.values())
    decayed = each(lambda leaf, u, p: u if leaf.decay == 0 else u + leaf.along(leaf.decay) * p)
    scaled = each(lambda leaf, u, p: u if leaf.rate == 1 else u * leaf.along(leaf.rate))
    return optax.chain(
        *([decayed] if decays else []),
        *([scaled] if rated else []),
        optax.scale_by_learning_rate(rate),
    )


def moving_average(
    inner: optax.GradientTransformation, decay: float
) -> tuple[optax.GradientTransformation, Evaluated]:
    """`inner`, and the average of the parameters over its steps: each step's weight is `decay`
    times that of the next; before the first step the parameters themselves."""
    mean = optax.ema(decay, debias=False)

    def update(updates: Params, state: optax.EmaState, params: Params):
        return updates, mean.update(optax.apply_updates(params, updates), state)[1]

    def evaluated(state: Any, params: Params) -> Params:
        count, means = state[-1]
        means = optax.tree.bias_correction(means, decay, jnp.maximum(count, 1))
        return jax.tree.map(lambda p, m: jnp.where(count > 0, m, p), params, means)

    return optax.chain(inner, optax.GradientTransformation(mean.init, update)), evaluated


def without_frozen(grads: Params, frozen: Any) -> Params:
    """Gradients, zero where `frozen` (`Optimizer.frozen`): XLA then leaves out what only the
    gradients of wholly frozen parameters need."""
    return jax.tree.map(lambda f, g: _where(f, 0, g), frozen, grads)


def _where(chosen: Any, value: Any, x: Any) -> Any:
    """`value` where `chosen`, which is True, False or an array that broadcasts, else `x`."""
    if chosen is False:
        return x
    return jnp.full_like(x, value) if chosen is True else jnp.where(chosen, value, x)


def _unchanged() -> optax.GradientTransformation:
    """No state, no change: adding -0.0, unlike `optax.set_to_zero`'s 0.0, keeps every bit."""
    return optax.stateless_with_tree_map(lambda g, p: jnp.full_like(p, -0.0))


def _in_float32(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, whose state and arithmetic are float32 whatever the parameters are."""

    def wide(tree: Params) -> Params:
        return optax.tree.cast(tree, jnp.float32)

    def update(grads: Params, state: optax.OptState, params: Params):
        updates, state = inner.update(wide(grads), state, wide(params))
        return optax.tree.cast_like(updates, params), state

    return optax.GradientTransformation(lambda params: inner.init(wide(params)), update)


def _check(known: Mapping[str, Leaf], params: Params) -> None:
    flat = flatten(params)
    if flat.keys() != known.keys():
        missing, more = sorted(known.keys() - flat.keys()), sorted(flat.keys() - known.keys())
        raise ValueError(
            f"the optimizer was built for other parameters: missing {missing[:5]}, not known "
            f"{more[:5]}; build it with axes(model) of the model that is trained"
        )
