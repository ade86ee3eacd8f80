"""Attention tile by tile: memory linear in length, time linear in the tiles that hold edges.

The T x S square is cut into tiles; `graph.tiles` lists those that may hold an edge, and one loop
walks the list with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). Per query:

    m  the highest score so far         l  sum of exp(score - m)         o  sum of exp(score - m) v

    out = o / l          lse = m + log l          (a sink adds exp(sink) to the sum, and no value)

The backward pass walks the same list, rebuilding weights p = exp(score - lse):

    dv += z p . dout        ds = p (z dout . v - dout . out)        z: dropout, 0 or 1 / (1 - rate)

Where all rows of a batch have the same graph a step handles all of them; where they differ the list
holds (row, i, j). It is never a vmapped loop, which would select its whole state at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED, Array, Float
from transformers_jax.graph import Edges, Nodes
from transformers_jax.graph.mask import Mask
from transformers_jax.graph.tiles import Live, live, pad, pad_nodes, tiles
from transformers_jax.nn import noise
from transformers_jax.nn.attend.size import tile_size


@dataclass(frozen=True)
class Plan:
    """All that is known while tracing; hashable, so that an eager call compiles only once.

    Attributes:
        rows: rows of the batch that the list tells apart (1: all have the same graph).
        listed: the live tiles as the bytes of int32 rows, queries, keys; None: listed on the device.
        masked: False where every live tile is full, so that no mask is drawn.
        heads: (H, G) of the whole model, of which this call may hold a slice.
        score: rule, tree of its parameters, and which leaves of it are differentiable.
    """

    mask: Mask
    size: tuple[int, int]
    rows: int
    listed: tuple[bytes, bytes, bytes] | None
    masked: bool
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
        fixed: leaves of the score's parameters that are no floating-point numbers.
        bits: the words of the dropout key, or None.
        first: (row, query head, key head) of the whole batch and model where these arrays begin.
    """

    q: Nodes
    k: Nodes
    pairs: dict[str, Array]
    fixed: list[Array]
    bits: Array | None
    first: tuple[Any, Any, Any]


def attend(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None,
    first=(0, 0, 0), heads=None, size=None,
) -> Float[Array, "B T H U"]:  # fmt: skip
    """See `transformers_jax.nn.attend.attend`; `first` and `heads` place a slice of a larger call
    (`nn.attend.spread`), `size` overrides the choice of tiles (queries, keys)."""
    B, T, H, _ = q.shape
    edges = _needed(edges, score is not None)
    size = size or tile_size(edges)
    listed, rows, masked = _list(edges, size, B)
    leaves, described = _split(score)
    dropping = key is not None and dropout > 0.0
    plan = Plan(
        edges.mask, size, rows, listed, masked, heads or (H, k.shape[2]), described,
        float(scale), None if softcap is None else float(softcap), dropout if dropping else 0.0,
    )  # fmt: skip
    bits = jnp.stack(noise.words(key)) if dropping else None
    fixed = [leaf for leaf in leaves if not _is_float(leaf)]
    graph = Graph(edges.q, edges.k, edges.pairs, fixed, bits, tuple(jnp.int32(n) for n in first))
    floats = [leaf for leaf in leaves if _is_float(leaf)]
    return _jitted(plan, q, k, v, floats, sinks, graph)


def _needed(edges: Edges, with_score: bool) -> Edges:
    """The edges with only the tags that somebody reads: others need not be padded or cut."""
    if with_score:
        return Edges(edges.q, edges.k, edges.mask, edges.pairs)
    names = edges.mask.tags | {"index"}

    def keep(nodes: Nodes) -> Nodes:
        return Nodes({n: t for n, t in nodes.tags.items() if n in names}, nodes.valid)

    return Edges(keep(edges.q), keep(edges.k), edges.mask, edges.pairs)


def _list(edges: Edges, size: tuple[int, int], B: int):
    """(live tiles if they are known while tracing, rows told apart, whether tiles need masks)."""
    may, must = tiles(edges, size)
    rows = B if may.shape[0] > 1 else 1
    if not isinstance(may, np.ndarray):
        return None, rows, True
    found = live(may)
    listed = tuple(part.tobytes() for part in (found.row, found.query, found.key))
    full = isinstance(must, np.ndarray) and bool((must | ~may).all())
    return listed, rows, not full


def _split(score) -> tuple[list[Array], tuple | None]:
    """The leaves of a score's parameters, and a hashable description of the rest of it."""
    if score is None:
        return [], None
    leaves, tree = jax.tree.flatten(score.params)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    return leaves, (score.rule, tree, tuple(_is_float(leaf) for leaf in leaves))


def _is_float(leaf: Array) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


# ---------------------------------------------------------------- one tile


