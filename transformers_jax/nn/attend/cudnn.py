"""cuDNN's fused attention on NVIDIA GPUs, for the graphs that its arguments say exactly.

Known traps, each refused here: a key mask [B 1 1 S] handed over as a mask, a window that is not
causal, gradients of a bias when the batch is larger than one, segments (it has none), float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Edges
from transformers_jax.graph.lower import Lowered, Refused, lower
from transformers_jax.nn.attend.score import Weighting
from transformers_jax.nn.attend.xla import refuse_extras

WIDEST = 128  # numbers of a head; some cards take more, all of them take this


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
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
