"""Graphs that are given as lists of edges, as libraries of graphs give them: a pair of numbers an
edge, in place of a T x S matrix. A list is one more part of the mask algebra.

A list may have an edge several times; each counts (`repeats`), in the softmax as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int
from transformers_jax.graph.edges import Edges
from transformers_jax.graph.mask import All, Mask
from transformers_jax.graph.nodes import Nodes
from transformers_jax.graph.primitives import FULL, Full

ABSENT = -1
"""Both numbers of an entry that is no edge: it fills a list up."""


@dataclass(frozen=True)
class Listed(Mask):
    """The edges of a list, `pairs[name]`: Int[b 2 E], or [2 E] for all rows. Edge e leads from the
    key whose `index` is [0, e] to the query whose `index` is [1, e] (torch_geometric's
    `edge_index`); an entry of -1 is no edge.

    Listed("edge_index") over [[0, 2, 1], [1, 1, 2]]:  . . .
                                                       1 . 1
                                                       . 1 .

    Attributes:
        features: the name of a pair array with a row for each edge of the list, [b E F] or [E F].
    """

    name: str
    features: str | None = None

    @property
    def reads_pairs(self):
        return (self.name,) if self.features is None else (self.name, self.features)

    def edges(self, q, k, pairs=None):
        return counted(q, k, pairs[self.name]) > 0


@dataclass(frozen=True)
class Repeated(Mask):
    """A multigraph as a matrix, `pairs[name]`: Int[b T S], how many edges lead from a key to a
    query. It is what a list becomes for engines that read matrices (`matrices`)."""

    name: str

    @property
    def reads_pairs(self):
        return (self.name,)

    def edges(self, q, k, pairs=None):
        return pairs[self.name] > 0


def by_rows(listed: Any, axes: int) -> Array:
    """A pair array of a list with its axis of rows, [b ...]."""
    listed = jnp.asarray(listed)
    return listed if listed.ndim == axes else listed[None]


def columns(nodes: Nodes, numbers: Int[Array, "b E"]) -> Int[Array, "b E"]:
    """The columns of the nodes whose `index` is these numbers; -1 where there is none."""
    known = nodes.tag("index")
    if isinstance(known, np.ndarray) and (known == known[:1, :1] + np.arange(nodes.length)).all():
        found = numbers - known[0, 0]
        return jnp.where((found >= 0) & (found < nodes.length), found, ABSENT)
    index = jnp.asarray(known)
    order = jnp.argsort(index, axis=1)
    find = lambda index, order, numbers: order[
        jnp.searchsorted(index[order], numbers).clip(0, len(order) - 1)
    ]
    rows = max(len(index), len(numbers))
    spread = lambda x: jnp.broadcast_to(x, (rows, x.shape[1]))
    index, numbers = spread(index), spread(numbers)
    found = jax.vmap(find)(index, spread(order), numbers)
    return jnp.where(jnp.take_along_axis(index, found, 1) == numbers, found, ABSENT)


def ends(q: Nodes, k: Nodes, listed: Any) -> tuple[Int[Array, "b E"], Int[Array, "b E"]]:
    """(the columns of the queries, those of the keys) of the edges of a list; both -1 where it has
    none, or one that names no node of these."""
    numbers = by_rows(listed, 3)
    target, source = columns(q, numbers[:, 1]), columns(k, numbers[:, 0])
    there = (target >= 0) & (source >= 0)
    return jnp.where(there, target, ABSENT), jnp.where(there, source, ABSENT)


def counted(q: Nodes, k: Nodes, listed: Any) -> Int[Array, "b T S"]:
    """How many edges of a list lead from each key to each query."""
    target, source = ends(q, k, listed)
    rows = jnp.arange(len(target))[:, None]
    counts = jnp.zeros((len(target), q.length, k.length), jnp.int32)
    return counts.at[rows, jnp.where(target < 0, q.length, target), source].add(1, mode="drop")


def conjuncts(mask: Mask) -> Iterator[Mask]:
    """The parts of which an expression is the conjunction."""
    if isinstance(mask, All):
        yield from conjuncts(mask.a)
        yield from conjuncts(mask.b)
    else:
        yield mask


def list_of(mask: Mask) -> tuple[Listed | None, Mask]:
    """(the list that holds all edges of a mask, or None; what they have to fulfil besides)."""
    found: Listed | None = None
    rest: Mask = FULL
    for part in conjuncts(mask):
        if found is None and isinstance(part, Listed):
            found = part
        elif not isinstance(part, Full):
            rest = part if isinstance(rest, Full) else rest & part
    return found, rest


def matrices(edges: Edges) -> Edges:
    """The same graph with matrices in place of lists; the features of edges become those of pairs
    of nodes, [b T S F]. Of a pair with several edges they are NaN: no matrix can hold them."""
    lists = [part for part in edges.mask.parts() if isinstance(part, Listed)]
    if not lists:
        return edges
    pairs = dict(edges.pairs)
    for part in dict.fromkeys(lists):
        pairs[part.name] = counted(edges.q, edges.k, edges.pairs[part.name])
        if part.features is not None:
            pairs[part.features] = _spread(edges, part, pairs[part.name])
    return replace(edges, mask=_as_matrix(edges.mask), pairs=pairs)


def _as_matrix(mask: Mask) -> Mask:
    return Repeated(mask.name) if isinstance(mask, Listed) else mask.mapped(_as_matrix)


def _spread(edges: Edges, part: Listed, counts: Int[Array, "b T S"]) -> Array:
    """The features of a list's edges as those of pairs of nodes."""
    assert part.features is not None
    target, source = ends(edges.q, edges.k, edges.pairs[part.name])
    values = by_rows(edges.pairs[part.features], 3)
    rows = max(len(target), len(values))
    spread = lambda x: jnp.broadcast_to(x, (rows, *x.shape[1:]))
    target, source, values = spread(target), spread(source), spread(values)
    square = jnp.zeros((rows, *edges.shape, values.shape[-1]), values.dtype)
    place = jnp.arange(rows)[:, None], jnp.where(target < 0, edges.shape[0], target), source
    square = square.at[place].set(values, mode="drop")
    return jnp.where((counts > 1)[..., None], jnp.nan, square)


def repeats(mask: Mask, pairs: Mapping[str, Array]) -> Int[Array, "b T S"] | None:
    """How often each edge of a graph is there; None where each is once."""
    found: Any = None
    for part in conjuncts(mask):
        if isinstance(part, Repeated):
            found = pairs[part.name] if found is None else found * pairs[part.name]
    return found
