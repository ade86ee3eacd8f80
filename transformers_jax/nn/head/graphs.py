"""Heads of graphs: a class for each node, from what the last layer says of it, and one for each
graph."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.inputs import checks
from transformers_jax.inputs import labels as check
from transformers_jax.nn.head.base import Dense, Head, HeadInputs, scored
from transformers_jax.nn.noise import dropout


class NodeScores(Head):
    """A class for each node; its scores are what the last layer gives (GAT). Labels [B N] are -100
    where none is known, as of the nodes that are held out."""

    def __init__(self, count: int):
        self.count = count

    def __call__(self, x, inputs, *, labels=None):
        return scored(x, labels)

    def check(self, arguments, shape, like="x"):
        if (labels := arguments.get("labels")) is not None:
            check.per_token("labels", labels, self.count, shape, like)


class GraphClassification(Head):
    """A class for each graph, from the mean of its nodes. A row is a graph; where a row holds
    several, one behind the other, `ptr` Int[B G+1] says at which node each begins, and where the
    last one ends (torch_geometric's batches)."""

    labels = ("labels", "ptr")

    def __init__(self, width: int, count: int, initial: spec.Initial, rate: float = 0.0):
        self.count, self.rate = count, rate
        self.classify = Dense(width, count, "label", initial)

    def __call__(self, x, inputs: HeadInputs, *, labels=None, ptr=None):
        pooled = means(x, inputs.valid, ptr)
        logits = self.classify(dropout(pooled, self.rate, inputs.key))
        labels = None if labels is None else jnp.asarray(labels).reshape(-1)
        return scored(logits.reshape(-1, self.count), labels)

    def check(self, arguments, shape, like="x"):
        graphs, ptr = shape[0], arguments.get("ptr")
        if ptr is not None:
            known = checks.integers("ptr", ptr, 2)
            graphs = shape[0] * (np.shape(ptr)[1] - 1)
            wrong = np.shape(ptr)[0] != shape[0] or np.shape(ptr)[1] < 2
            if not wrong and known is not None:
                wrong = (np.diff(known) < 0).any() or known.min() < 0 or known.max() > shape[1]
            if wrong:
                raise ValueError(
                    f"ptr has shape {np.shape(ptr)[1:]}; expected at which node each graph begins, "
                    f"in order, and where the last one ends, at most {shape[1]}"
                )
        if (labels := arguments.get("labels")) is not None:
            check.labels("labels", labels, self.count)
            given: Any = np.size(labels) if not hasattr(labels, "size") else labels.size
            if given != graphs:
                raise ValueError(f"labels are {given}, and there are {graphs} graphs; give as many")


def means(
    x: Float[Array, "B N D"], valid: Any, ptr: Int[Array, "B G+1"] | None
) -> Float[Array, "B G D"]:
    """The mean of the nodes of each graph; zero of one without nodes."""
    B, N = x.shape[:2]
    there = jnp.ones((B, N), bool) if valid is None else jnp.broadcast_to(valid, (B, N))
    graphs, graph = 1, jnp.zeros((B, N), jnp.int32)
    if ptr is not None:
        graphs, ptr = ptr.shape[1] - 1, jnp.asarray(ptr)
        number = jnp.arange(N)
        graph = jax.vmap(lambda ends: jnp.searchsorted(ends, number, side="right") - 1)(ptr)
        there = there & (graph >= 0) & (graph < graphs)
    place = jnp.arange(B)[:, None], jnp.where(there, graph, graphs)
    sums = jnp.zeros((B, graphs, x.shape[-1]), x.dtype).at[place].add(x, mode="drop")
    count = jnp.zeros((B, graphs), x.dtype).at[place].add(1, mode="drop")
    return sums / jnp.maximum(count, 1)[..., None]
