"""make_step: one step of training as one compiled program.

A step differentiates the objective (over micro-batches, if there are several), clips the gradient
by its global norm, lets the optimizer update, and returns the new state in the memory of the old
one. If the loss, the gradient or what would be written is not finite, or the step is a spike that
is to be left out, parameters and optimizer are returned bit for bit as they were.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from transformers_jax import shard
from transformers_jax.arrays import Array, Float, Params, ordinary
from transformers_jax.inputs.arguments import traceable
from transformers_jax.models.base import Model
from transformers_jax.nn.param import (
    partition,
    trained_axes,
)
from transformers_jax.objectives import Objective, means
from transformers_jax.optim import Optimizer, without_frozen
from transformers_jax.training import guard
from transformers_jax.training.called import model_called, second_model
from transformers_jax.training.gradients import BatchLoss
from transformers_jax.training.limits import Limits, limited, limits_of
from transformers_jax.training.spikes import DEVIATIONS, OnSpike, Spikes, empty
from transformers_jax.training.state import TrainState, as_optimizer, placed, state_shardings
from transformers_jax.training.statistics import (
    Kind,
    Running,
    Statistics,
    followed,
)

Batch = Mapping[str, ArrayLike]
Metrics = dict[str, Float[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


@dataclass(frozen=True, eq=False, repr=False)
class TrainStep:
    """`step(state, batch) -> (state, metrics)`, compiled; the memory of the passed state is reused.

    Metrics are means over the batch: `loss` and whatever the objective reports, `gradient_norm`
    (of all that is trained, before clipping), `finite` (whether the update was made: loss,
    gradient, new parameters and optimizer state are all finite), `first_nonfinite` (the index, in
    the order of `jax.tree.leaves(params)`, of the first gradient that is not finite, or of the
    first parameter where only the update is not; -1 for none, or only the optimizer's state),
    `skipped` (so far), and `learning_rate` if a schedule is known. Where spikes are looked for,
    `spike` (the update was left out as one), `spikes` (skipped so far), `loss_deviation` and
    `gradient_norm_deviation` (standard deviations above the mean of the updates before).

    A batch of NumPy arrays is checked as a call of the model checks its arguments, before it is
    sent off. Arrays on a device are not read, which would wait for all of the device's work: their
    shapes are checked once, when the step is traced, and a label outside the classes then gives a
    step that is not finite.

    Attributes:
        model_of: (what is trained, what is frozen) -> the model that the objective calls.
        check: raises ValueError for a batch that the model cannot take.
        skips: whether a step that is not finite is counted.
        spikes: what is done about them.
        frozen: the parameters that an adapter freezes, and those of the second model that the
            objective reads (`reference`), which are an argument of the compiled function: neither
            copied nor differentiated nor donated, and in no state.
        reference_of: (the second of these) -> the models that the objective is called with, behind
            the key: one, or none.
        statistics: the batch norms that normalise with those of the batch.
        limits: the parameters that no update takes beyond a value.
    """

    model_of: Callable[[Params, Params], Callable[..., Any]]
    objective: Objective
    optimizer: Optimizer
    check: Callable[[Batch], None]
    mesh: Mesh | None
    shardings: TrainState | None
    accumulate: int
    clip: float | None
    skips: bool
    spikes: Spikes
    nan_at: int | None
    spike_at: int | None
    frozen: tuple[Params, Params]
    reference_of: Callable[[Params], tuple[Any, ...]]
    statistics: Statistics
    limits: Limits

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        _check_types(state, batch)
        if all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch)):
            self.check(batch)
        return self.program(self.adapted(state), batch, self.frozen)

    def lower(self, state: TrainState, batch: Batch, **options: Any) -> Any:
        """`lower` of the compiled function."""
        return self.program.lower(state, batch, self.frozen, **options)

    def trace(self, state: TrainState, batch: Batch, **options: Any) -> Any:
        """`trace` of the compiled function."""
        return self.program.trace(state, batch, self.frozen, **options)

    def adapted(self, state: TrainState) -> TrainState:
        """The state with a window if the step looks for spikes, and without one if it does not."""
        if (state.window is None) == (self.spikes.then == "off"):
            return state
        window = empty() if state.window is None else None
        if self.mesh is not None:
            window = jax.device_put(window, shard.replicated(self.mesh))
        return dataclasses.replace(state, window=window)

    def __getattr__(self, name: str) -> Any:
        """The further attributes of the compiled function."""
        return getattr(self.program, name)

    @functools.cached_property
    def program(self) -> Any:
        """The compiled function. Its results' shardings are pinned: otherwise XLA gave gradients
        and Adam's moments back without the fsdp cut."""
        outs = None if self.mesh is None else (self.shardings, shard.replicated(self.mesh))
        return jax.jit(self._traced, donate_argnums=0, out_shardings=outs)

    def _traced(
        self, state: TrainState, batch: Batch, frozen: tuple[Params, Params]
    ) -> tuple[TrainState, Metrics]:
        _check_types(state, batch)  # `lower` and `trace` come here directly
        with shard.use(self.mesh), ordinary():
            self.check(batch)  # the model may be called with micro-batches only
            noise = jax.random.fold_in(state.key, state.step)
            model_of, second = lambda params: self.model_of(params, frozen[0]), frozen[1]
            beside = self.reference_of(second)
            loss = BatchLoss(
                model_of, self.objective, batch, noise, self.accumulate, beside, self.statistics
            )
            grads, metrics, running = self._gradients(loss, state)
            norm, bad_gradient = guard.measured(grads)
            finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
            figures = jnp.stack([metrics["loss"], norm]).astype(jnp.float32)
            spike, above = self._spike(state, figures, finite)
            update = self._update(loss, metrics["loss"], grads, norm, running)
            old, on_cpu = (state.params, state.opt), jax.default_backend() == "cpu"
            (params, opt), good, bad_update = guard.guarded(
                finite & ~spike, update, old, branch=on_cpu
            )
            counted = ~good & jnp.where(spike, self.spikes.then == "skip", self.skips)
            skipped = state.skipped + counted.astype(jnp.int32)
            number = state.step + (good | counted).astype(jnp.int32)
            metrics |= {
                "gradient_norm": norm,
                "finite": good | spike,
                "first_nonfinite": jnp.where(finite, bad_update, bad_gradient),
                "skipped": skipped,
            }
            if self.optimizer.schedule is not None:
                metrics["learning_rate"] = self.optimizer.schedule(state.step - state.skipped)
            window = None
            if state.window is not None:
                window = self.spikes.after(state.window, figures, good, spike)
                metrics |= {"spike": spike, "spikes": window.spikes}
                metrics |= {"loss_deviation": above[0], "gradient_norm_deviation": above[1]}
            return TrainState(number, params, opt, state.key, skipped, window), metrics

    def _spike(self, state: TrainState, figures: Array, finite: Array) -> tuple[Array, Array]:
        """(whether the step is a spike, its deviations); of a state without a window it is none."""
        if state.window is None:
            return jnp.zeros((), bool), jnp.zeros(2)
        spike, above = self.spikes.above(state.window, figures)
        return spike & finite, above

    def _gradients(self, loss: BatchLoss, state: TrainState) -> tuple[Params, Metrics, Running]:
        """(the gradient of all that is trained, the means that the objective reports, the running
        statistics of batch norms)."""
        grads, sums, running = loss.gradients(state.params)
        for number, fault in ((self.nan_at, jnp.nan), (self.spike_at, 100.0)):
            if number is not None:
                factor = jnp.where(state.step + 1 == number, fault, 1.0)
                grads, sums = _times(factor, grads), {**sums, "loss": _times(factor, sums["loss"])}
        if self.optimizer.frozen is not None:
            grads = without_frozen(grads, self.optimizer.frozen)
        if self.shardings is not None:
            grads = jax.lax.with_sharding_constraint(grads, self.shardings.params)
        return grads, means(sums), running

    def _update(
        self, loss: BatchLoss, value: Array, grads: Params, norm: Array, running: Running
    ) -> Callable[[guard.Written], guard.Written]:
        """From parameters and optimizer's state to the next, by the gradient after clipping, and
        with the statistics that the batch leaves."""
        optimizer: Any = self.optimizer.transformation
        extras = _extras(optimizer, loss, value, grads)
        if self.clip is not None:
            scale = jnp.minimum(1.0, self.clip / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)

        def update(old: guard.Written) -> guard.Written:
            params, state = old
            updates, state = optimizer.update(grads, state, params, **extras)
            params = limited(optax.apply_updates(params, updates), self.limits)
            return self.statistics.updated(params, running), state

        return update


def _times(factor: Array, tree: Any) -> Any:
    return jax.tree.map(lambda x: x * factor.astype(x.dtype), tree)


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
    reference: Model | None = None,
    schedule: Callable[[Array], Array] | None = None,
    on_nonfinite: Literal["abort", "skip"] = "abort",
    on_spike: OnSpike = "off",
    spike_deviations: float = DEVIATIONS,
    statistics: Kind = "batch",
    nan_at: int | None = None,
    spike_at: int | None = None,
) -> TrainStep:
    """The compiled `step(state, batch) -> (state, metrics)` that is described by `TrainStep`.

    Args:
        model: a Model, or `apply(params, **inputs)`; a mesh then needs `axes` and `params` too
            (arrays or shapes).
        objective: one of `transformers_jax.objectives`, or a function of yours (model, batch, key)
            -> (mean loss, {name: (sum, weight)}), of which the entry "loss" is needed: its
            sum / weight (of its parts, added up) is the mean loss.
        optimizer: what a record of `transformers_jax.optim` builds, or any optax transformation;
            those that take more arguments get `value`, `grad` (before clipping),
            `value_fn`, `obj_fn` and `grad_fn`, of the whole batch.
        accumulate: micro-batches per step, of the rows of one batch; loss and gradient are those
            of the whole batch. Its arrays have as many rows each; `tags`, `pairs` and
            `position_ids` may have one for all, and what has no axes is in every micro-batch.
        compute_dtype: of the activations, e.g. "bfloat16"; parameters and optimizer keep theirs.
        reference: a second model that stays as it is, which the objective is called with, behind
            the key: the reference of DPO, the teacher of distillation. It is computed in the
            `compute_dtype`, and placed on the mesh by its own axes.
        schedule: the learning rate of an update, for the metrics; by default the optimizer's.
        on_nonfinite: of an update that would not be finite, "abort" returns the state as it was,
            `step` included, and only the metric `finite` shows it; "skip" counts the step, also in
            `skipped`, and changes neither parameters nor optimizer.
        on_spike: of an update whose loss or gradient norm is more than `spike_deviations` standard
            deviations above the mean of the 128 updates before it, "abort" and "skip" do what they
            do for one that is not finite; only the metric `spike` shows it. "off" looks for none.
        statistics: what batch norms normalise with: those of the "batch", which the stored ones
            follow, one micro-batch after the other, as in PyTorch; or those that are "stored", and
            stay. A norm whose scale and shift are frozen keeps its own.
        nan_at: for drills: the loss of the step that makes `state.step` this number is NaN.
        spike_at: likewise, a hundred times what it is.

    Raises:
        ValueError: parameters that the mesh does not divide; settings out of range; from a step, a
            batch that the model cannot take or that micro-batches do not divide.
        TypeError: from a step, an objective that returns something else.
    """
    _check_settings(objective, accumulate, clip, on_nonfinite)
    check: Any = lambda batch: None
    frozen: Params = {}
    if isinstance(model, Model):
        axes, (params, frozen) = trained_axes(model), partition(model)
        if inputs_of := getattr(
            objective, "inputs", None
        ):  # without arrays, which would stay alive
            check = functools.partial(_check_batch, model.abstract(), inputs_of)
    optimizer = as_optimizer(optimizer, schedule)
    norms = followed(model, statistics, params or {}, optimizer.frozen)
    limits = limits_of(model, params or {}, optimizer.frozen)
    model_of = model_called(model, compute_dtype, norms)
    shardings = None
    if mesh is not None:
        if axes is None or params is None:
            raise ValueError("make_step(apply, ..., mesh=) needs axes= and params=")
        shardings = state_shardings(axes, params, optimizer, mesh)
        if frozen:
            frozen = placed(frozen, cast(Model, model), mesh)
    skips = on_nonfinite == "skip"
    second, reference_of = second_model(reference, compute_dtype, mesh)
    return TrainStep(
        model_of, objective, optimizer, check, mesh, shardings, accumulate, clip, skips,
        Spikes(on_spike, spike_deviations), nan_at, spike_at, (frozen, second), reference_of, norms,
        limits,
    )  # fmt: skip


