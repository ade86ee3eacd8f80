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
from transformers_jax.graph import Edges, Nodes, matrices
from transformers_jax.graph.lower import Refused
from transformers_jax.graph.tiles import Live, live, pad, pad_nodes, tiles
from transformers_jax.nn import noise
from transformers_jax.nn.attend import tile
from transformers_jax.nn.attend.score import Score, Weighting
from transformers_jax.nn.attend.size import tile_size
from transformers_jax.nn.attend.tile import Graph, Plan, Tile, cut, join
from transformers_jax.nn.derivative import both_ways
from transformers_jax.shard import varying


def attend(
    q, k, v, edges: Edges, *, first=(0, 0, 0), heads=None, size=None, **options
) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`; `first` and `heads` say which slice of a larger call
    this is (`nn.attend.sharded`), `size` overrides the choice of tiles (queries, keys)."""
    weighting = Weighting(**options)
    score = weighting.score
    if score is not None and score.rule.pairs:
        raise Refused(f"the score rule {type(score.rule).__name__} reads features of all edges")
    if weighting.message is not None:
        raise Refused("edges add nothing to the values that tiles send")
    edges = matrices(edges)
    heads = heads or (q.shape[2], k.shape[2])
    plan, graph = planned(edges, weighting, q.shape[0], heads, first, size)
    params = None if score is None else jax.tree.map(jnp.asarray, score.params)
    return _jitted(plan, q, k, v, params, weighting.sinks, graph)


def planned(
    edges: Edges, weighting: Weighting, batch: int, heads, first=(0, 0, 0), size=None
) -> tuple[Plan, Graph]:
    """What is known while tracing, and the graph."""
    if is_symbolic(*edges.shape):
        raise Refused(f"tiles need a length that is known, not {edges.shape}; use 'reference'")
    edges = _with_tags_read(edges, weighting.score)
    size = size or tile_size(edges)
    may, must = tiles(edges, size)
    full = isinstance(must, np.ndarray) and isinstance(may, np.ndarray) and (must | ~may).all()
    listed, in_plan = live(may), isinstance(may, np.ndarray)
    order = (listed.row, listed.query, listed.key)
    plan = Plan(
        mask=edges.mask,
        size=size,
        rows=batch if may.shape[0] > 1 else 1,
        listed=tuple(np.asarray(part).tobytes() for part in order) if in_plan else None,
        masked=not full,
        heads=heads,
        score=None if weighting.score is None else weighting.score.rule,
        scale=float(weighting.scale),
        softcap=None if weighting.softcap is None else float(weighting.softcap),
        dropout=weighting.dropout if weighting.drops else 0.0,
    )
    graph = Graph(
        edges.q,
        edges.k,
        edges.pairs,
        live=None if in_plan else listed,
        bits=jnp.stack(noise.words(weighting.key)) if weighting.drops else None,
        first=tuple(jnp.int32(n) for n in first),
    )
    return plan, graph


def _with_tags_read(edges: Edges, score: Score | None) -> Edges:
    """The edges with only the tags that the mask reads: others need not be padded or cut. A score
    rule may read any."""
    names = edges.mask.tags | {"index"}

    def of(nodes: Nodes) -> Nodes:
        tags = {n: t for n, t in nodes.tags.items() if score is not None or n in names}
        return Nodes(tags, nodes.valid)

    pairs = {name: array for name, array in edges.pairs.items() if name in edges.mask.pairs}
    return Edges(of(edges.q), of(edges.k), edges.mask, pairs)


def _fold(plan: Plan, graph: Graph, step, state, like):
    """Folds `step(tile, state)` over the live tiles; sums of what `like` holds vary as it does."""
    state, listed = jax.tree.map(lambda x: varying(x, like), state), graph.live
    if listed is None:
        assert plan.listed is not None
        row, query, key = (np.frombuffer(part, np.int32) for part in plan.listed)
        listed = Live(row, query, key, len(row))
        if not listed.count:
            return state
    row, query, key = (jnp.asarray(part) for part in (listed.row, listed.query, listed.key))
    body = lambda n, state: step(Tile(row[n], query[n], key[n]), state)
    return jax.lax.fori_loop(0, listed.count, body, state)


def _padded(plan: Plan, graph: Graph) -> Graph:
    pairs = {n: pad(pad(a, 1, plan.size[0]), 2, plan.size[1]) for n, a in graph.pairs.items()}
    q, k = (pad_nodes(nodes, size) for nodes, size in zip((graph.q, graph.k), plan.size))
    return replace(graph, q=q, k=k, pairs=pairs)


def _cells(plan: Plan, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    q = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[3])
    of_q, of_k = plan.size
    return cut(q, of_q, plan.rows), cut(k, of_k, plan.rows), cut(v, of_k, plan.rows)


def forward(plan: Plan, q, k, v, params, sinks, graph: Graph):
    """(out Float[B T H U], lse Float[cells of queries], from which weights are made again)."""
    padded = _padded(plan, graph)
    (B, T, H), U = q.shape[:3], v.shape[-1]
    (qc, kc, vc), rows, dtype = _cells(plan, q, k, v), plan.rows, wide(q)

    # Tiles of one cell of queries follow one another, so its sums are carried from step to step and
    # the large arrays are only written: were they read as well, each step would copy all of m.
    def step(at: Tile, state):
        done, (cell, o, m, total) = state
        i, j = at.cells(rows)
        o, m, total = (jnp.where(cell == i, x, y) for x, y in ((o, 0.0), (m, MASKED), (total, 0.0)))
        scores, _ = tile.scores_in(plan, padded, at, qc[i], kc[j], params)
        scores = tile.masked(plan, padded, at, scores)
        m, total, shrink, p = tile.softmax_step(m, total, scores)
        p = tile.dropped(plan, padded, at, p).astype(v.dtype)
        new = jnp.einsum("wgrts,wgsu->wgrtu", p, vc[j], preferred_element_type=dtype)
        sums = (o * shrink[..., None] + new, m, total)
        done = tuple(cells.at[i].set(one) for cells, one in zip(done, sums))
        return done, (varying(i, cell), *sums)

    o = jnp.zeros((*qc.shape[:-1], U), dtype)
    m, total = jnp.full(qc.shape[:-1], MASKED, dtype), jnp.zeros(qc.shape[:-1], dtype)
    carried = (jnp.int32(-1), *(jnp.zeros_like(x[0]) for x in (o, m, total)))
    state, like = ((o, m, total), carried), (q, k, v, params, padded)
    (o, m, total), _ = _fold(plan, padded, step, state, like)
    sink = None if sinks is None else sinks.astype(dtype).reshape(*qc.shape[2:4], 1)
    out, lse = tile.normalised(o, m, total, sink)
    return join(out, rows, T).reshape(B, T, H, U).astype(q.dtype), lse


def tangent(plan: Plan, saved, tangents):
    """The tangents of (out, lse), from those of q, k, v, the score's parameters and the sinks."""
    (q, k, v, params, sinks, graph), (out, lse) = saved
    tq, tk, tv, tparams, tsinks = tangents
    padded, rows, T = _padded(plan, graph), plan.rows, q.shape[1]
    (qc, kc, vc), (tqc, tkc, tvc) = _cells(plan, q, k, v), _cells(plan, tq, tk, tv)
    dot = partial(jnp.einsum, preferred_element_type=lse.dtype)

    def step(at: Tile, state):
        tout, tlse = state
        i, j = at.cells(rows)
        of = lambda q, k, params: tile.scores_in(plan, padded, at, q, k, params)[0]
        scores, ds = jax.jvp(of, (qc[i], kc[j], params), (tqc[i], tkc[j], tparams))
        p = jnp.exp(tile.masked(plan, padded, at, scores) - lse[i][..., None])
        z = partial(tile.dropped, plan, padded, at)
        of_v = dot("wgrts,wgsu->wgrtu", z(p).astype(v.dtype), tvc[j])
        of_p = dot("wgrts,wgsu->wgrtu", z(p * ds), vc[j].astype(lse.dtype))
        return tout.at[i].add(of_v + of_p), tlse.at[i].add((p * ds).sum(-1))

    zeros = jnp.zeros((*lse.shape, v.shape[-1]), lse.dtype), jnp.zeros_like(lse)
    tout, tlse = _fold(plan, padded, step, zeros, (saved, tangents))
    if sinks is not None:
        sink, tsink = (x.astype(lse.dtype).reshape(*qc.shape[2:4], 1) for x in (sinks, tsinks))
        tlse = tlse + jnp.exp(sink - lse) * tsink
    whole = lambda cells: join(cells, rows, T).reshape(*out.shape[:3], -1)
    tout = whole(tout) - whole(tlse[..., None]) * out.astype(lse.dtype)
    return tout.astype(out.dtype), tlse


def backward(plan: Plan, saved, cotangents):
    """Gradients of q, k, v, the score's parameters and the sinks."""
    ((q, k, v, params, sinks, graph), (out, lse)), (dout, dlse) = saved, cotangents
    padded, rows = _padded(plan, graph), plan.rows
    (qc, kc, vc), (B, T) = _cells(plan, q, k, v), q.shape[:2]
    by_group = (B, T, k.shape[2], -1, v.shape[-1])
    dc, oc = (cut(x.reshape(by_group), plan.size[0], rows) for x in (dout, out))
    flow = (dc.astype(lse.dtype) * oc.astype(lse.dtype)).sum(-1) - dlse  # = sum over keys of p dp
    dot = partial(jnp.einsum, preferred_element_type=lse.dtype)

    def step(at: Tile, state):
        dq, dk, dv, dparams = state
        i, j = at.cells(rows)
        scores, pull = tile.scores_in(plan, padded, at, qc[i], kc[j], params)
        p = jnp.exp(tile.masked(plan, padded, at, scores) - lse[i][..., None])
        z = tile.dropped(plan, padded, at, p).astype(v.dtype)
        dv = dv.at[j].add(dot("wgrts,wgrtu->wgsu", z, dc[i]))
        dp = tile.dropped(plan, padded, at, dot("wgrtu,wgsu->wgrts", dc[i], vc[j]))
        ds = p * (dp - flow[i][..., None])
        if plan.softcap is not None:
            ds = ds * (1.0 - jnp.square(scores / plan.softcap))
        if pull is not None:
            more_q, more_k, more = pull(ds)
            dq, dk = dq.at[i].add(more_q.astype(dq.dtype)), dk.at[j].add(more_k.astype(dk.dtype))
            dparams = jax.tree.map(lambda a, b: a + b.astype(a.dtype), dparams, more)
        if not plan.replaces:
            ds = (ds * plan.scale).astype(q.dtype)
            dq = dq.at[i].add(dot("wgrts,wgsk->wgrtk", ds, kc[j]))
            dk = dk.at[j].add(dot("wgrts,wgrtk->wgsk", ds, qc[i]))
        return dq, dk, dv, dparams

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, lse.dtype), (qc, kc, vc, params))
    dq, dk, dv, dparams = _fold(plan, padded, step, zeros, (saved, cotangents))
    dsinks = None
    if sinks is not None:
        share = jnp.exp(sinks.astype(lse.dtype).reshape(*qc.shape[2:4], 1) - lse) * flow
        dsinks = -share.sum((0, 1, 4)).reshape(sinks.shape).astype(sinks.dtype)
    dq = join(dq, rows, T).reshape(q.shape).astype(q.dtype)
    dk, dv = (join(d, rows, x.shape[1]).astype(x.dtype) for d, x in ((dk, k), (dv, v)))
    dparams = jax.tree.map(lambda d, x: d.astype(x.dtype), dparams, params)
    return dq, dk, dv, dparams, dsinks


_attend = both_ways(forward, tangent, backward, static=1, linear=5)
_jitted = jax.jit(lambda *operands: _attend(*operands)[0], static_argnums=(0,))
