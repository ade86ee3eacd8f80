"""`jax.nn.dot_product_attention`, on every platform, with what it gets wrong put right or refused.

It is passed the matrix of edges, not a kind of mask: its `is_causal` is aligned to the first key,
which is wrong for a query that continues a cache. A query without edges gets the mean of all values
from it, padding included; here it is set to zero, which also stops its gradient.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.graph import Edges, Full
from transformers_jax.graph.lower import Refused
from transformers_jax.nn.attend.score import Weighting


def refuse_extras(q, v, weighting: Weighting, *, scores: bool) -> None:
    """Raises `Refused` for what `jax.nn.dot_product_attention` cannot compute; `scores` says
    whether something may be added to the scores."""
    score, widths = weighting.score, (v.shape[-1], q.shape[-1])
    if widths[0] != widths[1]:
        raise Refused("values are as wide as queries there, not {} beside {}".format(*widths))
    if score is not None and (not scores or score.replaces):
        raise Refused(f"the score rule {type(score.rule).__name__} has no place there")
    if weighting.softcap is not None:
        raise Refused("it has no soft cap of scores")
    if weighting.sinks is not None:
        raise Refused("it has no attention sinks")
    if weighting.drops:
        raise Refused("its dropout would not drop the same edges as the other backends")


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """See `transformers_jax.nn.attend.attend`."""
    weighting = Weighting(**options)
    refuse_extras(q, v, weighting, scores=True)
    score, bias = weighting.score, None
    if score is not None:
        bias = score(q, k, edges.q, edges.k, edges.pairs).astype(wide(q))
    call = partial(jax.nn.dot_product_attention, scale=weighting.scale, implementation="xla")
    if isinstance(edges.mask, Full) and edges.k.valid is None:
        return call(q, k, v, bias)
    allowed = edges.allowed()
    out = call(q, k, v, bias, allowed[:, None])
    return jnp.where(allowed.any(-1)[:, :, None, None], out, 0).astype(q.dtype)
