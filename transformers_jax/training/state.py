"""TrainState and make_step: one step of training as one compiled program.

A step differentiates the objective (over micro-batches, if asked), clips the gradient by its
global norm, lets the optimizer update, and returns the new state in the memory of the old one. If
the loss, the gradient or what would be written is not finite, parameters and optimizer are
returned bit for bit as they were.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from transformers_jax import shard
from transformers_jax.arrays import Array, Float, Int, Key, Params, check_key, is_traced, ordinary
from transformers_jax.inputs.arguments import traceable
from transformers_jax.models.base import Model, check_model, functional
from transformers_jax.nn.param import axes as axes_of
from transformers_jax.nn.param import flatten, merge, split
from transformers_jax.objectives import Objective, means
from transformers_jax.optim import Optimizer, state_axes, without_frozen
from transformers_jax.training import guard
from transformers_jax.training.gradients import gradients, loss_value

Batch = Mapping[str, ArrayLike]
Step = Callable[["TrainState", Batch], tuple["TrainState", dict[str, Float[Array, ""]]]]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("step", "params", "opt", "key", "skipped"),
    meta_fields=(),
)
@dataclass(frozen=True)
class TrainState:
    """The state of training, a plain pytree.

    Attributes:
        step: number of batches that were trained on or skipped.
        params: nested dicts, as `functional(model)` returns them.
        opt: the optimizer's state.
        key: the noise of step n is drawn from `fold_in(key, n)`.
        skipped: number of steps that were skipped because they were not finite.
    """

    step: Int[Array, ""]
    params: Params
    opt: Any
    key: Key
    skipped: Int[Array, ""] = field(default_factory=lambda: jnp.zeros((), jnp.int32))

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


def make_step(
    model: Model | Callable[..., Any],
    objective: Objective,
    optimizer: Optimizer | optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    accumulate: int = 1,
    clip: float | None = 1.0,
    compute_dtype: str | None = None,
    axes: Any = None,
    params: Params | None = None,
    schedule: Callable[[Array], Array] | None = None,
    on_nonfinite: Literal["abort", "skip"] = "abort",
    nan_at: int | None = None,
) -> Step:
    """A jitted `step(state, batch) -> (state, metrics)`; the given state's memory is reused.

    Metrics are means over the batch: `loss` and whatever the objective reports, `gradient_norm`
    (of all that is trained, before clipping), `finite` (whether the update was made: loss,
    gradient, new parameters and optimizer state are all finite), `first_nonfinite` (the index, in
    the order of `jax.tree.leaves(params)`, of the first gradient that is not finite, or of the
    first parameter where only the update is not; -1 for none, or the optimizer's state alone),
    `skipped` (so far), and `learning_rate` if a schedule is known.

    A batch of NumPy arrays is checked as a call of the model checks its arguments, before it is
    sent off; arrays that are on a device are not read, and a label outside the classes then gives
    a step that is not finite.

    Args:
        model: a Model, or `apply(params, **inputs)`; a mesh then needs `axes` and `params` too
            (arrays or shapes).
        objective: one of `transformers_jax.objectives`, or a function of yours (model, batch, key)
            -> (mean loss, {name: (sum, weight)}), of which the entry "loss" is needed: its
            sum / weight (of its parts, added up) is the mean loss.
        optimizer: what a record of `transformers_jax.optim` builds, or any optax transformation;
            those that ask for more are given `value`, `grad` (before clipping), `value_fn`,
            `obj_fn` and `grad_fn`, of the whole batch.
        accumulate: micro-batches per step, of the rows of one batch; loss and gradient are those
            of the whole batch. Its arrays have as many rows each; `tags`, `pairs` and
            `position_ids` may have one for all, and what has no axes is in every micro-batch.
        compute_dtype: of the activations, e.g. "bfloat16"; parameters and optimizer keep theirs.
        schedule: the learning rate of an update, for the metrics; by default the optimizer's.
        on_nonfinite: of an update that would not be finite, "abort" returns the state as it was,
            `step` included, and only the metrics tell (`finite`); "skip" counts the step, also in
            `skipped`, and changes neither parameters nor optimizer.
        nan_at: for drills: the loss of the step that makes `state.step` this number is NaN.

    Raises:
        ValueError: parameters that the mesh does not divide; an unknown `on_nonfinite`; from a
            step, a batch that the model cannot take or that micro-batches do not divide.
        TypeError: from a step, an objective that returns something else.
    """
    if on_nonfinite not in ("abort", "skip"):
        raise ValueError(f"on_nonfinite={on_nonfinite!r}: expected 'abort' or 'skip'")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(f"accumulate={accumulate!r}: expected a whole number, at least 1")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip={clip!r}: expected a norm above 0, or None for no clipping")
    if not callable(objective):
        raise TypeError(f"objective is {objective!r}; expected one such as tj.supervised")
    update = _optax(optimizer)
    frozen = optimizer.frozen if isinstance(optimizer, Optimizer) else None
    schedule = schedule or (optimizer.schedule if isinstance(optimizer, Optimizer) else None)
    skips, check = on_nonfinite == "skip", None
    inputs_of = getattr(objective, "inputs", None)
    model_of: Callable[[Params], Callable[..., Any]]
    if isinstance(model, Model):
        axes, params = axes_of(model), functional(model)[1]
        if inputs_of is not None:  # without arrays, which would stay alive
            check = functools.partial(_check_batch, model.abstract(), inputs_of)
        model = model if compute_dtype is None else model.abstract(compute=compute_dtype)
        model_of = functools.partial(merge, split(model)[0])
    elif not callable(model):
        check_model(model, "make_step")
    else:
        model_of = lambda params: functools.partial(model, params)
        if compute_dtype is not None:
            raise ValueError("compute_dtype needs the Model itself; a function has its own")
    shardings = None
    if mesh is not None:
        if axes is None or params is None:
            raise ValueError("make_step(apply, ..., mesh=) needs axes= and params=")
        shardings = state_shardings(axes, params, update, mesh)

    def step(state: TrainState, batch: Batch):
        expected = "step(state, batch): expected "
        if not isinstance(state, TrainState):
            raise TypeError(f"{expected}what tj.init_state gives; {type(state)} came")
        if not isinstance(batch, Mapping):
            names = "a dict of arrays by the names of the model's arguments"
            raise TypeError(f"{expected}{names}; {type(batch)} came")
        with shard.use(mesh), ordinary():
            if check is not None:  # the model may be called with micro-batches only
                check(batch)
            noise = jax.random.fold_in(state.key, state.step)
            of_loss: Any = dict(model_of=model_of, objective=objective, batch=batch, noise=noise)
            of_loss["accumulate"] = accumulate
            grads, sums = gradients(state.params, **of_loss)
            if nan_at is not None:
                factor = jnp.where(state.step + 1 == nan_at, jnp.nan, 1.0)
                grads = jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)
                sums = {**sums, "loss": jax.tree.map(lambda x: x * factor, sums["loss"])}
            if frozen is not None:
                grads = without_frozen(grads, frozen)
            if shardings is not None:
                grads = jax.lax.with_sharding_constraint(grads, shardings.params)
            metrics = means(sums)
            norm, first = guard.measured(grads)
            finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
            more = _extras(update, metrics["loss"], grads, of_loss)
            if clip is not None:
                scale = jnp.minimum(1.0, clip / jnp.maximum(norm, 1e-12))
                grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)

            def updated(old: guard.Written) -> guard.Written:
                updates, opt = update.update(grads, old[1], old[0], **more)
                return optax.apply_updates(old[0], updates), opt

            old, on_cpu = (state.params, state.opt), jax.default_backend() == "cpu"
            (new, opt), good, spoiled = guard.guarded(finite, updated, old, branch=on_cpu)
            left_out = 1 - good.astype(jnp.int32)
            skipped = state.skipped + (left_out if skips else 0)
            number = state.step + (1 if skips else 1 - left_out)
            first = jnp.where(finite, spoiled, first)
            metrics |= {"gradient_norm": norm, "finite": good, "first_nonfinite": first}
            metrics["skipped"] = skipped
            if schedule is not None:
                metrics["learning_rate"] = schedule(state.step - state.skipped)
            return TrainState(number, new, opt, state.key, skipped), metrics

    # pinned: left alone, XLA gave gradients and Adam's moments back without the fsdp cut
    outs = None if mesh is None else (shardings, shard.replicated(mesh))
    program = jax.jit(step, donate_argnums=0, out_shardings=outs)
    return program if check is None else _Checked(program, check)


def _check_batch(model: Model, inputs_of: Callable[..., list[Mapping[str, Any]]], batch: Batch):
    """Raises ValueError for a batch that the model cannot take: of tracers, by their shapes."""
    for inputs in inputs_of(model, batch):
        model.check({n: traceable(n, value) for n, value in inputs.items() if value is not None})


@dataclass(frozen=True)
class _Checked:
    """A step that checks the values of a batch of NumPy arrays before it is sent off. Arrays on a
    device are not read, which would wait for all of the device's work: their shapes are checked
    once, when the program is traced."""

    program: Any
    check: Callable[[Batch], None]

    def __call__(self, state: TrainState, batch: Batch) -> Any:
        leaves = jax.tree.leaves(batch) if isinstance(batch, Mapping) else [None]
        if all(isinstance(leaf, np.ndarray) for leaf in leaves):
            self.check(batch)
        return self.program(state, batch)

    def __getattr__(self, name: str) -> Any:
        """The attributes of the compiled function: `lower`, `trace`, ..."""
        return getattr(self.program, name)


def init_state(
    model: Model,
    optimizer: Optimizer | optax.GradientTransformation,
    key: Key,
    *,
    mesh: Mesh | None = None,
) -> TrainState:
    """The state before the first step, with the parameters of the model.

    The optimizer's arrays are created in the sharding of their parameters. The first step takes
    over the memory of the state, so the model's own arrays are copied.
    """
    check_key(key)
    update, params, shardings = _optax(optimizer), functional(model)[1], None
    if mesh is not None:
        shardings = state_shardings(axes_of(model), params, update, mesh)
        params = jax.device_put(params, shardings.params)
        key = jax.device_put(key, shard.replicated(mesh))

    def fresh(params: Params, key: Key) -> TrainState:
        """Of copies: jit hands untouched inputs through, and the first step overwrites them."""
        copies, numbers = jax.tree.map(jnp.copy, (params, jax.random.key_data(key)))
        noise = jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(key))
        return TrainState(jnp.zeros((), jnp.int32), copies, update.init(params), noise)

    return jax.jit(fresh, out_shardings=shardings)(params, key)


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

    opt = jax.eval_shape(_optax(optimizer).init, params)
    opt = jax.tree_util.tree_map_with_path(sharding, opt)
    of_params: Any = shard.shardings(axes, params, mesh)
    return TrainState(everywhere, of_params, opt, everywhere, everywhere)  # type: ignore[arg-type]


def _optax(
    optimizer: Optimizer | optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """The transformation of an optimizer of ours or of optax."""
    if isinstance(optimizer, Optimizer):
        optimizer = optimizer.transformation
    if not hasattr(optimizer, "update"):
        raise TypeError(
            f"optimizer is {optimizer!r}; expected one of optax, such as optax.adamw(1e-4)"
        )
    return optax.with_extra_args_support(optimizer)


def _extras(update: Any, value: Array, grads: Params, of_loss: dict[str, Any]) -> dict[str, Any]:
    """The extra arguments of transformations of optax, as far as this one takes them. A line search
    passes all others on to its function."""
    value_fn = lambda params, *, obj_fn=None, grad_fn=None: loss_value(params, **of_loss)
    grad_fn = lambda params, number=0: gradients(params, **of_loss)[0]
    every = dict(value=value, grad=grads, value_fn=value_fn, obj_fn=value_fn, grad_fn=grad_fn)
    parameters = inspect.signature(update.update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return every
    return {name: x for name, x in every.items() if name in parameters}
