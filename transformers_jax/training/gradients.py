"""The gradient of an objective over a batch, whole or in micro-batches: the same in both.

    loss of the batch = sum over its terms of (sum over micro-batches of sums) / (... of counts)

The loss that an objective returns is the sum of these terms, as its contract says; with several of
them, micro-batches are differentiated by the terms. Counts are of the batch (labels, masks), so
that they are computed first, without the model; then each micro-batch adds its share. What compares
rows with one another is no such sum: an objective that has `vectors` and `of` (objectives/pairs.py)
is computed over the vectors of the whole batch, and its gradient goes back through one micro-batch
after the other (GradCache: Gao et al. 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import shard
from transformers_jax.arrays import Array, Key, Params
from transformers_jax.inputs.arguments import BY_NAME
from transformers_jax.objectives import Metrics, means
from transformers_jax.training.statistics import Running, Statistics

ONE_FOR_ALL = (*BY_NAME, "position_ids")
LEAST = 1e-9  # a batch without labels has loss 0, not 0 / 0


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a whole batch, which may be cut into micro-batches, and its gradient.

    Attributes:
        model_of: the model with these parameters, which the objective calls.
        noise: of the batch; each micro-batch has a key of its own.
        accumulate: the number of micro-batches.
        beside: what the objective is called with behind the key: a second model, or nothing.
        statistics: those of batch norms that follow the micro-batches, in their order.
    """

    model_of: Callable[[Params], Callable[..., Any]]
    objective: Any
    batch: Mapping[str, Any]
    noise: Key
    accumulate: int
    beside: tuple[Any, ...] = ()
    statistics: Statistics = Statistics()

    def gradients(self, params: Params) -> tuple[Params, Metrics, Running]:
        """(gradient of the loss, {name: (sum, weight)} over all micro-batches, the statistics
        behind them).

        Raises:
            ValueError: a batch that cannot be cut into so many micro-batches.
            TypeError: an objective that returns something else than (loss, metrics).
        """
        if self.accumulate == 1:
            of_batch = jax.value_and_grad(self._of_part, has_aux=True)
            (_, sums), grads = of_batch(params, self.batch, self.noise)
            return self._without((grads, sums, self._after(params, grads)))
        if compares_rows(self.objective):
            return self._without(self._through_vectors(params))
        return self._without(self._accumulated(params))

    def _after(self, params: Params, grads: Params) -> Running:
        return self.statistics.after(self.statistics.begin(params), grads)

    def _without(self, found: tuple[Params, Metrics, Running]) -> tuple[Params, Metrics, Running]:
        """The same, of which the first is a gradient of the loss everywhere."""
        grads, sums, running = found
        return self.statistics.without(grads), sums, running

    def value(self, params: Params) -> Array:
        """The loss, for optimizers with a line search."""
        if self.accumulate == 1:
            return self._of_part(params, self.batch, self.noise)[0]
        if compares_rows(self.objective):
            return checked(self.objective, self.objective.of(self._vectors(params)))[0]
        sums = jax.lax.map(lambda part: self._of_part(params, *part)[1]["loss"], self._parts())
        return means({"loss": jax.tree.map(lambda x: x.sum(0), sums)})["loss"]

    def _of_part(self, params: Params, part: Any, key: Key) -> tuple[Array, Metrics]:
        """What the objective returns of a micro-batch."""
        model = self.model_of(params)
        return checked(self.objective, self.objective(model, part, key, *self.beside))

    def _parts(self) -> tuple[dict[str, Any], Key]:
        """The micro-batches and their keys, stacked."""
        fold = lambda number: jax.random.fold_in(self.noise, number)
        keys = jax.vmap(fold)(jnp.arange(self.accumulate))
        return micro_batches(self.batch, self.accumulate), keys

    # ------------------------------------------------------------ sums of means

    def _accumulated(self, params: Params) -> tuple[Params, Metrics, Running]:
        """The sum over micro-batches, each with its share of every mean in the loss."""
        parts = self._parts()

        def counts(part):  # only of the labels: XLA leaves the model out
            loss = self._of_part(params, *part)[1]["loss"]
            return {name: count for name, (_, count) in _terms(loss).items()}

        whole = {n: jnp.maximum(c.sum(), LEAST) for n, c in jax.lax.map(counts, parts).items()}

        def share(params, part, key):
            loss, sums = self._of_part(params, part, key)
            terms = _terms(sums["loss"])
            if len(terms) == 1:
                ((name, (_, count)),) = terms.items()
                return loss * jax.lax.stop_gradient(count / whole[name]), sums
            return sum(total / whole[name] for name, (total, _) in terms.items()), sums

        def add(carry, part):
            (_, sums), grads = jax.value_and_grad(share, has_aux=True)(params, *part)
            *totals, running = carry
            totals = jax.tree.map(jnp.add, tuple(totals), (grads, sums))
            return (*totals, self.statistics.after(running, grads)), None

        first = jax.tree.map(lambda x: x[0], parts)
        shapes = jax.eval_shape(lambda: (params, self._of_part(params, *first)[1]))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(add, (*zeros, self.statistics.begin(params)), parts)[0]

    # ------------------------------------------------------------ in-batch negatives

    def _vectors(self, params: Params) -> Any:
        """The vectors of the whole batch, in the order of its rows, computed part by part."""
        of_part = lambda part: self.objective.vectors(self.model_of(params), *part, *self.beside)
        return jax.tree.map(_joined, jax.lax.map(of_part, self._parts()))

    def _through_vectors(self, params: Params) -> tuple[Params, Metrics, Running]:
        """The vectors of all micro-batches, the gradient of the loss by them, and its way back
        through each micro-batch, which is computed again with the same noise."""
        loss = lambda vectors: checked(self.objective, self.objective.of(vectors))
        of_vectors = jax.value_and_grad(loss, has_aux=True)
        (_, sums), by_vectors = of_vectors(self._vectors(params))
        by_parts = jax.tree.map(lambda x: _cut(x, self.accumulate), by_vectors)

        def add(carry, part_and_gradient):
            (total, running), ((part, key), by_part) = carry, part_and_gradient
            vectors = lambda p: self.objective.vectors(self.model_of(p), part, key, *self.beside)
            _, back = jax.vjp(vectors, params)
            grads = back(by_part)[0]
            running = self.statistics.after(running, grads)
            return (jax.tree.map(jnp.add, total, grads), running), None

        begin = jax.tree.map(jnp.zeros_like, params), self.statistics.begin(params)
        grads, running = jax.lax.scan(add, begin, (self._parts(), by_parts))[0]
        return grads, sums, running


