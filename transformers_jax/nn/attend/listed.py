"""Attention edge by edge: time and memory linear in the edges of a graph, and in its nodes.

The edges are a list (`graph.listing`). Each gathers the query at one of its ends, and the key and
the value at the other, and sums go to segments, one for each query:

    m = segment max of scores     p = exp(score - m)     out = segment sum of p v / segment sum of p

Derivatives are those of `tiled`, with a segment sum in place of a sum over tiles. Arrays of the
width of a head are made of a part of the edges at a time (`PART`): what grows with their number is
a few numbers a head.

A score rule, and what is added to the values of edges, are called with edges as rows of one query
and one key each: rules do not know whether they are asked for a tile or for an edge.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Float, is_symbolic, wide
from transformers_jax.graph import Edges, Nodes
from transformers_jax.graph.listing import listing
from transformers_jax.graph.lower import Refused
from transformers_jax.nn import noise
from transformers_jax.nn.attend.entries import (
    Graph,
    Moving,
    Part,
    Plan,
    dropped,
    every_score,
    fold,
    scores_of,
    values_of,
)
from transformers_jax.nn.attend.score import Weighting
from transformers_jax.nn.derivative import both_ways

PART = 2**20
"""Numbers of the arrays that are made of one part of the edges, at most."""


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    return _run(q, k, v, edges, **options)[0]


def attend_with_weights(
    q, k, v, edges: Edges, **options
) -> tuple[Float[Array, "B T H U"], Float[Array, "B E H"]]:
    """Output, and the weight of each entry of the list before dropout; 0 where it is no edge."""
    out, lse, plan, moving, graph = _run(q, k, v, edges, **options)
    B, H = q.shape[0], q.shape[2]
    scores = every_score(plan, moving, graph)
    weights = jnp.where(graph.live[..., None], jnp.exp(scores - lse[graph.target]), 0.0)
    return out, weights.reshape(-1, H)[: plan.count].reshape(B, -1, H)


def _run(q, k, v, edges: Edges, **options):
    weighting = Weighting(**options)
    score, message = weighting.score, weighting.message
    if is_symbolic(*edges.shape, q.shape[0]):
        raise Refused(f"edges are listed over lengths that are known, not {edges.shape}")
    if score is not None and score.rule.by_row:
        name = type(score.rule).__name__
        raise Refused(f"the parameters of the score rule {name} have a row for each row of a batch")
    plan, graph = planned(edges, weighting, q.shape, v.shape)
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    arrays = lambda one: None if one is None else jax.tree.map(jnp.asarray, one.params)
    floats = {n: x for n, x in graph.pairs.items() if jnp.issubdtype(x.dtype, jnp.inexact)}
    graph = replace(graph, pairs={n: x for n, x in graph.pairs.items() if n not in floats})
    moving = Moving(
        flat(q), flat(k), flat(v), arrays(score), weighting.sinks, arrays(message), floats
    )
    out, lse = _jitted(plan, *moving, graph)
    return out.reshape(*q.shape[:3], -1).astype(q.dtype), lse, plan, moving, graph


def planned(
    edges: Edges, weighting: Weighting, of_q: tuple[int, ...], of_v: tuple[int, ...]
) -> tuple[Plan, Graph]:
    """What is known while tracing, and the graph, of queries [B T H K] and values [B S G U]."""
    (B, T, H, K), (S, U) = of_q, (of_v[1], of_v[-1])
    listed = listing(edges)
    spread = lambda x: jnp.broadcast_to(x, (B, *x.shape[1:])).reshape(-1, *x.shape[2:])
    row = jnp.arange(B, dtype=jnp.int32)[:, None]
    count = B * listed.target.shape[1]
    part = min(max(PART // (H * max(K, U)), 1), max(count, 1))

    def cut(x: Array) -> Array:
        filled = jnp.pad(x, [(0, -count % part)] + [(0, 0)] * (x.ndim - 1))
        return filled.reshape(-1, part, *x.shape[1:])

    plan = Plan(
        count=count,
        part=part,
        score=None if weighting.score is None else weighting.score.rule,
        message=None if weighting.message is None else weighting.message.rule,
        scale=float(weighting.scale),
        softcap=None if weighting.softcap is None else float(weighting.softcap),
        dropout=weighting.dropout if weighting.drops else 0.0,
    )
    graph = Graph(
        target=cut(spread(listed.target + row * T)),
        source=cut(spread(listed.source + row * S)),
        live=cut(spread(listed.live)),
        pairs={name: cut(spread(x)) for name, x in listed.pairs.items()},
        q=_in_a_row(edges.q, B),
        k=_in_a_row(edges.k, B),
        lengths=(jnp.int32(T), jnp.int32(S)),
        bits=jnp.stack(noise.words(weighting.key)) if weighting.drops else None,
    )
    return plan, graph


def _in_a_row(nodes: Nodes, rows: int) -> Nodes:
    """The tags of all rows behind one another."""
    tags = {
        n: jnp.broadcast_to(t, (rows, t.shape[1])).reshape(1, -1) for n, t in nodes.tags.items()
    }
    return Nodes(tags)


# ---------------------------------------------------------------- the function and its derivatives


def forward(plan: Plan, *operands):
    """(out Float[BT H U], lse Float[BT H], from which weights are made again)."""
    *floats, graph = operands
    moving = Moving(*floats)
    q, v, sinks = moving.q, moving.v, moving.sinks
    (N, H), dtype = q.shape[:2], wide(q)
    scores, into = every_score(plan, moving, graph), jnp.where(graph.live, graph.target, N)
    m = jnp.full((N, H), MASKED, dtype).at[into].max(scores, mode="drop")
    if sinks is not None:
        m = jnp.maximum(m, sinks.astype(dtype))
    base = jnp.where(m > MASKED, m, 0.0)
    p = jnp.exp(scores - base[graph.target])
    total = jnp.zeros((N, H), dtype).at[into].add(p, mode="drop")

    def step(part: Part, o):
        sent = values_of(plan, part, H, *moving.of(part)[1])
        return part.into(o, dropped(plan, part, p[part.number])[..., None] * sent, part.target)

    zeros = jnp.zeros((N, H, v.shape[-1]), dtype)
    o = fold(graph, step, zeros, operands)
    if sinks is not None:
        total = total + jnp.exp(sinks.astype(dtype) - base)
    some = total > 0
    total = jnp.where(some, total, 1.0)
    return o / total[..., None], jnp.where(some, base + jnp.log(total), 0.0)


def tangent(plan: Plan, saved, tangents):
    """The tangents of (out, lse)."""
    (*operands, graph), (out, lse) = saved
    moving, moves = Moving(*operands), Moving(*tangents)
    H = moving.q.shape[1]

    def step(part: Part, state):
        tout, tlse = state
        (scored, sending), (tscored, tsending) = moving.of(part), moves.of(part)
        scores, ds = jax.jvp(partial(scores_of, plan, part), scored, tscored)
        sent, tsent = jax.jvp(partial(values_of, plan, part, H), sending, tsending)
        p = jnp.exp(scores - lse[part.target])
        z = partial(dropped, plan, part)
        more = z(p)[..., None] * tsent + z(p * ds)[..., None] * sent
        return part.into(tout, more, part.target), part.into(tlse, p * ds, part.target)

    zeros = jnp.zeros(out.shape, lse.dtype), jnp.zeros_like(lse)
    tout, tlse = fold(graph, step, zeros, (saved, tangents))
    if moving.sinks is not None:
        share = jnp.exp(moving.sinks.astype(lse.dtype) - lse)
        tlse = tlse + share * moves.sinks.astype(lse.dtype)
    return tout - tlse[..., None] * out, tlse


def backward(plan: Plan, saved, cotangents):
    """Gradients of all operands that have one."""
    ((*operands, graph), (out, lse)), (dout, dlse) = saved, cotangents
    moving = Moving(*operands)
    H = moving.q.shape[1]
    flow = (dout * out).sum(-1) - dlse  # = sum over edges of p dp

    def step(part: Part, state):
        dq, dk, dv, dparams, dadded, dpairs = state
        scored, sending = moving.of(part)
        scores, pull = jax.vjp(partial(scores_of, plan, part), *scored)
        sent, pull_sent = jax.vjp(partial(values_of, plan, part, H), *sending)
        p = jnp.where(part.live[:, None], jnp.exp(scores - lse[part.target]), 0.0)
        d = dout[part.target]
        of_v, of_added, sent_of = pull_sent(dropped(plan, part, p)[..., None] * d)
        dp = dropped(plan, part, (d * sent).sum(-1))
        of_q, of_k, of_params, scored_of = pull(p * (dp - flow[part.target]))
        add = lambda sums, one: jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, one)
        wider = lambda x: x.astype(lse.dtype)
        dq = part.into(dq, wider(of_q), part.target)
        dk = part.into(dk, wider(of_k), part.source)
        dv = part.into(dv, wider(of_v), part.source)
        own = jax.tree.map(lambda a, b: wider(a) + wider(b), scored_of, sent_of)
        dpairs = jax.tree.map(lambda whole, x: whole.at[part.number].set(x), dpairs, own)
        return dq, dk, dv, add(dparams, of_params), add(dadded, of_added), dpairs

    summed = (moving.q, moving.k, moving.v, moving.params, moving.added, moving.pairs)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, lse.dtype), summed)
    found = fold(graph, step, zeros, (saved, cotangents))
    dsinks = None
    if moving.sinks is not None:
        share = jnp.exp(moving.sinks.astype(lse.dtype) - lse) * flow
        dsinks = -share.sum(0).astype(moving.sinks.dtype)
    like = jax.tree.map(lambda d, x: d.astype(x.dtype), found, summed)
    dq, dk, dv, dparams, dadded, dpairs = like
    return dq, dk, dv, dparams, dsinks, dadded, dpairs


_attend = both_ways(forward, tangent, backward, static=1, linear=7)
_jitted = jax.jit(lambda *operands: _attend(*operands), static_argnums=(0,))