def _cut(x: Array, size: int, rows: int) -> Array:
    """[B T ... K] into cells: [(n rows) w ... t K], a cell being a tile of w = B / rows rows."""
    B, _, *inner, K = x.shape
    x = pad(x, 1, size).reshape(rows, B // rows, -1, size, *inner, K)
    heads = range(4, 4 + len(inner))
    x = x.transpose(2, 0, 1, *heads, 3, x.ndim - 1)
    return x.reshape(-1, *x.shape[2:])


def _join(cells: Array, rows: int, length: int) -> Array:
    """The inverse of `_cut`: [B T ... K]."""
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
        corner = (place.row if one else 0, start)
        return jax.lax.dynamic_slice(tag, corner, (1 if one else tag.shape[0], size))

    return jax.tree.map(piece, nodes)


def _masked(plan: Plan, graph: Graph, place: Place, scores: Array) -> Array:
    """The scores of one tile [w G R t s], MASKED where there is no edge."""
    if not plan.masked:
        return scores
    q, k = (_nodes(plan, nodes, place, axis) for axis, nodes in ((0, graph.q), (1, graph.k)))

    def piece(array: Array) -> Array:
        one = plan.rows > 1 and array.shape[0] > 1
        corner = (place.row if one else 0, place.i * plan.size[0], place.j * plan.size[1])
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
        corners = [(0, 0, first, 0) for first in graph.first[1:]]
        q, k = (jax.lax.dynamic_update_slice(z, x, c) for z, x, c in zip(zeros, (q, k), corners))
    qn, kn = _nodes(plan, graph.q, place, 0), _nodes(plan, graph.k, place, 1)
    scores = rule(params, q, k, qn, kn).astype(jnp.float32)
    if not whole:
        scores = jnp.broadcast_to(scores, (scores.shape[0], plan.heads[0], *scores.shape[2:]))
        scores = jax.lax.dynamic_slice_in_dim(scores, graph.first[1], G * R, 1)
    return jnp.broadcast_to(scores, (w, G * R, *plan.size)).reshape(w, G, R, *plan.size)


def _scores(plan: Plan, graph: Graph, place: Place, q: Array, k: Array, floats: list[Array]):
    """(scores Float32[w G R t s], the pullback of the score rule or None)."""
    pull, scores = None, 0.0
    if plan.score is None or not plan.score[0].replaces:
        dots = jnp.einsum("wgrtk,wgsk->wgrts", q, k, preferred_element_type=jnp.float32)
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


def _dropped(plan: Plan, graph: Graph, place: Place, x: Array) -> Array:
    if not plan.dropout:
        return x
    return jnp.where(_kept(plan, graph, place, x.shape), x / (1.0 - plan.dropout), 0.0)


# ---------------------------------------------------------------- the loops


def _walk(plan: Plan, graph: Graph, step, state):
    """Folds `step(place, state)` over the live tiles."""
    if plan.listed is None:
        may, _ = tiles(Edges(graph.q, graph.k, plan.mask, graph.pairs), plan.size)
        found = live(may)
    else:
        parts = [np.frombuffer(part, np.int32) for part in plan.listed]
        found = Live(*parts, len(parts[0]))
        if not found.count:
            return state
    row, i, j = (jnp.asarray(part) for part in (found.row, found.query, found.key))
    return jax.lax.fori_loop(0, found.count, lambda n, s: step(Place(row[n], i[n], j[n]), s), state)


def _padded(plan: Plan, graph: Graph) -> Graph:
    pairs = {n: pad(pad(a, 1, plan.size[0]), 2, plan.size[1]) for n, a in graph.pairs.items()}
    q, k = (pad_nodes(nodes, size) for nodes, size in zip((graph.q, graph.k), plan.size))
    return Graph(q, k, pairs, graph.fixed, graph.bits, graph.first)


def _cells(plan: Plan, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    B, T, H, K = q.shape
    q = q.reshape(B, T, k.shape[2], -1, K)
    return tuple(_cut(x, n, plan.rows) for x, n in zip((q, k, v), (*plan.size, plan.size[1])))


def forward(plan: Plan, q, k, v, floats, sinks, graph: Graph):
    """(out Float[B T H U], lse Float32[cells of queries])."""
    graph = _padded(plan, graph)
    B, T, H, _ = q.shape
    (qc, kc, vc), rows = _cells(plan, q, k, v), plan.rows

    def step(place: Place, state):
        o, m, l = state
        i, j = place.i * rows + place.row, place.j * rows + place.row
        scores, _ = _scores(plan, graph, place, qc[i], kc[j], floats)
        scores = _masked(plan, graph, place, scores)
        highest = jnp.maximum(m[i], scores.max(-1))
        # No edge so far: exp(MASKED - 0) is zero, exp(MASKED - MASKED) would be one.
        p = jnp.exp(scores - jnp.where(highest > MASKED, highest, 0.0)[..., None])
        shrink = jnp.exp(m[i] - highest)
        l = l.at[i].set(l[i] * shrink + p.sum(-1))
        p = _dropped(plan, graph, place, p).astype(v.dtype)
        new = jnp.einsum("wgrts,wgsu->wgrtu", p, vc[j], preferred_element_type=jnp.float32)
        return o.at[i].set(o[i] * shrink[..., None] + new), m.at[i].set(highest), l

    o = jnp.zeros((*qc.shape[:-1], v.shape[-1]), jnp.float32)
    m, l = jnp.full(qc.shape[:-1], MASKED), jnp.zeros(qc.shape[:-1])
    o, m, l = _walk(plan, graph, step, (o, m, l))
    if sinks is not None:
        sink = sinks.astype(jnp.float32).reshape(*qc.shape[2:4], 1)
        highest = jnp.maximum(m, sink)
        shrink = jnp.exp(m - highest)
        o, l = o * shrink[..., None], l * shrink + jnp.exp(sink - highest)
        m = highest
    some = l > 0  # a query without edges (and without a sink): zero, and never 0 / 0
    total = jnp.where(some, l, 1.0)
    out = _join(o / total[..., None], rows, T).reshape(B, T, H, -1).astype(q.dtype)
    return out, jnp.where(some, m + jnp.log(total), 0.0)


def backward(plan: Plan, saved, dout):
    """Gradients of q, k, v, the score's parameters and the sinks."""
    q, k, v, floats, sinks, graph, out, lse = saved
    padded, rows = _padded(plan, graph), plan.rows
    (qc, kc, vc), (B, T) = _cells(plan, q, k, v), q.shape[:2]
    grouped = (B, T, k.shape[2], -1, v.shape[-1])
    dc, oc = (_cut(x.reshape(grouped), plan.size[0], rows) for x in (dout, out))
    flow = (dc.astype(jnp.float32) * oc.astype(jnp.float32)).sum(-1)  # = sum over keys of p dp

    def step(place: Place, state):
        dq, dk, dv, dfloats = state
        i, j = place.i * rows + place.row, place.j * rows + place.row
        scores, pull = _scores(plan, padded, place, qc[i], kc[j], floats)
        p = jnp.exp(_masked(plan, padded, place, scores) - lse[i][..., None])
        dot = partial(jnp.einsum, preferred_element_type=jnp.float32)
        z = _dropped(plan, padded, place, p).astype(v.dtype)
        dv = dv.at[j].add(dot("wgrts,wgrtu->wgsu", z, dc[i]))
        dp = _dropped(plan, padded, place, dot("wgrtu,wgsu->wgrts", dc[i], vc[j]))
        ds = p * (dp - flow[i][..., None])
        if plan.softcap is not None:
            ds = ds * (1.0 - jnp.square(scores / plan.softcap))
        if pull is not None:
            more_q, more_k, more = pull(ds)
            dq, dk = dq.at[i].add(more_q.astype(dq.dtype)), dk.at[j].add(more_k.astype(dk.dtype))
            dfloats = [a + b.astype(a.dtype) for a, b in zip(dfloats, more)]
        if plan.score is None or not plan.score[0].replaces:
            ds = (ds * plan.scale).astype(q.dtype)
            dq = dq.at[i].add(dot("wgrts,wgsk->wgrtk", ds, kc[j]))
            dk = dk.at[j].add(dot("wgrts,wgrtk->wgsk", ds, qc[i]))
        return dq, dk, dv, dfloats

    start = [jnp.zeros(x.shape, jnp.float32) for x in (qc, kc, vc)]
    start.append([jnp.zeros(x.shape, jnp.float32) for x in floats])
    dq, dk, dv, dfloats = _walk(plan, padded, step, tuple(start))
    dsinks = None
    if sinks is not None:
        share = jnp.exp(sinks.astype(jnp.float32).reshape(*qc.shape[2:4], 1) - lse) * flow
        dsinks = -share.sum((0, 1, 4)).reshape(sinks.shape).astype(sinks.dtype)
    dq = _join(dq, rows, T).reshape(q.shape).astype(q.dtype)
    dk, dv = (_join(d, rows, x.shape[1]).astype(x.dtype) for d, x in ((dk, k), (dv, v)))
    dfloats = [d.astype(x.dtype) for d, x in zip(dfloats, floats)]
    return dq, dk, dv, dfloats, dsinks, None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, q, k, v, floats, sinks, graph: Graph):
    return forward(plan, q, k, v, floats, sinks, graph)[0]


def _remember(plan: Plan, q, k, v, floats, sinks, graph: Graph):
    out, lse = forward(plan, q, k, v, floats, sinks, graph)
    return out, (q, k, v, floats, sinks, graph, out, lse)


_attend.defvjp(_remember, backward)
_jitted = jax.jit(_attend, static_argnums=(0,))