def compares_rows(objective: Any) -> bool:
    """Whether the loss is computed over the vectors of all rows of a batch."""
    return callable(getattr(objective, "vectors", None))


def _terms(loss: Any) -> Mapping[str, Any]:
    return loss if isinstance(loss, Mapping) else {"loss": loss}


# ---------------------------------------------------------------- rows


def micro_batches(batch: Mapping[str, Any], count: int) -> dict[str, Any]:
    """[A B ...] of [B A ...]: every micro-batch takes rows from every device. What has no axes is
    in each of them, and so are tags, pairs and positions of one row, which models take for all
    rows. Any other array of one row is refused: in a micro-batch of one row it would be taken for
    that row's own.

    Raises:
        ValueError: numbers of rows that differ, or that the count does not divide.
    """
    named, tree = jax.tree_util.tree_flatten_with_path(dict(batch))
    sizes = [(np.shape(x)[0], path) for path, x in named if np.ndim(x)]
    rows, most = max(sizes, key=lambda size: size[0], default=(1, ()))
    for path, x in named:
        if np.ndim(x) and np.shape(x)[0] not in ((1, rows) if _for_all(path) else (rows,)):
            raise ValueError(
                f"batch{jax.tree_util.keystr(path)} has {np.shape(x)[0]} rows, not the {rows} of "
                f"batch{jax.tree_util.keystr(most)}; a batch that is cut into micro-batches has as "
                f"many rows in every array ({', '.join(ONE_FOR_ALL)} may have 1 for all). Give "
                f"{rows} rows, or a number for the whole batch as an array of shape ()"
            )
    if rows % count:
        raise ValueError(f"a batch of {rows} rows cannot be cut into {count} micro-batches")
    alike = lambda x: np.ndim(x) == 0 or np.shape(x)[0] < rows
    parts = [
        jnp.broadcast_to(x, (count, *np.shape(x))) if alike(x) else _cut(x, count) for _, x in named
    ]
    return jax.tree_util.tree_unflatten(tree, parts)


def _for_all(path: Sequence[Any]) -> bool:
    """Whether an argument of a model, or of a part of the batch, may have one row for all."""
    return any(getattr(key, "key", None) in ONE_FOR_ALL for key in path)


def _cut(x: Array, count: int) -> Array:
    parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    return shard.constrain(parts, " ".join(["micro", "batch", *["rest"] * (x.ndim - 1)]))


def _joined(parts: Array) -> Array:
    """The rows that `_cut` has cut, in their order."""
    x = jnp.swapaxes(parts, 0, 1)
    x = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    return shard.constrain(x, " ".join(["batch", *["rest"] * (x.ndim - 1)]))


# ---------------------------------------------------------------- the contract


def checked(objective: Any, returned: Any) -> tuple[Array, Metrics]:
    """What an objective returned, if it is (loss, {name: (sum, weight)}) with an entry `loss`.

    Raises:
        TypeError: it is something else.
    """
    scalar = lambda x: hasattr(x, "shape") and x.shape == ()
    pair = lambda x: isinstance(x, tuple) and len(x) == 2 and all(map(scalar, x))
    wrong = ""
    if not (
        isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
    ):
        wrong = _shown(returned)
    elif not scalar(returned[0]):
        wrong = f"a loss that is {_shown(returned[0])}"
    elif "loss" not in returned[1]:
        wrong = f"metrics without 'loss': {', '.join(returned[1]) or 'none'}"
    else:
        for name, value in returned[1].items():
            several = name == "loss" and isinstance(value, Mapping) and value
            if not all(map(pair, value.values() if several else [value])):
                wrong = f"metrics[{name!r}] that is {_shown(value)}"
    if wrong:
        name = getattr(objective, "__name__", None) or type(objective).__name__
        raise TypeError(
            f"the objective {name} returned {wrong}; expected (loss, metrics): the mean over the "
            "batch, and {name: (sum, weight)} of each figure with 'loss' among them, whose sum / "
            "weight (of each part, added up) is the loss that is returned, such as "
            "return total / count, {'loss': (total, count)} (jax.numpy scalars)"
        )
    return returned


def _shown(x: Any) -> str:
    if hasattr(x, "shape"):
        return f"an array {x.dtype}{list(x.shape)}"
    if isinstance(x, (tuple, list)):
        return f"{type(x).__name__} of {', '.join(map(_shown, x)) or 'nothing'}"
    return f"{type(x).__name__}"
