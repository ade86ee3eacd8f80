"""Attention tile by tile: memory linear in length, time linear in the tiles that hold edges.

The T x S square is cut into tiles; `graph.tiles` lists those that may hold an edge, and one loop
walks the list with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). Per query:

    m      the highest score so far
    total  sum of exp(score - m), to which a sink adds exp(sink - m) and no value
    o      sum of exp(score - m) v

    out = o / total          lse = m + log total

The backward pass walks the same list, rebuilding weights p = exp(score - lse):

    dv += z p . dout        ds = p (z dout . v - dout . out)        z: dropout, 0 or 1 / (1 - rate)

and so does forward mode, with ds the tangent of a score, d lse = sum of p ds and

    d out = sum of z p (dv + ds v) - out d lse

Where all rows of a batch have the same graph a step handles all of them; where they differ the list
holds (row, i, j). It is never a vmapped loop, which would select its whole state at every step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED, Array, Float, is_symbolic, wide
from transformers_jax.graph import Edges, Nodes
from transformers_jax.graph.lower import Refused
from transformers_jax.graph.tiles import Live, live, pad, pad_nodes, tiles
from transformers_jax.nn import noise
from transformers_jax.nn.attend.size import tile_size
from transformers_jax.nn.attend.tile import (
    Graph,
    Place,
    Plan,
    cut,
    dropped,
    join,
    masked,
    scores_in,
)
from transformers_jax.nn.derivative import both_ways
from transformers_jax.shard import varying


def attend(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None,
    first=(0, 0, 0), heads=None, size=None,
) -> Float[Array, "B T H U"]:  # fmt: skip
    """See `transformers_jax.nn.attend.attend`; `first` and `heads` place a slice of a larger call
    (`nn.attend.sharded`), `size` overrides the choice of tiles (queries, keys)."""
    if score is not None and score.rule.pairs:
        raise Refused(f"the score rule {type(score.rule).__name__} reads features of all edges")
    options = dict(scale=scale, score=score, softcap=softcap, dropout=dropout, key=key)
    plan, floats, graph = planned(
        edges, heads or (q.shape[2], k.shape[2]), first, size, rows=q.shape[0], **options
    )
    return _jitted(plan, q, k, v, floats, sinks, graph)


def planned(
    edges: Edges, heads, first, size, *, rows, scale, score, softcap, dropout, key
) -> tuple[Plan, list[Array], Graph]:
    """What is known while tracing, the differentiable parameters of the score, and the graph."""
    if is_symbolic(*edges.shape):
        raise Refused(f"tiles need a length that is known, not {edges.shape}; use 'reference'")
    edges = _needed(edges, score is not None)
    size = size or tile_size(edges)
    found, rows, draws = _list(edges, size, rows)
    known = isinstance(found.count, int)
    parts = (found.row, found.query, found.key)
    listed = tuple(np.asarray(part).tobytes() for part in parts) if known else None
    leaves, described = _split(score)
    dropping = key is not None and dropout > 0.0
    plan = Plan(
        edges.mask, size, rows, listed, draws, heads, described,
        float(scale), None if softcap is None else float(softcap), dropout if dropping else 0.0,
    )  # fmt: skip
    bits = jnp.stack(noise.words(key)) if dropping else None
    fixed = [leaf for leaf in leaves if not _is_float(leaf)]
    first = tuple(jnp.int32(n) for n in first)
    graph = Graph(edges.q, edges.k, edges.pairs, None if known else found, fixed, bits, first)
    return plan, [leaf for leaf in leaves if _is_float(leaf)], graph


def _needed(edges: Edges, with_score: bool) -> Edges:
    """The edges with only the tags that somebody reads: others need not be padded or cut."""
    if with_score:
        return Edges(edges.q, edges.k, edges.mask, edges.pairs)
    names = edges.mask.tags | {"index"}

    def keep(nodes: Nodes) -> Nodes:
        return Nodes({n: t for n, t in nodes.tags.items() if n in names}, nodes.valid)

    return Edges(keep(edges.q), keep(edges.k), edges.mask, edges.pairs)


def _list(edges: Edges, size: tuple[int, int], B: int) -> tuple[Live, int, bool]:
    """(the live tiles, rows told apart, whether tiles need masks)."""
    may, must = tiles(edges, size)
    known = isinstance(may, np.ndarray) and isinstance(must, np.ndarray)
    draws = not (known and bool((must | ~may).all()))
    return live(may), B if may.shape[0] > 1 else 1, draws


def _split(score) -> tuple[list[Array], tuple | None]:
    """The leaves of a score's parameters, and a hashable description of the rest of it."""
    if score is None:
        return [], None
    leaves, tree = jax.tree.flatten(score.params)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    return leaves, (score.rule, tree, tuple(_is_float(leaf) for leaf in leaves))


