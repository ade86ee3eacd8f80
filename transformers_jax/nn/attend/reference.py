"""The plain attention that defines the semantics all backends must share.

    scores = q . k * scale + score(q, k)       (or the score instead of the product, if it replaces)
    scores = softcap * tanh(scores / softcap)
    weight = exp(scores) / (sum over edges of exp(scores) + exp(sink))        in float32
    output = dropout(weight) . (v + message)

A query without a single edge receives exactly zero, and its gradient is exactly zero. An edge that
a graph has several times (`graph.listed`) counts as often.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Float, capped, wide
from transformers_jax.graph import Edges, matrices, repeats
from transformers_jax.nn import noise
from transformers_jax.nn.attend.score import Weighting


def scores_of(q, k, edges: Edges, weighting: Weighting) -> Float[Array, "b H t s"]:
    """The scores of all queries and keys, in float32."""
    B, T, H, K = q.shape
    G, score = k.shape[2], weighting.score
    if score is not None and score.replaces:
        scores = score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    else:
        groups = q.reshape(B, T, G, H // G, K)
        scores = jnp.einsum("btgrk,bsgk->bgrts", groups, k, preferred_element_type=wide(q))
        scores = scores.reshape(B, H, T, k.shape[1]) * weighting.scale
        if score is not None:
            scores = scores + score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    return capped(scores, weighting.softcap)


def weights_of(q, k, edges: Edges, weighting: Weighting) -> Float[Array, "B H T S"]:
    """The attention weights, in float32; zero where there is no edge."""
    edges = matrices(edges)
    scores, sinks = scores_of(q, k, edges, weighting), weighting.sinks
    allowed = edges.allowed()[:, None]
    scores = jnp.where(allowed, scores, MASKED)
    highest = scores.max(-1, keepdims=True)
    if sinks is not None:
        sinks = sinks.astype(wide(q))[None, :, None, None]
        highest = jnp.maximum(highest, sinks)
    highest = jax.lax.stop_gradient(highest)
    weights = jnp.where(allowed, jnp.exp(scores - highest), 0.0)
    if (times := repeats(edges.mask, edges.pairs)) is not None:
        weights = weights * times[:, None].astype(weights.dtype)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + jnp.exp(sinks - highest)
    return weights / jnp.where(total > 0, total, 1.0)


def attend_with_weights(
    q, k, v, edges: Edges, **options
) -> tuple[Float[Array, "B T H U"], Float[Array, "B H T S"]]:
    """Output and the weights before dropout; the options are those of a `Weighting`."""
    weighting, edges = Weighting(**options), matrices(edges)
    weights = weights_of(q, k, edges, weighting)
    (B, H, T, S), G, dropout = weights.shape, k.shape[2], weighting.dropout
    remaining = weights
    if weighting.drops:
        index = (jnp.arange(B)[:, None, None, None], jnp.arange(H)[:, None, None])
        index += (jnp.arange(T)[:, None], jnp.arange(S))
        keep = noise.keep(dropout, weighting.key, *index)
        remaining = jnp.where(keep, weights / (1.0 - dropout), 0.0)
    grouped = remaining.reshape(B, G, H // G, T, S).astype(v.dtype)
    out = jnp.einsum("bgrts,bsgu->btgru", grouped, v).reshape(B, T, H, v.shape[-1])
    if weighting.message is not None:
        more = weighting.message(edges.q, edges.k, edges.pairs)
        more = jnp.where(edges.allowed()[..., None, None], more, 0.0)
        out = out + jnp.einsum("bhts,btshu->bthu", remaining.astype(more.dtype), more)
    return out.astype(q.dtype), weights


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    return attend_with_weights(q, k, v, edges, **options)[0]
