"""TrainState and make_step: one step of training as one compiled program.

A step differentiates the objective (over micro-batches, if asked), clips the gradient by its
global norm, lets the optimizer update, and returns the new state in the memory of the old one. If
loss or gradient are not finite, the state is returned unchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from transformers_jax import shard
from transformers_jax.arrays import Array, Float, Int, Key, Params
from transformers_jax.models.base import Model, functional
from transformers_jax.nn.param import axes as axes_of
from transformers_jax.objectives import Objective

Batch = Mapping[str, Array]
Step = Callable[["TrainState", Batch], tuple["TrainState", dict[str, Float[Array, ""]]]]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("step", "params", "opt", "key"), meta_fields=()
)
@dataclass(frozen=True)
class TrainState:
    """All that training remembers: a plain pytree.

    Attributes:
        step: how many updates have been made.
        params: nested dicts, as `functional(model)` returns them.
        opt: the optimizer's state.
        key: the noise of step n is drawn from `fold_in(key, n)`.
    """

    step: Int[Array, ""]
    params: Params
    opt: Any
    key: Key


def make_step(
    model: Model | Callable[..., Any],
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    accumulate: int = 1,
    clip: float | None = 1.0,
    compute_dtype: str | None = None,
    axes: Any = None,
    params: Params | None = None,
    schedule: Callable[[Array], Array] | None = None,
) -> Step:
    """A jitted `step(state, batch) -> (state, metrics)`; the given state's memory is reused.

    Metrics are means over the batch: `loss` and whatever the objective reports, `gradient_norm`
    (before clipping), `finite`, and `learning_rate` if a schedule is given.

    Args:
        model: a Model, or `apply(params, **inputs)`; a mesh then needs `axes` and `params` too
            (arrays or shapes).
        accumulate: micro-batches per step; the batch has that many times as many rows.
        compute_dtype: of the activations, e.g. "bfloat16"; parameters and optimizer keep theirs.

    Raises:
        ValueError: parameters that the mesh does not divide.
    """
    if isinstance(model, Model):
        axes, params = axes_of(model), functional(model)[1]
        model = model if compute_dtype is None else model.abstract(compute=compute_dtype)
        apply: Callable[..., Any] = functional(model)[0]
    else:
        apply = model
        if compute_dtype is not None:
            raise ValueError("compute_dtype needs the Model itself; a function has its own")
    places = None
    if mesh is not None:
        if axes is None or params is None:
            raise ValueError("make_step(apply, ..., mesh=) needs axes= and params=")
        places = state_shardings(axes, params, optimizer, mesh)

    def step(state: TrainState, batch: Batch):
        with shard.use(mesh):
            noise = jax.random.fold_in(state.key, state.step)
            grads, sums = _gradients(apply, objective, state.params, batch, noise, accumulate)
            if places is not None:
                grads = jax.lax.with_sharding_constraint(grads, places.params)
            metrics = {name: total / jnp.maximum(n, 1e-9) for name, (total, n) in sums.items()}
            norm = optax.tree.norm(grads)
            finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
            if clip is not None:
                scale = jnp.minimum(1.0, clip / jnp.maximum(norm, 1e-12))
                grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
            metrics |= {"gradient_norm": norm, "finite": finite}
            metrics |= {} if schedule is None else {"learning_rate": schedule(state.step)}
            return _updated(state, grads, optimizer, finite), metrics

    # pinned: left alone, XLA gave gradients and Adam's moments back without the fsdp cut
    outs = None if mesh is None else (places, shard.replicated(mesh))
    return jax.jit(step, donate_argnums=0, out_shardings=outs)


def init_state(
    model: Model, optimizer: optax.GradientTransformation, key: Key, *, mesh: Mesh | None = None
) -> TrainState:
    """The state before the first step, around the parameters that the model has.

    The optimizer's arrays are born in the sharding of their parameters. The first step takes over
    the memory of the state, so the model's own arrays are copied.
    """
    params = functional(model)[1]
    places = None
    if mesh is not None:
        places = state_shardings(axes_of(model), params, optimizer, mesh)
        params = jax.device_put(params, places.params)
        key = jax.device_put(key, shard.replicated(mesh))
    return jax.jit(lambda p, k: _fresh(optimizer, p, k), out_shardings=places)(params, key)


def state_shardings(
    axes: Any, params: Params, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Where each array of the state lives: moments beside their parameters, the rest everywhere.

    Raises:
        ValueError: every parameter that the mesh does not divide.
    """
    everywhere = shard.replicated(mesh)
    placed = shard.shardings(axes, params, mesh)
    opt = optax.tree.map_params(
        optimizer,
        lambda leaf, place: place if leaf.ndim == len(place.spec) else everywhere,
        jax.eval_shape(optimizer.init, params),
        placed,
        transform_non_params=lambda leaf: everywhere,
    )
    return TrainState(everywhere, placed, opt, everywhere)  # type: ignore[arg-type]


def _fresh(optimizer: optax.GradientTransformation, params: Params, key: Key) -> TrainState:
    """Copies, because jit hands untouched inputs through and the first step overwrites them."""
    copies = jax.tree.map(jnp.copy, params)
    key = jax.random.wrap_key_data(
        jnp.copy(jax.random.key_data(key)), impl=jax.random.key_impl(key)
    )
    return TrainState(jnp.zeros((), jnp.int32), copies, optimizer.init(params), key)


def _updated(
    state: TrainState, grads: Params, optimizer: optax.GradientTransformation, finite: Array
) -> TrainState:
    """The state after the update, or the state as it was if the gradient is not finite."""
    updates, opt = optimizer.update(grads, state.opt, state.params)
    new = (state.step + 1, optax.apply_updates(state.params, updates), opt)
    old = (state.step, state.params, state.opt)
    kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
    return TrainState(*kept, key=state.key)


def _gradients(
    apply: Callable[..., Any],
    objective: Objective,
    params: Params,
    batch: Batch,
    noise: Key,
    accumulate: int,
) -> tuple[Params, dict[str, tuple[Array, Array]]]:
    """(gradient of the mean loss, {name: (sum, weight)}) over all micro-batches."""

    def loss_of(params, part, key):
        return objective(functools.partial(apply, params), part, key)

    if accumulate == 1:
        (_, sums), grads = jax.value_and_grad(loss_of, has_aux=True)(params, batch, noise)
        return grads, sums

    def weighted(params, part, key):
        loss, sums = loss_of(params, part, key)
        return loss * jax.lax.stop_gradient(sums["loss"][1]), sums

    def add(carry, numbered):
        number, part = numbered
        key = jax.random.fold_in(noise, number)
        (_, sums), grads = jax.value_and_grad(weighted, has_aux=True)(params, part, key)
        return jax.tree.map(jnp.add, carry, (grads, sums)), None

    parts = jax.tree.map(functools.partial(_micro_batches, count=accumulate), dict(batch))
    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(lambda: (params, loss_of(params, first, noise)[1]))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (grads, sums), _ = jax.lax.scan(add, zeros, (jnp.arange(accumulate), parts))
    weight = jnp.maximum(sums["loss"][1], 1e-9)
    return jax.tree.map(lambda g: g / weight.astype(g.dtype), grads), sums


def _micro_batches(x: Array, count: int) -> Array:
    """[A B ...] of [B A ...]: every micro-batch takes rows from every device."""
    if x.shape[0] % count:
        raise ValueError(f"a batch of {x.shape[0]} rows cannot be cut into {count} micro-batches")
    parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    return shard.constrain(parts, " ".join(["micro", "batch", *["rest"] * (x.ndim - 1)]))