def _check_types(state: Any, batch: Any) -> None:
    names = "a dict of arrays by the names of the model's arguments"
    expected = ((state, TrainState, "what tj.init_state gives"), (batch, Mapping, names))
    for value, kind, description in expected:
        if not isinstance(value, kind):
            raise TypeError(f"step(state, batch): expected {description}; {type(value)} came")


def _check_settings(objective: Any, accumulate: Any, clip: Any, on_nonfinite: Any) -> None:
    if on_nonfinite not in ("abort", "skip"):
        raise ValueError(f"on_nonfinite={on_nonfinite!r}: expected 'abort' or 'skip'")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(f"accumulate={accumulate!r}: expected a whole number, at least 1")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip={clip!r}: expected a norm above 0, or None for no clipping")
    if not callable(objective):
        raise TypeError(f"objective is {objective!r}; expected one such as tj.supervised")


def _check_batch(model: Model, inputs_of: Callable[..., list[Mapping[str, Any]]], batch: Batch):
    """Raises ValueError for a batch that the model cannot take: of tracers, by their shapes."""
    for inputs in inputs_of(model, batch):
        model.check({n: traceable(n, value) for n, value in inputs.items() if value is not None})


def _extras(optimizer: Any, loss: BatchLoss, value: Array, grads: Params) -> dict[str, Any]:
    """The extra arguments of transformations of optax, as far as this one takes them. A line search
    passes all others on to its function."""
    value_fn = lambda params, *, obj_fn=None, grad_fn=None: loss.value(params)
    grad_fn = lambda params, number=0: loss.gradients(params)[0]
    every = dict(value=value, grad=grads, value_fn=value_fn, obj_fn=value_fn, grad_fn=grad_fn)
    parameters = inspect.signature(optimizer.update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return every
    return {name: x for name, x in every.items() if name in parameters}
