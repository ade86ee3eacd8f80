"""The plain attention that defines the semantics all backends must share.

    scores = q . k * scale + score(q, k)       (or the score instead of the product, if it replaces)
    scores = softcap * tanh(scores / softcap)
    weight = exp(scores) / (sum over edges of exp(scores) + exp(sink))        in float32
    output = dropout(weight) . v

A query without a single edge receives exactly zero and sends back exactly zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Float, wide
from transformers_jax.graph import Edges
from transformers_jax.nn import noise


def scores_of(q, k, edges: Edges, *, scale, score=None, softcap=None) -> Float[Array, "b H t s"]:
    """The scores of all queries and keys, in float32."""
    B, T, H, K = q.shape
    G = k.shape[2]
    if score is not None and score.replaces:
        scores = score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    else:
        groups = q.reshape(B, T, G, H // G, K)
        scores = jnp.einsum("btgrk,bsgk->bgrts", groups, k, preferred_element_type=wide(q))
        scores = scores.reshape(B, H, T, k.shape[1]) * scale
        if score is not None:
            scores = scores + score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    return scores if softcap is None else softcap * jnp.tanh(scores / softcap)


def weights_of(q, k, edges: Edges, *, scale, score=None, softcap=None, sinks=None):
    """The attention weights Float[B H T S], float32, zero where there is no edge."""
    scores = scores_of(q, k, edges, scale=scale, score=score, softcap=softcap)
    allowed = edges.allowed()[:, None]
    scores = jnp.where(allowed, scores, MASKED)
    highest = scores.max(-1, keepdims=True)
    if sinks is not None:
        sinks = sinks.astype(wide(q))[None, :, None, None]
        highest = jnp.maximum(highest, sinks)
    highest = jax.lax.stop_gradient(highest)
    weights = jnp.where(allowed, jnp.exp(scores - highest), 0.0)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + jnp.exp(sinks - highest)
    return weights / jnp.where(total > 0, total, 1.0)


def attend_with_weights(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None
) -> tuple[Float[Array, "B T H U"], Float[Array, "B H T S"]]:
    """Output and the weights before dropout."""
    weights = weights_of(q, k, edges, scale=scale, score=score, softcap=softcap, sinks=sinks)
    B, H, T, S = weights.shape
    G = k.shape[2]
    kept = weights
    if key is not None and dropout > 0.0:
        places = (jnp.arange(B)[:, None, None, None], jnp.arange(H)[:, None, None])
        places += (jnp.arange(T)[:, None], jnp.arange(S))
        kept = jnp.where(noise.keep(dropout, key, *places), weights / (1.0 - dropout), 0.0)
    kept = kept.reshape(B, G, H // G, T, S).astype(v.dtype)
    out = jnp.einsum("bgrts,bsgu->btgru", kept, v)
    return out.reshape(B, T, H, v.shape[-1]).astype(q.dtype), weights


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    return attend_with_weights(q, k, v, edges, **options)[0]
