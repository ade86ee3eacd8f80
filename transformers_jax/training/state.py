"""TrainState and make_step: one step of training as one compiled program.

A step differentiates the objective (over micro-batches, if asked), clips the gradient by its
global norm, lets the optimizer update, and returns the new state in the memory of the old one. If
loss or gradient are not finite, parameters and optimizer are returned bit for bit as they were.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from transformers_jax import shard
from transformers_jax.arrays import Array, Float, Int, Key, Params, check_key
from transformers_jax.models.base import Model, check_model, functional
from transformers_jax.nn.param import axes as axes_of
from transformers_jax.nn.param import flatten
from transformers_jax.objectives import Objective
from transformers_jax.optim import Optimizer, state_axes, without_frozen

Batch = Mapping[str, Array]
Step = Callable[["TrainState", Batch], tuple["TrainState", dict[str, Float[Array, ""]]]]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("step", "params", "opt", "key", "skipped"),
    meta_fields=(),
)
@dataclass(frozen=True)
class TrainState:
    """All that training remembers: a plain pytree.

    Attributes:
        step: how many batches have been learned from, or left out.
        params: nested dicts, as `functional(model)` returns them.
        opt: the optimizer's state.
        key: the noise of step n is drawn from `fold_in(key, n)`.
        skipped: how many of the steps were left out because they were not finite.
    """

    step: Int[Array, ""]
    params: Params
    opt: Any
    key: Key
    skipped: Int[Array, ""] = field(default_factory=lambda: jnp.zeros((), jnp.int32))

    def __repr__(self) -> str:
        count = sum(getattr(leaf, "size", 1) for leaf in jax.tree.leaves(self.params))
        return f"TrainState(step={self.step}, {count:,} parameters, skipped={self.skipped})"


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
    (of all that is trained, before clipping), `finite`, `first_nonfinite` (the place, in the order
    of `jax.tree.leaves(params)`, of the first gradient that is not finite, or -1), `skipped` (so
    far), and `learning_rate` if a schedule is known.

    Args:
        model: a Model, or `apply(params, **inputs)`; a mesh then needs `axes` and `params` too
            (arrays or shapes).
        optimizer: what a record of `transformers_jax.optim` builds, or any optax transformation.
        accumulate: micro-batches per step; the batch has that many times as many rows.
        compute_dtype: of the activations, e.g. "bfloat16"; parameters and optimizer keep theirs.
        schedule: the learning rate of an update, for the metrics; by default the optimizer's.
        on_nonfinite: "abort" returns the state as it was; "skip" counts the step, also in
            `skipped`, and changes neither parameters nor optimizer.
        nan_at: for drills: the loss of the step that makes `state.step` this number is NaN.

    Raises:
        ValueError: parameters that the mesh does not divide; an unknown `on_nonfinite`.
    """
    if on_nonfinite not in ("abort", "skip"):
        raise ValueError(f"on_nonfinite={on_nonfinite!r}: expected 'abort' or 'skip'")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(f"accumulate={accumulate!r}: expected a whole number, at least 1")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip={clip!r}: expected a norm above 0, or None for no clipping")
    if not callable(objective):
        raise TypeError(f"objective is {objective!r}; expected one such as tj.supervised")
    update, frozen, schedule = _parts(optimizer, schedule)
    if isinstance(model, Model):
        axes, params = axes_of(model), functional(model)[1]
        model = model if compute_dtype is None else model.abstract(compute=compute_dtype)
        apply: Callable[..., Any] = functional(model)[0]
    elif not callable(model):
        check_model(model, "make_step")
    else:
        apply = model
        if compute_dtype is not None:
            raise ValueError("compute_dtype needs the Model itself; a function has its own")
    places = None
    if mesh is not None:
        if axes is None or params is None:
            raise ValueError("make_step(apply, ..., mesh=) needs axes= and params=")
        places = state_shardings(axes, params, update, mesh)

    def step(state: TrainState, batch: Batch):
        for given, kind, expected in (
            (state, TrainState, "what tj.init_state gives"),
            (batch, Mapping, "a dict of arrays by the names of the model's arguments"),
        ):
            if not isinstance(given, kind):
                raise TypeError(f"step(state, batch): expected {expected}; {type(given)} came")
        with shard.use(mesh):
            noise = jax.random.fold_in(state.key, state.step)
            asked = objective if nan_at is None else _spoiled(objective, state.step + 1 == nan_at)
            grads, sums = _gradients(apply, asked, state.params, batch, noise, accumulate)
            if frozen is not None:
                grads = without_frozen(grads, frozen)
            if places is not None:
                grads = jax.lax.with_sharding_constraint(grads, places.params)
            metrics = {name: total / jnp.maximum(n, 1e-9) for name, (total, n) in sums.items()}
            norm, first = _measured(grads)
            finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
            if clip is not None:
                scale = jnp.minimum(1.0, clip / jnp.maximum(norm, 1e-12))
                grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
            new = _updated(state, grads, update, finite, on_nonfinite == "skip")
            metrics |= {"gradient_norm": norm, "finite": finite, "first_nonfinite": first}
            metrics |= {"skipped": new.skipped}
            if schedule is not None:
                metrics["learning_rate"] = schedule(state.step - state.skipped)
            return new, metrics

    # pinned: left alone, XLA gave gradients and Adam's moments back without the fsdp cut
    outs = None if mesh is None else (places, shard.replicated(mesh))
    return jax.jit(step, donate_argnums=0, out_shardings=outs)


