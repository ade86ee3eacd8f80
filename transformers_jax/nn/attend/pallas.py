"""One Pallas kernel for every mask of the algebra, for GPUs (through Triton).

A program holds one tile of queries of one head and walks the list of its live tiles of keys; the
mask's own predicate is traced into the kernel. The backward pass is `tiled`'s, from the sums that
the kernel leaves. On a machine without a GPU the kernel is interpreted, which is for tests.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from transformers_jax.arrays import MASKED, Array, Float
from transformers_jax.graph import Edges, Nodes
from transformers_jax.graph.lower import Refused
from transformers_jax.graph.tiles import pad, pad_nodes, tiles
from transformers_jax.nn import noise
from transformers_jax.nn.attend import tiled
from transformers_jax.nn.attend.tile import Graph, Plan, cut, join
from transformers_jax.nn.derivative import both_ways

TILE = 64  # queries and keys of a tile: both must be powers of two for Triton


def attend(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None,
    first=(0, 0, 0), heads=None,
) -> Float[Array, "B T H U"]:  # fmt: skip
    """See `transformers_jax.nn.attend.attend`; `first` and `heads` as in `tiled.attend`."""
    if jax.default_backend() == "tpu":
        raise Refused("the kernel is written for GPUs; it has not been laid out for TPUs")
    if score is not None:
        raise Refused(f"the score rule {type(score.rule).__name__} is not traced into the kernel")
    plan, _, graph = tiled.planned(
        edges, heads or (q.shape[2], k.shape[2]), first, None, rows=q.shape[0], scale=scale,
        score=None, softcap=softcap, dropout=dropout, key=key,
    )  # fmt: skip
    return _jitted(plan, q, k, v, sinks, graph)


def forward(plan: Plan, q, k, v, sinks, graph: Graph, *, interpret: bool):
    """(out Float[B T H U], lse Float32[B H T])."""
    (B, T, H), G, U = q.shape[:3], k.shape[2], v.shape[-1]
    may, _ = tiles(Edges(graph.q, graph.k, plan.mask, graph.pairs), (TILE, TILE))
    order = jnp.argsort(~jnp.asarray(may), axis=2, stable=True).astype(jnp.int32)
    count = may.sum(2).astype(jnp.int32)
    qn, kn = pad_nodes(graph.q, TILE), pad_nodes(graph.k, TILE)
    integers = {n: a if a.dtype == bool else a > 0 for n, a in graph.pairs.items()}
    refs: dict[str, Any] = {
        "order": order, "count": count, "first": jnp.stack(graph.first),
        "query": dict(qn.tags), "key": dict(kn.tags),
        "pairs": {n: pad(pad(a, 1, TILE), 2, TILE).astype(jnp.int32) for n, a in integers.items()},
    }  # fmt: skip
    if kn.valid is not None:
        refs["valid"] = kn.valid.astype(jnp.int32)
    if sinks is not None:
        refs["sinks"] = sinks.astype(jnp.float32)
    if plan.dropout:
        refs["bits"] = graph.bits
    q, k, v = (_by_head(x) for x in (q, k, v))

    def row_of(array: Array) -> pl.BlockSpec:
        """One row of a [b ...] array, whole; the only one where all rows agree."""
        rest = (0,) * (array.ndim - 1)
        return pl.BlockSpec(
            (None, *array.shape[1:]), lambda b, h, i: (b if array.shape[0] > 1 else 0, *rest)
        )

    whole = {name: pl.BlockSpec(refs[name].shape, lambda b, h, i: (0,)) for name in refs
             if name in ("first", "sinks", "bits")}  # fmt: skip
    specs = {n: whole[n] if n in whole else jax.tree.map(row_of, part) for n, part in refs.items()}
    per_tile = pl.BlockSpec((None, None, TILE, q.shape[-1]), lambda b, h, i: (b, h, i, 0))
    per_head = [
        pl.BlockSpec((None, None, *x.shape[2:]), lambda b, h, i: (b, h // (H // G), 0, 0))
        for x in (k, v)
    ]
    rows = q.shape[2]
    options = {} if interpret else {"compiler_params": _triton()}
    out, lse = pl.pallas_call(
        partial(_kernel, plan),
        grid=(B, H, rows // TILE),
        in_specs=[specs, per_tile, *per_head],
        out_specs=[
            pl.BlockSpec((None, None, TILE, v.shape[-1]), lambda b, h, i: (b, h, i, 0)),
            pl.BlockSpec((None, None, TILE), lambda b, h, i: (b, h, i)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((B, H, rows, v.shape[-1]), q.dtype),
            jax.ShapeDtypeStruct((B, H, rows), jnp.float32),
        ],
        interpret=interpret,
        **options,
    )(refs, q, k, v)
    return out[:, :, :T, :U].swapaxes(1, 2), lse[:, :, :T]


def _by_head(x: Array) -> Array:
    """[B T H K] as [B H T K], filled to whole tiles and to a head width that Triton can load."""
    width = max(16, 1 << (x.shape[-1] - 1).bit_length())
    return pad(pad(x, 1, TILE), 3, width).swapaxes(1, 2)


def _triton():
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=4, num_stages=2)


def _kernel(plan: Plan, refs, q_ref, k_ref, v_ref, out_ref, lse_ref) -> None:
    """One tile of queries against its live tiles of keys, with an online softmax."""
    b, h, i = (pl.program_id(axis) for axis in range(3))
    q, here = q_ref[...], pl.ds(i * TILE, TILE)

    def tags(part: str, where) -> Nodes:
        return Nodes({name: ref[where][None] for name, ref in refs[part].items()})

    qn = tags("query", here)

    def step(n, state):
        o, m, total = state
        j = refs["order"][i, n]
        there = pl.ds(pl.multiple_of(j * TILE, TILE), TILE)
        k, v = k_ref[there, :], v_ref[there, :]
        scores = _dot(q, k, 1) * plan.scale
        if plan.softcap is not None:
            scores = plan.softcap * jnp.tanh(scores / plan.softcap)
        pairs = {name: ref[here, there][None] > 0 for name, ref in refs["pairs"].items()}
        allowed = plan.mask.edges(qn, tags("key", there), pairs)
        if "valid" in refs:
            allowed = allowed & (refs["valid"][there] > 0)[None, None, :]
        allowed = jnp.broadcast_to(allowed, (1, TILE, TILE)).reshape(TILE, TILE)
        scores = jnp.where(allowed, scores, MASKED)
        highest = jnp.maximum(m, scores.max(-1))
        p = jnp.exp(scores - jnp.where(highest > MASKED, highest, 0.0)[:, None])
        shrink = jnp.exp(m - highest)
        total = total * shrink + p.sum(-1)
        if plan.dropout:
            words = refs["bits"][0], refs["bits"][1]
            places = b + refs["first"][0], h + refs["first"][1]
            places += (_count(i)[:, None], _count(j)[None, :])
            p = jnp.where(noise.keep(plan.dropout, words, *places), p / (1.0 - plan.dropout), 0.0)
        return o * shrink[:, None] + _dot(p.astype(v.dtype), v, 0), highest, total

    o = jnp.zeros(out_ref.shape, jnp.float32)
    m, total = jnp.full((TILE,), MASKED, jnp.float32), jnp.zeros((TILE,), jnp.float32)
    o, m, total = jax.lax.fori_loop(0, refs["count"][i], step, (o, m, total))
    if "sinks" in refs:
        sink = refs["sinks"][h]
        highest = jnp.maximum(m, sink)
        shrink = jnp.exp(m - highest)
        o, total, m = o * shrink[:, None], total * shrink + jnp.exp(sink - highest), highest
    some = total > 0
    total = jnp.where(some, total, 1.0)
    out_ref[...] = (o / total[:, None]).astype(out_ref.dtype)
    lse_ref[...] = jnp.where(some, m + jnp.log(total), 0.0)


def _dot(a: Array, b: Array, axis: int) -> Array:
    """Float32 product over the last axis of `a` and `axis` of `b`."""
    over = (((1,), (axis,)), ((), ()))
    return jax.lax.dot_general(a, b, over, preferred_element_type=jnp.float32)


def _count(tile: Array) -> Array:
    """The places of a tile's tokens in the whole array."""
    return tile * TILE + jax.lax.broadcasted_iota(jnp.int32, (TILE,), 0)


