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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import shard
from transformers_jax.arrays import Array, Key, Params
from transformers_jax.inputs.arguments import BY_NAME
from transformers_jax.objectives import Metrics, means

ModelOf = Callable[[Params], Callable[..., Any]]

ONE_FOR_ALL = (*BY_NAME, "position_ids")
LEAST = 1e-9  # a batch without labels has loss 0, not 0 / 0


def gradients(
    params: Params,
    *,
    model_of: ModelOf,
    objective: Any,
    batch: Mapping[str, Any],
    noise: Key,
    accumulate: int,
) -> tuple[Params, Metrics]:
    """(gradient of the loss of the whole batch, {name: (sum, weight)} over all micro-batches).

    Args:
        model_of: the model with these parameters, which the objective calls.

    Raises:
        ValueError: a batch that cannot be cut into so many micro-batches.
        TypeError: an objective that returns something else than (loss, metrics).
    """

    def loss_of(params, part, key):
        return checked(objective, objective(model_of(params), part, key))

    if accumulate == 1:
        (_, sums), grads = jax.value_and_grad(loss_of, has_aux=True)(params, batch, noise)
        return grads, sums
    parts = _micro_batches_and_keys(batch, noise, accumulate)
    if compares_rows(objective):
        return _through_vectors(model_of, objective, params, parts)
    return _accumulated(loss_of, params, parts)


def loss_value(
    params: Params,
    *,
    model_of: ModelOf,
    objective: Any,
    batch: Mapping[str, Any],
    noise: Key,
    accumulate: int,
) -> Array:
    """The loss that `gradients` differentiates, for optimizers with a line search."""
    if accumulate == 1:
        return checked(objective, objective(model_of(params), batch, noise))[0]
    parts = _micro_batches_and_keys(batch, noise, accumulate)
    if compares_rows(objective):
        vectors = _vectors(model_of, objective, params, parts)
        return checked(objective, objective.of(vectors))[0]

    def sums_of(part_and_key):
        part, key = part_and_key
        return checked(objective, objective(model_of(params), part, key))[1]["loss"]

    sums = jax.lax.map(sums_of, parts)
    return means({"loss": jax.tree.map(lambda x: x.sum(0), sums)})["loss"]


def compares_rows(objective: Any) -> bool:
    """Whether the loss is computed over the vectors of all rows of a batch."""
    return callable(getattr(objective, "vectors", None))


def _micro_batches_and_keys(batch: Mapping[str, Any], noise: Key, count: int) -> Any:
    keys = jax.vmap(lambda number: jax.random.fold_in(noise, number))(jnp.arange(count))
    return micro_batches(batch, count), keys


# ---------------------------------------------------------------- sums of means


def _accumulated(loss_of: Callable[..., Any], params: Params, parts: Any) -> tuple[Params, Metrics]:
    """The sum over micro-batches, each with its share of every mean in the loss."""

    def counts(part_and_key):  # of the labels alone: XLA leaves the model out
        loss = loss_of(params, *part_and_key)[1]["loss"]
        return {name: count for name, (_, count) in _terms(loss).items()}

    whole = {n: jnp.maximum(c.sum(), LEAST) for n, c in jax.lax.map(counts, parts).items()}

    def share(params, part, key):
        loss, sums = loss_of(params, part, key)
        terms = _terms(sums["loss"])
        if len(terms) == 1:
            ((name, (_, count)),) = terms.items()
            return loss * jax.lax.stop_gradient(count / whole[name]), sums
        return sum(total / whole[name] for name, (total, _) in terms.items()), sums

    def add(carry, part_and_key):
        (_, sums), grads = jax.value_and_grad(share, has_aux=True)(params, *part_and_key)
        return jax.tree.map(jnp.add, carry, (grads, sums)), None

    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(lambda: (params, loss_of(params, *first)[1]))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zeros, parts)[0]


def _terms(loss: Any) -> Mapping[str, Any]:
    return loss if isinstance(loss, Mapping) else {"loss": loss}


# ---------------------------------------------------------------- in-batch negatives


def _vectors(model_of: ModelOf, objective: Any, params: Params, parts: Any) -> Any:
    """The vectors of the whole batch, in the order of its rows, computed part by part."""
    of_part = lambda part_and_key: objective.vectors(model_of(params), *part_and_key)
    return jax.tree.map(_joined, jax.lax.map(of_part, parts))


def _through_vectors(
    model_of: ModelOf, objective: Any, params: Params, parts: Any
) -> tuple[Params, Metrics]:
    """The vectors of all micro-batches, the gradient of the loss by them, and its way back through
    each micro-batch, which is computed again with the same noise."""
    vectors = _vectors(model_of, objective, params, parts)
    loss = lambda vectors: checked(objective, objective.of(vectors))
    (_, sums), by_vectors = jax.value_and_grad(loss, has_aux=True)(vectors)
    cut = jax.tree.map(lambda x: _cut(x, len(parts[1])), by_vectors)

    def add(grads, parts_and_vectors):
        (part, key), by_part = parts_and_vectors
        _, back = jax.vjp(lambda p: objective.vectors(model_of(p), part, key), params)
        return jax.tree.map(jnp.add, grads, back(by_part)[0]), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zeros, (parts, cut))[0], sums


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
                f"batch{jax.tree_util.keystr(path)} has {np.shape(x)[0]} rows beside {rows} of "
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