def init_state(
    model: Model,
    optimizer: Optimizer | optax.GradientTransformation,
    key: Key,
    *,
    mesh: Mesh | None = None,
) -> TrainState:
    """The state before the first step, around the parameters that the model has.

    The optimizer's arrays are born in the sharding of their parameters. The first step takes over
    the memory of the state, so the model's own arrays are copied.
    """
    check_key(key)
    update = _parts(optimizer)[0]
    params = functional(model)[1]
    places = None
    if mesh is not None:
        places = state_shardings(axes_of(model), params, update, mesh)
        params = jax.device_put(params, places.params)
        key = jax.device_put(key, shard.replicated(mesh))
    return jax.jit(lambda p, k: _fresh(update, p, k), out_shardings=places)(params, key)


def state_shardings(
    axes: Any,
    params: Params,
    optimizer: Optimizer | optax.GradientTransformation,
    mesh: Mesh,
) -> TrainState:
    """Where each array of the state lives: what belongs to a parameter beside it, the rest
    everywhere. Means over rows or columns are cut along the axes that they still have.

    Raises:
        ValueError: every parameter that the mesh does not divide.
    """
    everywhere, names = shard.replicated(mesh), flatten(axes)
    placed = shard.shardings(axes, params, mesh)
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}

    def place(path, leaf):
        found = state_axes(path, leaf.shape, names, shapes)
        return everywhere if found is None else shard.shardings(found, leaf, mesh)

    opt = jax.tree_util.tree_map_with_path(place, jax.eval_shape(_parts(optimizer)[0].init, params))
    return TrainState(everywhere, placed, opt, everywhere, everywhere)  # type: ignore[arg-type]


def _parts(
    optimizer: Optimizer | optax.GradientTransformation, schedule: Any = None
) -> tuple[optax.GradientTransformation, Any, Any]:
    """(transformation, what is frozen, schedule) of an optimizer of ours or of optax."""
    if not isinstance(optimizer, Optimizer):
        if not hasattr(optimizer, "update"):
            raise TypeError(
                f"optimizer is {optimizer!r}; expected one of optax, such as optax.adamw(1e-4)"
            )
        return optimizer, None, schedule
    return optimizer.transformation, optimizer.frozen, schedule or optimizer.schedule


def _fresh(optimizer: optax.GradientTransformation, params: Params, key: Key) -> TrainState:
    """Copies, because jit hands untouched inputs through and the first step overwrites them."""
    copies = jax.tree.map(jnp.copy, params)
    key = jax.random.wrap_key_data(
        jnp.copy(jax.random.key_data(key)), impl=jax.random.key_impl(key)
    )
    return TrainState(jnp.zeros((), jnp.int32), copies, optimizer.init(params), key)


