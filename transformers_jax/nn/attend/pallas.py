"""One Pallas kernel for every mask of the algebra, for GPUs (through Triton).

A program holds one tile of queries of one head and walks the list of its live tiles of keys; the
mask's own predicate is traced into the kernel. The backward pass is `tiled`'s, from the sums that
the kernel gives. On a machine without a GPU the kernel is interpreted, which is for tests.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from transformers_jax.arrays import MASKED, Array, Float, capped
from transformers_jax.graph import Edges, Listed, Nodes, Repeated
from transformers_jax.graph.lower import Refused
from transformers_jax.graph.tiles import pad, pad_nodes, tiles
from transformers_jax.nn import noise
from transformers_jax.nn.attend import tile, tiled
from transformers_jax.nn.attend.score import Weighting
from transformers_jax.nn.attend.tile import Graph, Plan, cut, join
from transformers_jax.nn.derivative import both_ways

TILE = 64  # queries and keys of a tile: both must be powers of two for Triton


def attend(
    q, k, v, edges: Edges, *, first=(0, 0, 0), heads=None, **options
) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`; `first` and `heads` as in `tiled.attend`."""
    weighting = Weighting(**options)
    if jax.default_backend() == "tpu":
        raise Refused("the kernel is written for GPUs; it has not been laid out for TPUs")
    if any(isinstance(part, Listed | Repeated) for part in edges.mask.parts()):
        raise Refused(f"edges of a list may be there several times: {edges.mask}")
    if weighting.message is not None:
        raise Refused("edges add nothing to the values that the kernel sends")
    if weighting.score is not None:
        name = type(weighting.score.rule).__name__
        raise Refused(f"the score rule {name} is not traced into the kernel")
    heads = heads or (q.shape[2], k.shape[2])
    plan, graph = tiled.planned(edges, weighting, q.shape[0], heads, first)
    return _jitted(plan, q, k, v, weighting.sinks, graph)


def forward(plan: Plan, q, k, v, sinks, graph: Graph, *, interpret: bool):
    """(out Float[B T H U], lse Float32[B H T])."""
    (B, T, H), G, U = q.shape[:3], k.shape[2], v.shape[-1]
    may, _ = tiles(Edges(graph.q, graph.k, plan.mask, graph.pairs), (TILE, TILE))
    order = jnp.argsort(~jnp.asarray(may), axis=2, stable=True).astype(jnp.int32)
    count = may.sum(2).astype(jnp.int32)
    qn, kn = pad_nodes(graph.q, TILE), pad_nodes(graph.k, TILE)
    allowed = {n: a if a.dtype == bool else a > 0 for n, a in graph.pairs.items()}
    refs: dict[str, Any] = {
        "order": order, "count": count, "first": jnp.stack(graph.first),
        "query": dict(qn.tags), "key": dict(kn.tags),
        "pairs": {n: pad(pad(a, 1, TILE), 2, TILE).astype(jnp.int32) for n, a in allowed.items()},
    }  # fmt: skip
    if kn.valid is not None:
        refs["valid"] = kn.valid.astype(jnp.int32)
    if sinks is not None:
        refs["sinks"] = sinks.astype(jnp.float32)
    if plan.dropout:
        refs["bits"] = graph.bits
    q, k, v = (_by_head(x) for x in (q, k, v))

    def block_of(array: Array) -> pl.BlockSpec:
        """A vector as a whole, or one row of a [b ...] array: the only one where all rows agree."""
        if array.ndim == 1:
            return pl.BlockSpec(array.shape, lambda b, h, i: (0,))
        rest = (0,) * (array.ndim - 1)
        return pl.BlockSpec(
            (None, *array.shape[1:]), lambda b, h, i: (b if array.shape[0] > 1 else 0, *rest)
        )

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
        in_specs=[jax.tree.map(block_of, refs), per_tile, *per_head],
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
    q, queries = q_ref[...], pl.ds(i * TILE, TILE)

    def tags(side: str, tokens) -> Nodes:
        return Nodes({name: ref[tokens][None] for name, ref in refs[side].items()})

    qn = tags("query", queries)

    def step(n, state):
        o, m, total = state
        j = refs["order"][i, n]
        keys = pl.ds(pl.multiple_of(j * TILE, TILE), TILE)
        k, v = k_ref[keys, :], v_ref[keys, :]
        scores = capped(_dot(q, k, 1) * plan.scale, plan.softcap)
        pairs = {name: ref[queries, keys][None] > 0 for name, ref in refs["pairs"].items()}
        allowed = plan.mask.edges(qn, tags("key", keys), pairs)
        if "valid" in refs:
            allowed = allowed & (refs["valid"][keys] > 0)[None, None, :]
        allowed = jnp.broadcast_to(allowed, (1, TILE, TILE)).reshape(TILE, TILE)
        m, total, shrink, p = tile.softmax_step(m, total, jnp.where(allowed, scores, MASKED))
        if plan.dropout:
            words = refs["bits"][0], refs["bits"][1]
            index = b + refs["first"][0], h + refs["first"][1]
            index += (_indices(i)[:, None], _indices(j)[None, :])
            p = jnp.where(noise.keep(plan.dropout, words, *index), p / (1.0 - plan.dropout), 0.0)
        return o * shrink[:, None] + _dot(p.astype(v.dtype), v, 0), m, total

    o = jnp.zeros(out_ref.shape, jnp.float32)
    m, total = jnp.full((TILE,), MASKED, jnp.float32), jnp.zeros((TILE,), jnp.float32)
    o, m, total = jax.lax.fori_loop(0, refs["count"][i], step, (o, m, total))
    out, lse = tile.normalised(o, m, total, refs["sinks"][h] if "sinks" in refs else None)
    out_ref[...], lse_ref[...] = out.astype(out_ref.dtype), lse