def _forward(plan: Plan, q, k, v, sinks, graph: Graph):
    return forward(plan, q, k, v, sinks, graph, interpret=jax.default_backend() == "cpu")


def _as_tiled(plan: Plan, k: Array, lse: Array) -> Array:
    """A number of each query and head, [B H T], as `tiled` has it."""
    grouped = lse.reshape(len(lse), k.shape[2], -1, lse.shape[2]).transpose(0, 3, 1, 2)[..., None]
    return cut(grouped, plan.size[0], plan.rows)[..., 0]


def _saved(plan: Plan, saved):
    """What the kernel leaves, as `tiled` would have left it."""
    (q, k, v, sinks, graph), (out, lse) = saved
    return (q, k, v, [], sinks, graph), (out, _as_tiled(plan, k, lse))


def _tangent(plan: Plan, saved, tangents):
    (tq, tk, tv, tsinks), (B, T, H) = tangents, saved[0][0].shape[:3]
    of_out, of_lse = tiled.tangent(plan, _saved(plan, saved), (tq, tk, tv, [], tsinks))
    return of_out, join(of_lse[..., None], plan.rows, T).reshape(B, T, H).swapaxes(1, 2)


def _backward(plan: Plan, saved, cotangents):
    of_out, of_lse = cotangents[0], _as_tiled(plan, saved[0][1], cotangents[1])
    dq, dk, dv, _, dsinks = tiled.backward(plan, _saved(plan, saved), (of_out, of_lse))
    return dq, dk, dv, dsinks


_attend = both_ways(_forward, _tangent, _backward, static=1, linear=4)
_jitted = jax.jit(lambda *operands: _attend(*operands)[0], static_argnums=(0,))