def _updated(
    state: TrainState,
    grads: Params,
    optimizer: optax.GradientTransformation,
    finite: Array,
    skips: bool,
) -> TrainState:
    """The state after the update; parameters and optimizer as they were if it is not finite."""

    def update() -> tuple[Params, Any]:
        updates, opt = optimizer.update(grads, state.opt, state.params)
        return optax.apply_updates(state.params, updates), opt

    on_cpu = jax.default_backend() == "cpu"
    params, opt = _unless_bad(finite, update, (state.params, state.opt), branch=on_cpu)
    left_out = jnp.where(finite, 0, 1)
    step = state.step + (1 if skips else 1 - left_out)
    skipped = state.skipped + (left_out if skips else 0)
    return TrainState(step, params, opt, state.key, skipped)


def _unless_bad(finite: Array, make: Callable[[], Any], old: Any, *, branch: bool) -> Any:
    """make() if `finite`, else `old`.

    A branch costs nothing on a CPU, where selecting every number takes 2 % of a small step. On an
    accelerator the selection is part of the update's own loop, and a branch would have to wait on
    the host until it is known which one.
    """
    if branch:
        return jax.lax.cond(finite, make, lambda: old)
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), make(), old)


def _measured(grads: Params) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """(global norm, place of the first leaf whose sum of squares is not finite, or -1)."""
    squares = jnp.stack([jnp.square(g.astype(jnp.float32)).sum() for g in jax.tree.leaves(grads)])
    bad = ~jnp.isfinite(squares)
    return jnp.sqrt(squares.sum()), jnp.where(bad.any(), jnp.argmax(bad), -1)


def _spoiled(objective: Objective, now: Array) -> Objective:
    """The objective, its loss NaN if `now`."""

    def spoiled(model, batch, key):
        loss, sums = objective(model, batch, key)
        factor = jnp.where(now, jnp.nan, 1.0)
        total, weight = sums["loss"]
        return loss * factor, {**sums, "loss": (total * factor, weight)}

    return spoiled


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

    batches = jax.tree.map(functools.partial(_micro_batches, count=accumulate), dict(batch))
    numbered = (jnp.arange(accumulate), batches)
    shares = _shares(objective, loss_of, params, numbered, noise)

    def weighted(params, part, key):
        """What this micro-batch adds to the loss of the whole batch (times its weight)."""
        loss, sums = loss_of(params, part, key)
        if shares is None:
            return loss * jax.lax.stop_gradient(sums["loss"][1]), sums
        return sum(sums[name][0] / total for name, total in shares.items()), sums

    def add(carry, numbered):
        number, part = numbered
        key = jax.random.fold_in(noise, number)
        (_, sums), grads = jax.value_and_grad(weighted, has_aux=True)(params, part, key)
        return jax.tree.map(jnp.add, carry, (grads, sums)), None

    first = jax.tree.map(lambda x: x[0], batches)
    shapes = jax.eval_shape(lambda: (params, loss_of(params, first, noise)[1]))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (grads, sums), _ = jax.lax.scan(add, zeros, numbered)
    if shares is None:
        weight = jnp.maximum(sums["loss"][1], 1e-9)
        return jax.tree.map(lambda g: g / weight.astype(g.dtype), grads), sums
    loss = sum(sums[name][0] / total for name, total in shares.items())
    return grads, {**sums, "loss": (loss, jnp.ones(()))}


def _shares(objective, loss_of, params, numbered, noise) -> dict[str, Array] | None:
    """{part of the loss: its weight in the whole batch}, where a loss is a sum of several means.

    Weights come from the labels alone, so that XLA computes nothing of the model for them.
    """
    if (names := getattr(objective, "parts", ("loss",))) == ("loss",):
        return None

    def weights(numbered):
        number, part = numbered
        sums = loss_of(params, part, jax.random.fold_in(noise, number))[1]
        return {name: sums[name][1] for name in names}

    every = jax.lax.map(weights, numbered)
    return {name: jnp.maximum(every[name].sum(), 1e-9) for name in names}


def _micro_batches(x: Array, count: int) -> Array:
    """[A B ...] of [B A ...]: every micro-batch takes rows from every device."""
    if x.shape[0] % count:
        raise ValueError(f"a batch of {x.shape[0]} rows cannot be cut into {count} micro-batches")
    parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    return shard.constrain(parts, " ".join(["micro", "batch", *["rest"] * (x.ndim - 1)]))