def _dot(a: Array, b: Array, axis: int) -> Array:
    """Float32 product over the last axis of `a` and `axis` of `b`."""
    over = (((1,), (axis,)), ((), ()))
    return jax.lax.dot_general(a, b, over, preferred_element_type=jnp.float32)


def _indices(number: Array) -> Array:
    """The indices of the tokens of a tile in the whole array."""
    return number * TILE + jax.lax.broadcasted_iota(jnp.int32, (TILE,), 0)


def _forward(plan: Plan, q, k, v, sinks, graph: Graph):
    return forward(plan, q, k, v, sinks, graph, interpret=jax.default_backend() == "cpu")


def _as_tiled(plan: Plan, k: Array, lse: Array) -> Array:
    """A number of each query and head, [B H T], as `tiled` has it."""
    by_group = lse.reshape(len(lse), k.shape[2], -1, lse.shape[2]).transpose(0, 3, 1, 2)
    return cut(by_group[..., None], plan.size[0], plan.rows)[..., 0]


def _saved(plan: Plan, saved):
    """The operands and results of the kernel as those of `tiled`."""
    (q, k, v, sinks, graph), (out, lse) = saved
    return (q, k, v, None, sinks, graph), (out, _as_tiled(plan, k, lse))


def _tangent(plan: Plan, saved, tangents):
    (tq, tk, tv, tsinks), (B, T, H) = tangents, saved[0][0].shape[:3]
    of_out, of_lse = tiled.tangent(plan, _saved(plan, saved), (tq, tk, tv, None, tsinks))
    return of_out, join(of_lse[..., None], plan.rows, T).reshape(B, T, H).swapaxes(1, 2)


def _backward(plan: Plan, saved, cotangents):
    of_out, of_lse = cotangents[0], _as_tiled(plan, saved[0][1], cotangents[1])
    dq, dk, dv, _, dsinks = tiled.backward(plan, _saved(plan, saved), (of_out, of_lse))
    return dq, dk, dv, dsinks


_attend = both_ways(_forward, _tangent, _backward, static=1, linear=4)
_jitted = jax.jit(lambda *operands: _attend(*operands)[0], static_argnums=(0,))
