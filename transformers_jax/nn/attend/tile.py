"""One tile of attention: its nodes, its scores, its mask and its dropout, cut out of the whole.

Arrays are cut into cells, [(n rows) w ... t K]: n tiles of t tokens, for each of `rows` rows that
have graphs of their own, each cell holding w = B / rows rows of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED, Array, wide
from transformers_jax.graph import Mask, Nodes
from transformers_jax.graph.tiles import Live, pad
from transformers_jax.nn import noise


@dataclass(frozen=True)
class Plan:
    """All that is known while tracing; hashable, so that an eager call compiles only once.

    Attributes:
        rows: rows of the batch that the list tells apart (1: all have the same graph).
        listed: the live tiles as the bytes of int32 rows, queries, keys; None: see `Graph.found`.
        draws: False where every live tile is full, so that no mask is drawn.
        heads: (H, G) of the whole model, of which this call may hold a slice.
        score: rule, tree of its parameters, and which leaves of it are differentiable.
    """

    mask: Mask
    size: tuple[int, int]
    rows: int
    listed: tuple[bytes, ...] | None
    draws: bool
    heads: tuple[int, int]
    score: tuple | None
    scale: float
    softcap: float | None
    dropout: float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """What a tile needs to know of the graph and of its own place. No gradient flows here.

    Attributes:
        found: the live tiles, where they are listed on the device.
        fixed: leaves of the score's parameters that are no floating-point numbers.
        bits: the words of the dropout key, or None.
        first: (row, query head, key head) of the whole batch and model where these arrays begin.
    """

    q: Nodes
    k: Nodes
    pairs: dict[str, Array]
    found: Live | None
    fixed: list[Array]
    bits: Any
    first: tuple[Any, Any, Any]


def cut(x: Array, size: int, rows: int) -> Array:
    """[B T ... K] into cells: [(n rows) w ... t K], a cell being a tile of w = B / rows rows."""
    B, _, *inner, K = x.shape
    x = pad(x, 1, size).reshape(rows, B // rows, -1, size, *inner, K)
    heads = range(4, 4 + len(inner))
    x = x.transpose(2, 0, 1, *heads, 3, x.ndim - 1)
    return x.reshape(-1, *x.shape[2:])


def join(cells: Array, rows: int, length: int) -> Array:
    """The inverse of `cut`: [B T ... K]."""
    w, *inner, t, K = cells.shape[1:]
    x = cells.reshape(-1, rows, w, *inner, t, K)
    heads = range(3, 3 + len(inner))
    x = x.transpose(1, 2, 0, x.ndim - 2, *heads, x.ndim - 1)
    return x.reshape(rows * w, -1, *inner, K)[:, :length]


@dataclass(frozen=True)
class Place:
    """Where a tile lies: row of the list, tile of queries, tile of keys."""

    row: Array
    i: Array
    j: Array


def _nodes(plan: Plan, nodes: Nodes, place: Place, axis: int) -> Nodes:
    """The nodes of a tile's queries (axis 0) or keys (axis 1)."""
    size = plan.size[axis]
    start = (place.i, place.j)[axis] * size

    def piece(tag: Array) -> Array:
        one = plan.rows > 1 and tag.shape[0] > 1
        corner = (place.row if one else np.int32(0), start)
        return jax.lax.dynamic_slice(tag, corner, (1 if one else tag.shape[0], size))

    return jax.tree.map(piece, nodes)


def masked(plan: Plan, graph: Graph, place: Place, scores: Array) -> Array:
    """The scores of one tile [w G R t s], MASKED where there is no edge."""
    if not plan.draws:
        return scores
    q, k = (_nodes(plan, nodes, place, axis) for axis, nodes in ((0, graph.q), (1, graph.k)))

    def piece(array: Array) -> Array:
        one = plan.rows > 1 and array.shape[0] > 1
        row = place.row if one else np.int32(0)
        corner = (row, place.i * plan.size[0], place.j * plan.size[1])
        return jax.lax.dynamic_slice(array, corner, (1 if one else array.shape[0], *plan.size))

    allowed = plan.mask.edges(q, k, {name: piece(array) for name, array in graph.pairs.items()})
    if k.valid is not None:
        allowed = allowed & k.valid[:, None, :]
    return jnp.where(allowed[:, None, None], scores, MASKED)


def _hook(plan: Plan, graph: Graph, place: Place, q: Array, k: Array, floats: list[Array]) -> Array:
    """The score rule on one tile: Float32[w G R t s]. It sees all heads of the model, because a
    rule may count them; those that this call does not hold are zero and are cut off again."""
    rule, tree, is_float = plan.score
    floats, fixed = iter(floats), iter(graph.fixed)
    params = jax.tree.unflatten(tree, [next(floats if f else fixed) for f in is_float])
    w, G, R, t, K = q.shape
    q = q.transpose(0, 3, 1, 2, 4).reshape(w, t, G * R, K)
    k = k.transpose(0, 2, 1, 3)
    whole = plan.heads == (G * R, G)
    if not whole:
        zeros = [jnp.zeros((w, x.shape[1], n, K), x.dtype) for x, n in zip((q, k), plan.heads)]
        none = np.int32(0)
        corners = [(none, none, first, none) for first in graph.first[1:]]
        q, k = (jax.lax.dynamic_update_slice(z, x, c) for z, x, c in zip(zeros, (q, k), corners))
    qn, kn = _nodes(plan, graph.q, place, 0), _nodes(plan, graph.k, place, 1)
    scores = rule(params, q, k, qn, kn, {}).astype(wide(q))
    if not whole:
        scores = jnp.broadcast_to(scores, (scores.shape[0], plan.heads[0], *scores.shape[2:]))
        scores = jax.lax.dynamic_slice_in_dim(scores, graph.first[1], G * R, 1)
    return jnp.broadcast_to(scores, (w, G * R, *plan.size)).reshape(w, G, R, *plan.size)


def scores_in(plan: Plan, graph: Graph, place: Place, q: Array, k: Array, floats: list[Array]):
    """(scores Float32[w G R t s], the pullback of the score rule or None)."""
    pull, scores = None, 0.0
    if plan.score is None or not plan.score[0].replaces:
        dots = jnp.einsum("wgrtk,wgsk->wgrts", q, k, preferred_element_type=wide(q))
        scores = dots * plan.scale
    if plan.score is not None:
        rule = partial(_hook, plan, graph, place)
        added, pull = jax.vjp(rule, q, k, floats)
        scores = scores + added
    if plan.softcap is not None:
        scores = plan.softcap * jnp.tanh(scores / plan.softcap)
    return scores, pull


def _kept(plan: Plan, graph: Graph, place: Place, shape: tuple[int, ...]) -> Array:
    """Bool[w G R t s]: the weights that dropout leaves, by their places in the whole call."""
    w, G, R, t, s = shape
    row = graph.first[0] + place.row + jnp.arange(w)[:, None, None, None, None]
    head = graph.first[1] + jnp.arange(G * R).reshape(G, R, 1, 1)
    query = place.i * t + jnp.arange(t)[:, None]
    return noise.keep(plan.dropout, graph.bits, row, head, query, place.j * s + jnp.arange(s))


def dropped(plan: Plan, graph: Graph, place: Place, x: Array) -> Array:
    if not plan.dropout:
        return x
    return jnp.where(_kept(plan, graph, place, x.shape), x / (1.0 - plan.dropout), 0.0)