def _is_float(leaf: Array) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _walk(plan: Plan, graph: Graph, step, state):
    """Folds `step(place, state)` over the live tiles."""
    found = graph.found
    if found is None:
        assert plan.listed is not None
        query, key = (np.frombuffer(part, np.int32) for part in plan.listed[1:])
        found = Live(np.frombuffer(plan.listed[0], np.int32), query, key, len(query))
        if not found.count:
            return state
    row, i, j = (jnp.asarray(part) for part in (found.row, found.query, found.key))
    return jax.lax.fori_loop(0, found.count, lambda n, s: step(Place(row[n], i[n], j[n]), s), state)


def _differing(state, like):
    """The state of a loop, as differing between devices as what is added up in it."""
    return jax.tree.map(lambda x: varying(x, like), state)


def _padded(plan: Plan, graph: Graph) -> Graph:
    pairs = {n: pad(pad(a, 1, plan.size[0]), 2, plan.size[1]) for n, a in graph.pairs.items()}
    q, k = (pad_nodes(nodes, size) for nodes, size in zip((graph.q, graph.k), plan.size))
    return replace(graph, q=q, k=k, pairs=pairs)


def _cells(plan: Plan, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    q = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[3])
    of_q, of_k = plan.size
    return cut(q, of_q, plan.rows), cut(k, of_k, plan.rows), cut(v, of_k, plan.rows)


def forward(plan: Plan, q, k, v, floats, sinks, graph: Graph):
    """(out Float[B T H U], lse Float[cells of queries], from which weights are made again)."""
    graph = _padded(plan, graph)
    (B, T, H), U = q.shape[:3], v.shape[-1]
    (qc, kc, vc), rows, dtype = _cells(plan, q, k, v), plan.rows, wide(q)

    # Tiles of one cell of queries follow one another, so its sums are carried from step to step and
    # the large arrays are only written: were they read as well, each step would copy all of m.
    def step(place: Place, state):
        done, (cell, o, m, total) = state
        i, j = place.i * rows + place.row, place.j * rows + place.row
        o, m, total = (jnp.where(cell == i, x, y) for x, y in ((o, 0.0), (m, MASKED), (total, 0.0)))
        scores, _ = scores_in(plan, graph, place, qc[i], kc[j], floats)
        scores = masked(plan, graph, place, scores)
        highest = jnp.maximum(m, scores.max(-1))
        # No edge so far: exp(MASKED - 0) is zero, exp(MASKED - MASKED) would be one.
        p = jnp.exp(scores - jnp.where(highest > MASKED, highest, 0.0)[..., None])
        shrink = jnp.exp(m - highest)
        total = total * shrink + p.sum(-1)
        p = dropped(plan, graph, place, p).astype(v.dtype)
        new = jnp.einsum("wgrts,wgsu->wgrtu", p, vc[j], preferred_element_type=dtype)
        now = (o * shrink[..., None] + new, highest, total)
        return tuple(all_of.at[i].set(one) for all_of, one in zip(done, now)), (
            varying(i, cell),
            *now,
        )

    o = jnp.zeros((*qc.shape[:-1], U), dtype)
    m, total = jnp.full(qc.shape[:-1], MASKED, dtype), jnp.zeros(qc.shape[:-1], dtype)
    carried = (jnp.int32(-1), *(jnp.zeros_like(x[0]) for x in (o, m, total)))
    state = _differing(((o, m, total), carried), (q, k, v, floats, graph))
    (o, m, total), _ = _walk(plan, graph, step, state)
    if sinks is not None:
        sink = sinks.astype(dtype).reshape(*qc.shape[2:4], 1)
        highest = jnp.maximum(m, sink)
        shrink = jnp.exp(m - highest)
        o, total = o * shrink[..., None], total * shrink + jnp.exp(sink - highest)
        m = highest
    some = total > 0  # a query without edges (and without a sink): zero, and never 0 / 0
    total = jnp.where(some, total, 1.0)
    out = join(o / total[..., None], rows, T).reshape(B, T, H, U).astype(q.dtype)
    return out, jnp.where(some, m + jnp.log(total), 0.0)


