"""cuDNN's fused attention on NVIDIA GPUs, for the graphs that it can be told exactly.

Known traps, each refused here: a key mask [B 1 1 S] handed over as a mask, a window that is not
causal, gradients of a bias when the batch is larger than one, segments (it has none), float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Edges
from transformers_jax.graph.lower import Lowered, Refused, lower
from transformers_jax.nn.attend.xla import refuse_extras

WIDEST = 128  # numbers of a head; some cards take more, all of them take this


def attend(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None
) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    if jax.default_backend() != "gpu":
        raise Refused(f"cuDNN runs on NVIDIA GPUs, and this is {jax.default_backend()!r}")
    refuse_extras(
        v, width=q.shape[-1], score_ok=False, score=score, softcap=softcap, sinks=sinks,
        dropout=dropout, key=key,
    )  # fmt: skip
    words = told(edges, q.shape, q.dtype)
    lengths = None
    if words.lengths is not None:
        lengths = jnp.broadcast_to(words.lengths, (q.shape[0],))
    return jax.nn.dot_product_attention(
        q, k, v, scale=scale, implementation="cudnn", is_causal=words.causal,
        key_value_seq_lengths=lengths,
        query_seq_lengths=None if lengths is None else jnp.full_like(lengths, q.shape[1]),
        local_window_size=None if words.left is None else (words.left, 0),
    )  # fmt: skip


def told(edges: Edges, shape: tuple[int, ...], dtype) -> Lowered:
    """What cuDNN is told about the graph.

    Raises:
        Refused: if cuDNN has no words for it, or does not mean the same by them.
    """
    if dtype not in (jnp.bfloat16, jnp.float16):
        raise Refused(f"cuDNN computes in bfloat16 or float16, not {jnp.dtype(dtype).name}")
    if shape[-1] % 8 or shape[-1] > WIDEST:
        raise Refused(f"cuDNN wants heads of a multiple of 8 up to {WIDEST}, not {shape[-1]}")
    words = lower(edges)
    if words.segments:
        raise Refused(f"cuDNN is told no segments: Same({words.segments[0]!r})")
    if (words.left is not None or words.right is not None) and not words.causal:
        raise Refused("cuDNN's windows are right only where they are causal")
    if words.causal and edges.shape[0] != edges.shape[1]:
        raise Refused(f"causal, with {edges.shape[0]} queries and {edges.shape[1]} keys")
    if words.lengths is not None and (words.lengths < 1).any():
        raise Refused("a row without valid keys, which cuDNN does not answer with zero")
    return words
