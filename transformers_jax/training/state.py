"""TrainState: the state of training, how it begins, and its sharding over a mesh."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from transformers_jax import processes, shard
from transformers_jax.arrays import Array, Int, Key, Params, check_key, is_traced
from transformers_jax.models.base import Model, check_model
from transformers_jax.nn.param import axes, flatten, partition, trained_axes, unflatten
from transformers_jax.optim import Optimizer, state_axes
from transformers_jax.training.spikes import Window


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("step", "params", "opt", "key", "skipped", "window"),
    meta_fields=(),
)
@dataclass(frozen=True)
class TrainState:
    """The state of training, a plain pytree.

    Attributes:
        step: number of batches that were trained on or skipped.
        params: what is trained of the parameters, as nested dicts: all, as `functional(model)`
            returns them, unless an adapter freezes some (`tj.partition`).
        opt: the optimizer's state.
        key: the noise of step n is drawn from `fold_in(key, n)`.
        skipped: number of steps that were skipped, because they were not finite or were spikes.
        window: the last losses and gradient norms, of a run that looks for spikes; None otherwise.
    """

    step: Int[Array, ""]
    params: Params
    opt: Any
    key: Key
    skipped: Int[Array, ""] = field(default_factory=lambda: jnp.zeros((), jnp.int32))
    window: Window | None = None

    def __repr__(self) -> str:
        leaves = jax.tree.leaves(self.params)
        count = f"{len(leaves):,} leaves"  # such as shardings
        if all(hasattr(leaf, "shape") for leaf in leaves):
            count = f"{sum(math.prod(leaf.shape) for leaf in leaves):,} parameters"
        return f"TrainState(step={_shown(self.step)}, {count}, skipped={_shown(self.skipped)})"


def _shown(value: Any) -> str:
    """A number of the state in its `repr`: of an array without values (a shape, a tracer, one
    whose memory a step took over), its dtype and shape, as JAX writes them."""
    if not hasattr(value, "dtype"):
        return str(value) if isinstance(value, int) else type(value).__name__
    deleted = isinstance(value, jax.Array) and not is_traced(value) and value.is_deleted()
    if deleted or is_traced(value) or isinstance(value, jax.ShapeDtypeStruct):
        shape = ",".join(map(str, value.shape))
        return f"{value.dtype}[{shape}]{' (deleted)' if deleted else ''}"
    return str(value)


def init_state(
    model: Model,
    optimizer: Optimizer | optax.GradientTransformation,
    key: Key,
    *,
    mesh: Mesh | None = None,
) -> TrainState:
    """The state before the first step, with the parameters of the model, or with what is trained of
    them if it has an adapter.

    The optimizer's arrays are created in the sharding of their parameters. The first step takes
    over the memory of the state, so the model's own arrays are copied.
    """
    check_key(key)
    optimizer, params, shardings = as_optimizer(optimizer), _trained(model), None
    if mesh is not None:
        shardings = state_shardings(trained_axes(model), params, optimizer, mesh)
        params = jax.device_put(params, shardings.params)
        numbers = processes.replicate(jax.random.key_data(key), mesh)
        key = jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(key))

    def fresh(params: Params, key: Key) -> TrainState:
        """Of copies: jit hands untouched inputs through, and the first step overwrites them."""
        copies, numbers = jax.tree.map(jnp.copy, (params, jax.random.key_data(key)))
        noise = jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(key))
        return TrainState(
            jnp.zeros((), jnp.int32), copies, optimizer.transformation.init(params), noise
        )

    return jax.jit(fresh, out_shardings=shardings)(params, key)


def _trained(model: Model) -> Params:
    """What is trained of the parameters of a model.

    Raises:
        TypeError: what is no model.
    """
    check_model(model, "init_state")
    return partition(model)[0]


def abstract_state(
    model: Model, optimizer: Optimizer, dtype: Any, *, mesh: Mesh | None = None
) -> TrainState:
    """The state of `init_state` as shapes (with shardings, on a mesh), of parameters of a dtype."""
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, dtype)
    params = jax.tree.map(shape, _trained(model))
    opt = jax.eval_shape(as_optimizer(optimizer).transformation.init, params)
    key, number = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((), jnp.int32)
    state = TrainState(number, params, opt, key, number)  # type: ignore[arg-type]
    if mesh is None:
        return state
    placed = state_shardings(trained_axes(model), params, optimizer, mesh)
    placed = dataclasses.replace(placed, window=None)
    put = lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at)
    return jax.tree.map(put, state, placed)


def state_shardings(
    axes: Any,
    params: Params,
    optimizer: Optimizer | optax.GradientTransformation,
    mesh: Mesh,
) -> TrainState:
    """The sharding of each array of the state. An array of the optimizer is sharded like its
    parameter (means over rows or columns along the axes that they still have), all others are
    replicated.

    Raises:
        ValueError: every parameter that the mesh does not divide.
    """
    everywhere, names = shard.replicated(mesh), flatten(axes)
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}

    def sharding(path, leaf):
        own = state_axes(path, leaf.shape, names, shapes)
        return everywhere if own is None else shard.shardings(own, leaf, mesh)

    opt = jax.eval_shape(as_optimizer(optimizer).transformation.init, params)
    opt = jax.tree_util.tree_map_with_path(sharding, opt)
    of_params: Any = shard.shardings(axes, params, mesh)
    return TrainState(everywhere, of_params, opt, everywhere, everywhere, everywhere)  # type: ignore[arg-type]


def placed(values: Params, model: Model, mesh: Mesh) -> Params:
    """Parameters of a model, some or all, by their axes on the mesh: arrays, or shapes."""
    named = flatten(axes(model))
    own = unflatten({path: named[path] for path in flatten(values)})
    where = shard.shardings(own, values, mesh)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(values)):
        put = lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at)
        return jax.tree.map(put, values, where)
    return jax.device_put(values, where)


def as_optimizer(
    optimizer: Optimizer | optax.GradientTransformation, schedule: Any = None
) -> Optimizer:
    """An optimizer of ours, which takes extra arguments, of one of ours or of optax."""
    if not isinstance(optimizer, Optimizer):
        optimizer = Optimizer(optimizer, None)
    if not hasattr(optimizer.transformation, "update"):
        raise TypeError(
            f"optimizer is {optimizer.transformation!r}; expected one of optax, such as "
            "optax.adamw(1e-4)"
        )
    transformation = optax.with_extra_args_support(optimizer.transformation)
    schedule = schedule or optimizer.schedule
    return optimizer._replace(transformation=transformation, schedule=schedule)
