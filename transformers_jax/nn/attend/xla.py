"""`jax.nn.dot_product_attention`, on every platform, with what it gets wrong put right or refused.

It is told the matrix of edges, not words: its `is_causal` is aligned to the first key, which is
wrong for a query that continues a cache. A query without edges gets the mean of all values from
it, padding included; here it is set to zero, which also stops its gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.graph import Edges, Full
from transformers_jax.graph.lower import Refused


def refuse_extras(v, *, width, score_ok, score, softcap, sinks, dropout, key) -> None:
    """Raises `Refused` for what `jax.nn.dot_product_attention` has no place for."""
    if v.shape[-1] != width:
        raise Refused(f"values are as wide as queries there, not {v.shape[-1]} beside {width}")
    if score is not None and (not score_ok or score.replaces):
        raise Refused(f"the score rule {type(score.rule).__name__} has no place there")
    if softcap is not None:
        raise Refused("it has no soft cap of scores")
    if sinks is not None:
        raise Refused("it has no attention sinks")
    if key is not None and dropout > 0.0:
        raise Refused("its dropout would not drop the same edges as the other backends")


def attend(
    q, k, v, edges: Edges, *, scale, score=None, softcap=None, sinks=None, dropout=0.0, key=None
) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    refuse_extras(
        v, width=q.shape[-1], score_ok=True, score=score, softcap=softcap, sinks=sinks,
        dropout=dropout, key=key,
    )  # fmt: skip
    bias = None if score is None else score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    if isinstance(edges.mask, Full) and edges.k.valid is None:
        return jax.nn.dot_product_attention(q, k, v, bias, scale=scale, implementation="xla")
    allowed = edges.allowed()
    out = jax.nn.dot_product_attention(
        q, k, v, bias, allowed[:, None], scale=scale, implementation="xla"
    )
    return jnp.where(allowed.any(-1)[:, :, None, None], out, 0).astype(q.dtype)
