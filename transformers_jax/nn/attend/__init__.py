"""attend(q, k, v, edges): messages along the edges of a graph, by whichever engine can do it.

    reference   the plain matrix; it defines the semantics
    tiled       tile by tile over the live tiles of any mask, with its own backward pass
    xla         jax.nn.dot_product_attention
    cudnn       the fused kernel of NVIDIA's library, for graphs that its arguments can say
    pallas      one kernel for every mask, written in Pallas (GPU and TPU)
    edges       edge by edge, in time and memory linear in the edges: for graphs that are lists
    linear      by sums over keys, in time and memory linear in the tokens: for weights that are
                products of feature maps

Every backend computes exactly what `reference` computes, or refuses and says why.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Key, is_symbolic
from transformers_jax.graph import Edges, matrices
from transformers_jax.graph.listed import list_of
from transformers_jax.graph.lower import Refused
from transformers_jax.nn.attend import fused, linear, listed, pallas, reference, tiled
from transformers_jax.nn.attend.score import Message, MessageRule, Score, ScoreRule
from transformers_jax.nn.attend.sharded import sharded

__all__ = [
    "BACKENDS",
    "Message",
    "MessageRule",
    "Refused",
    "Score",
    "ScoreRule",
    "attend",
    "attend_with_weights",
    "prepare",
]

BACKENDS: dict[str, Callable[..., Array]] = {
    "reference": reference.attend,
    "tiled": functools.partial(sharded, tiled.attend),
    "xla": fused.xla,
    "cudnn": fused.cudnn,
    "pallas": functools.partial(sharded, pallas.attend),
    "edges": listed.attend,
    "linear": linear.attend,
}

SHORT = 2**14
"""T x S squares up to this are one matrix (measured on a CPU: equally fast at 128 x 128)."""


def attend(
    q: Float[Array, "B T H K"],
    k: Float[Array, "B S G K"],
    v: Float[Array, "B S G U"],
    edges: Edges,
    *,
    scale: float,
    score: Score | None = None,
    softcap: float | None = None,
    sinks: Float[Array, " H"] | None = None,
    dropout: float = 0.0,
    key: Key | None = None,
    message: Message | None = None,
    how: str = "auto",
) -> Float[Array, "B T H U"]:
    """The weighted values of the keys from which an edge leads to each query.

    Heads are grouped: query head h reads key/value head h // (H / G). No key, no dropout.
    A query without edges receives exactly zero. `message` is added to the values, by edge.

    Raises:
        ValueError: if shapes disagree, or if `how` names a backend that cannot compute this graph.
    """
    _check(q, k, v, edges, sinks, dropout)
    if not is_symbolic(*edges.shape) and 0 in edges.shape:
        return jnp.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
    options: dict[str, Any] = dict(scale=scale, score=score, softcap=softcap, sinks=sinks)
    options |= dict(dropout=dropout, key=key)
    options |= {} if message is None else {"message": message}
    if how != "auto":
        if how not in BACKENDS:
            names = ", ".join(map(repr, BACKENDS))
            raise ValueError(f"attention {how!r} is none of 'auto', {names}")
        try:
            return BACKENDS[how](q, k, v, edges, **options)
        except Refused as reason:
            raise Refused(f"attention {how!r} refuses: {reason}; use 'auto' or 'tiled'") from None
    *fused, last = _preferred(edges)
    reads = (score is not None and score.rule.pairs) or message is not None
    if reads and last != "edges":  # features of edges are T x S arrays as it is
        last = "reference"
    if score is not None and score.rule.engine is not None and last != "edges":
        fused = [score.rule.engine]
    for name in fused:
        try:
            return BACKENDS[name](q, k, v, edges, **options)
        except Refused as reason:
            _warn_once(f"attention falls back from {name!r} to {last!r}: {reason}")
    return BACKENDS[last](q, k, v, edges, **options)


def attend_with_weights(
    q, k, v, edges: Edges, *, how: str = "auto", **options
) -> tuple[Float[Array, "B T H U"], Float[Array, "B H T S"] | Float[Array, "B E H"]]:
    """Output and the weights before dropout: those of the matrix, by `reference`; of a graph that
    is a list, those of its entries, [B E H], unless `how` is "reference"."""
    name = _preferred(edges)[-1] if how == "auto" else how
    if name == "edges" and list_of(edges.mask)[0] is not None:
        return listed.attend_with_weights(q, k, v, edges, **options)
    return reference.attend_with_weights(q, k, v, edges, **options)


def prepare(edges: Edges, how: str = "auto") -> Edges:
    """The edges as the backend reads them in every layer: with the matrix drawn, if it reads one.
    Call it once, outside the loop over layers."""
    name = _preferred(edges)[-1] if how == "auto" else how
    if name not in ("reference", "xla") or edges.drawn is not None:
        return edges
    return matrices(edges).draw()


def _preferred(edges: Edges) -> tuple[str, ...]:
    """Backends in the order in which `auto` tries them; the last one never refuses."""
    if is_symbolic(*edges.shape):  # tiles are counted while tracing
        return ("reference",)
    if list_of(edges.mask)[0] is not None:
        return ("edges",)
    last = "reference" if edges.shape[0] * edges.shape[1] <= SHORT else "tiled"
    return ("cudnn", last) if jax.default_backend() == "gpu" else (last,)


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger("transformers_jax").warning(message)


def _check(q, k, v, edges: Edges, sinks, dropout: float) -> None:
    (B, T, H, K), (S, G) = q.shape, k.shape[1:3]
    problems = []
    if k.shape != (B, S, G, K) or v.shape[:3] != (B, S, G):
        problems.append(
            f"q {q.shape}, k {k.shape}, v {v.shape} are not [B T H K], [B S G K], [B S G U]"
        )
    if H % G:
        problems.append(f"heads ({H}) must be a multiple of kv_heads ({G})")
    if edges.shape != (T, S):
        problems.append(
            f"the edges join {edges.shape[0]} queries with {edges.shape[1]} keys, not {T} with {S}"
        )
    if sinks is not None and sinks.shape != (H,):
        problems.append(f"sinks {sinks.shape} must be one number per head ({H})")
    if not 0.0 <= dropout < 1.0:
        problems.append(f"dropout ({dropout}) must be at least 0 and below 1")
    if problems:
        raise ValueError("attention: " + "; ".join(problems))
