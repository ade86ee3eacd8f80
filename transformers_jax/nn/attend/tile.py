"""One tile of attention: its nodes, scores, mask, softmax and dropout.

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

from transformers_jax.arrays import MASKED, Array, capped, wide
from transformers_jax.graph import Mask, Nodes, repeats
from transformers_jax.graph.tiles import Live, pad
from transformers_jax.nn import noise
from transformers_jax.nn.attend.score import ScoreRule


@dataclass(frozen=True)
class Plan:
    """All that is known while tracing; hashable, so that an eager call compiles only once.

    Attributes:
        rows: rows of the batch that the list distinguishes (1: all have the same graph).
        listed: the live tiles as the bytes of int32 rows, queries, keys; None: see `Graph.live`.
        masked: False where every live tile is full, so that no mask is drawn.
        heads: (H, G) of the whole model, of which this call may hold a slice.
        score: the score rule, whose parameters are an operand of its own.
    """

    mask: Mask
    size: tuple[int, int]
    rows: int
    listed: tuple[bytes, ...] | None
    masked: bool
    heads: tuple[int, int]
    score: ScoreRule | None
    scale: float
    softcap: float | None
    dropout: float

    @property
    def replaces(self) -> bool:
        """Whether a score rule takes the place of the scaled product."""
        return self.score is not None and self.score.replaces


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """The graph, and which part of the whole call this one is. No gradient flows here.

    Attributes:
        live: the live tiles, where they are listed on the device.
        bits: the words of the dropout key, or None.
        first: (row, query head, key head) of the whole batch and model where these arrays begin.
    """

    q: Nodes
    k: Nodes
    pairs: dict[str, Array]
    live: Live | None
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
class Tile:
    """Which tile: the row of the list, and the numbers of the tile of queries and of keys."""

    row: Array
    query: Array
    key: Array

    def cells(self, rows: int) -> tuple[Array, Array]:
        """The numbers of its cells of queries and of keys."""
        return self.query * rows + self.row, self.key * rows + self.row


def _part(plan: Plan, tile: Tile, array: Array, *sides: int) -> Array:
    """A tile's part of [b T] or [b T S]; `sides` says of each axis behind the first whether it
    follows the queries (0) or the keys (1)."""
    own = plan.rows > 1 and array.shape[0] > 1
    starts = [(tile.query, tile.key)[side] * plan.size[side] for side in sides]
    sizes = [plan.size[side] for side in sides]
    corner = (tile.row if own else np.int32(0), *starts)
    return jax.lax.dynamic_slice(array, corner, (1 if own else array.shape[0], *sizes))


def _nodes(plan: Plan, graph: Graph, tile: Tile) -> tuple[Nodes, Nodes]:
    """The nodes of a tile's queries and keys."""
    part = lambda nodes, side: jax.tree.map(lambda tag: _part(plan, tile, tag, side), nodes)
    return part(graph.q, 0), part(graph.k, 1)


def masked(plan: Plan, graph: Graph, tile: Tile, scores: Array) -> Array:
    """The scores of one tile [w G R t s], MASKED where there is no edge; exp of it counts an edge
    as often as it is there."""
    if not plan.masked:
        return scores
    q, k = _nodes(plan, graph, tile)
    pairs = {name: _part(plan, tile, array, 0, 1) for name, array in graph.pairs.items()}
    allowed = plan.mask.edges(q, k, pairs)
    if k.valid is not None:
        allowed = allowed & k.valid[:, None, :]
    if (times := repeats(plan.mask, pairs)) is not None:
        scores = scores + jnp.log(jnp.maximum(times, 1)[:, None, None].astype(scores.dtype))
    return jnp.where(allowed[:, None, None], scores, MASKED)


def _rule(plan: Plan, graph: Graph, tile: Tile, q: Array, k: Array, params: Any) -> Array:
    """The score rule on one tile: Float32[w G R t s]. It is called with all heads of the model,
    because a rule may count them; those of other devices are zero and are cut off again."""
    assert plan.score is not None
    w, G, R, t, K = q.shape
    q = q.transpose(0, 3, 1, 2, 4).reshape(w, t, G * R, K)
    k = k.transpose(0, 2, 1, 3)
    whole = plan.heads == (G * R, G)
    if not whole:
        zeros = [jnp.zeros((w, x.shape[1], n, K), x.dtype) for x, n in zip((q, k), plan.heads)]
        none = np.int32(0)
        corners = [(none, none, first, none) for first in graph.first[1:]]
        q, k = (jax.lax.dynamic_update_slice(z, x, c) for z, x, c in zip(zeros, (q, k), corners))
    scores = plan.score(params, q, k, *_nodes(plan, graph, tile), {}).astype(wide(q))
    if not whole:
        scores = jnp.broadcast_to(scores, (scores.shape[0], plan.heads[0], *scores.shape[2:]))
        scores = jax.lax.dynamic_slice_in_dim(scores, graph.first[1], G * R, 1)
    return jnp.broadcast_to(scores, (w, G * R, *plan.size)).reshape(w, G, R, *plan.size)


def scores_in(plan: Plan, graph: Graph, tile: Tile, q: Array, k: Array, params: Any):
    """(scores Float32[w G R t s], the pullback of the score rule or None)."""
    pull, scores = None, 0.0
    if not plan.replaces:
        dots = jnp.einsum("wgrtk,wgsk->wgrts", q, k, preferred_element_type=wide(q))
        scores = dots * plan.scale
    if plan.score is not None:
        added, pull = jax.vjp(partial(_rule, plan, graph, tile), q, k, params)
        scores = scores + added
    return capped(scores, plan.softcap), pull


def softmax_step(m: Array, total: Array, scores: Array) -> tuple[Array, Array, Array, Array]:
    """The online softmax [... t] after a tile of scores [... t s]: (m, total, what earlier sums
    are multiplied by, exp(scores - m))."""
    highest = jnp.maximum(m, scores.max(-1))
    # No edge so far: exp(MASKED - 0) is zero, exp(MASKED - MASKED) would be one.
    p = jnp.exp(scores - jnp.where(highest > MASKED, highest, 0.0)[..., None])
    shrink = jnp.exp(m - highest)
    return highest, total * shrink + p.sum(-1), shrink, p


def normalised(o: Array, m: Array, total: Array, sink: Array | None) -> tuple[Array, Array]:
    """(out, lse) of the sums over all tiles, and of a sink, which has no value."""
    if sink is not None:
        highest = jnp.maximum(m, sink)
        shrink = jnp.exp(m - highest)
        o, total = o * shrink[..., None], total * shrink + jnp.exp(sink - highest)
        m = highest
    some = total > 0  # a query without edges (and without a sink): zero, and never 0 / 0
    total = jnp.where(some, total, 1.0)
    return o / total[..., None], jnp.where(some, m + jnp.log(total), 0.0)


def dropped(plan: Plan, graph: Graph, tile: Tile, x: Array) -> Array:
    """Dropout of the weights of one tile [w G R t s], by their indices in the whole call."""
    if not plan.dropout:
        return x
    w, G, R, t, s = x.shape
    row = graph.first[0] + tile.row + jnp.arange(w)[:, None, None, None, None]
    head = graph.first[1] + jnp.arange(G * R).reshape(G, R, 1, 1)
    query = tile.query * t + jnp.arange(t)[:, None]
    index = row, head, query, tile.key * s + jnp.arange(s)
    return jnp.where(noise.keep(plan.dropout, graph.bits, *index), x / (1.0 - plan.dropout), 0.0)
