"""`jax.nn.dot_product_attention` as two engines, which refuse what it does not compute rightly."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.graph import Edges, Full, matrices, repeats
from transformers_jax.graph.lower import Lowered, Refused, lower
from transformers_jax.nn.attend.score import Weighting

WIDEST = 128  # numbers of a head; some cards take more, all of them take this


def refuse_extras(q, v, weighting: Weighting, *, scores: bool) -> None:
    """Raises `Refused` for what `jax.nn.dot_product_attention` cannot compute; `scores` says
    whether something may be added to the scores."""
    score, widths = weighting.score, (v.shape[-1], q.shape[-1])
    if weighting.message is not None:
        raise Refused("edges add nothing to the values that it sends")
    if widths[0] != widths[1]:
        raise Refused("values must be as wide as queries, {} and {} came".format(*widths))
    if score is not None and (not scores or score.replaces):
        raise Refused(f"the score rule {type(score.rule).__name__} has no place there")
    if weighting.softcap is not None:
        raise Refused("it has no soft cap of scores")
    if weighting.sinks is not None:
        raise Refused("it has no attention sinks")
    if weighting.drops:
        raise Refused("its dropout would not drop the same edges as the other backends")


def xla(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """`nn.attend.attend` by XLA, which is passed the matrix of edges: its `is_causal` is aligned to
    the first key, which is wrong for a query that continues a cache. A query without edges gets the
    mean of all values from it, padding included; here it is set to zero, and so is its gradient."""
    weighting = Weighting(**options)
    refuse_extras(q, v, weighting, scores=True)
    score, bias, edges = weighting.score, None, matrices(edges)
    if score is not None:
        bias = score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    if (times := repeats(edges.mask, edges.pairs)) is not None:
        more = jnp.log(jnp.maximum(times, 1)[:, None].astype(wide(q)))
        bias = more if bias is None else bias + more
    call = partial(jax.nn.dot_product_attention, scale=weighting.scale, implementation="xla")
    if isinstance(edges.mask, Full) and edges.k.valid is None:
        return call(q, k, v, bias)
    allowed = edges.allowed()
    out = call(q, k, v, bias, allowed[:, None])
    return jnp.where(allowed.any(-1)[:, :, None, None], out, 0).astype(q.dtype)


def cudnn(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """`nn.attend.attend` by cuDNN on NVIDIA GPUs, for the graphs that its arguments can say. Its
    known traps are refused: a key mask [B 1 1 S], a window that is not causal, gradients of a bias
    when the batch is larger than one, segments (it has none), float32."""
    if jax.default_backend() != "gpu":
        raise Refused(f"cuDNN runs on NVIDIA GPUs, and this is {jax.default_backend()!r}")
    weighting = Weighting(**options)
    refuse_extras(q, v, weighting, scores=False)
    mask = lowered(edges, q.shape, q.dtype)
    lengths = None
    if mask.lengths is not None:
        lengths = jnp.broadcast_to(mask.lengths, (q.shape[0],))
    return jax.nn.dot_product_attention(
        q, k, v, scale=weighting.scale, implementation="cudnn", is_causal=mask.causal,
        key_value_seq_lengths=lengths,
        query_seq_lengths=None if lengths is None else jnp.full_like(lengths, q.shape[1]),
        local_window_size=None if mask.left is None else (mask.left, 0),
    )  # fmt: skip


def lowered(edges: Edges, shape: tuple[int, ...], dtype) -> Lowered:
    """The graph in the terms of cuDNN's arguments.

    Raises:
        Refused: if these cannot say it, or cuDNN does not mean the same by them.
    """
    if dtype not in (jnp.bfloat16, jnp.float16):
        raise Refused(f"cuDNN computes in bfloat16 or float16, not {jnp.dtype(dtype).name}")
    if shape[-1] % 8 or shape[-1] > WIDEST:
        raise Refused(f"cuDNN wants heads of a multiple of 8 up to {WIDEST}, not {shape[-1]}")
    mask = lower(edges)
    if mask.segments:
        raise Refused(f"cuDNN has no segments: Same({mask.segments[0]!r})")
    if (mask.left is not None or mask.right is not None) and not mask.causal:
        raise Refused("cuDNN's windows are right only where they are causal")
    if mask.causal and edges.shape[0] != edges.shape[1]:
        raise Refused(f"causal, with {edges.shape[0]} queries and {edges.shape[1]} keys")
    if mask.lengths is not None and (mask.lengths < 1).any():
        raise Refused("a row without valid keys, which cuDNN does not answer with zero")
    return mask