def tangent(plan: Plan, saved, tangents):
    """How (out, lse) moves with q, k, v, the score's parameters and the sinks."""
    (q, k, v, floats, sinks, graph), (out, lse) = saved
    tq, tk, tv, tfloats, tsinks = tangents
    padded, rows, T = _padded(plan, graph), plan.rows, q.shape[1]
    (qc, kc, vc), (tqc, tkc, tvc) = _cells(plan, q, k, v), _cells(plan, tq, tk, tv)
    dot = partial(jnp.einsum, preferred_element_type=lse.dtype)

    def step(place: Place, state):
        moved, common = state
        i, j = place.i * rows + place.row, place.j * rows + place.row
        of = lambda q, k, floats: scores_in(plan, padded, place, q, k, floats)[0]
        at, along = (qc[i], kc[j], floats), (tqc[i], tkc[j], tfloats)
        scores, ds = jax.jvp(of, at, along)
        p = jnp.exp(masked(plan, padded, place, scores) - lse[i][..., None])
        z = partial(dropped, plan, padded, place)
        of_v = dot("wgrts,wgsu->wgrtu", z(p).astype(v.dtype), tvc[j])
        of_p = dot("wgrts,wgsu->wgrtu", z(p * ds), vc[j].astype(lse.dtype))
        return moved.at[i].add(of_v + of_p), common.at[i].add((p * ds).sum(-1))

    start = jnp.zeros((*lse.shape, v.shape[-1]), lse.dtype), jnp.zeros_like(lse)
    start = _differing(start, (saved, tangents))
    moved, common = _walk(plan, padded, step, start)
    if sinks is not None:
        sink, tsink = (x.astype(lse.dtype).reshape(*qc.shape[2:4], 1) for x in (sinks, tsinks))
        common = common + jnp.exp(sink - lse) * tsink
    of_out, shared = (
        join(x, rows, T).reshape(*out.shape[:3], -1) for x in (moved, common[..., None])
    )
    return (of_out - shared * out.astype(lse.dtype)).astype(out.dtype), common


def backward(plan: Plan, saved, cotangents):
    """Gradients of q, k, v, the score's parameters and the sinks."""
    ((q, k, v, floats, sinks, graph), (out, lse)), (dout, dlse) = saved, cotangents
    padded, rows = _padded(plan, graph), plan.rows
    (qc, kc, vc), (B, T) = _cells(plan, q, k, v), q.shape[:2]
    grouped = (B, T, k.shape[2], -1, v.shape[-1])
    dc, oc = (cut(x.reshape(grouped), plan.size[0], rows) for x in (dout, out))
    flow = (dc.astype(lse.dtype) * oc.astype(lse.dtype)).sum(-1) - dlse  # = sum over keys of p dp

    def step(place: Place, state):
        dq, dk, dv, dfloats = state
        i, j = place.i * rows + place.row, place.j * rows + place.row
        scores, pull = scores_in(plan, padded, place, qc[i], kc[j], floats)
        p = jnp.exp(masked(plan, padded, place, scores) - lse[i][..., None])
        dot = partial(jnp.einsum, preferred_element_type=lse.dtype)
        z = dropped(plan, padded, place, p).astype(v.dtype)
        dv = dv.at[j].add(dot("wgrts,wgrtu->wgsu", z, dc[i]))
        dp = dropped(plan, padded, place, dot("wgrtu,wgsu->wgrts", dc[i], vc[j]))
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

    start = jax.tree.map(lambda x: jnp.zeros(x.shape, lse.dtype), (qc, kc, vc, floats))
    start = _differing(start, (saved, cotangents))
    dq, dk, dv, dfloats = _walk(plan, padded, step, start)
    dsinks = None
    if sinks is not None:
        share = jnp.exp(sinks.astype(lse.dtype).reshape(*qc.shape[2:4], 1) - lse) * flow
        dsinks = -share.sum((0, 1, 4)).reshape(sinks.shape).astype(sinks.dtype)
    dq = join(dq, rows, T).reshape(q.shape).astype(q.dtype)
    dk, dv = (join(d, rows, x.shape[1]).astype(x.dtype) for d, x in ((dk, k), (dv, v)))
    dfloats = [d.astype(x.dtype) for d, x in zip(dfloats, floats)]
    return dq, dk, dv, dfloats, dsinks


_attend = both_ways(forward, tangent, backward, static=1, linear=5)
_jitted = jax.jit(lambda *operands: _attend(*operands)[0], static_argnums=(0,))
