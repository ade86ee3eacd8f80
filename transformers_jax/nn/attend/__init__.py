"""attend(q, k, v, edges): messages along the edges of a graph, by whichever engine can do it.

`reference` defines the semantics; every other backend computes exactly that or refuses.
"""

from __future__ import annotations

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges
from transformers_jax.nn.attend import reference
from transformers_jax.nn.attend.score import Score, ScoreRule

__all__ = ["Score", "ScoreRule", "attend"]

BACKENDS = {"reference": reference.attend}


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
    how: str = "auto",
) -> Float[Array, "B T H U"]:
    """Each query receives the weighted values of the keys that `edges` lets speak to it.

    Heads are grouped: query head h reads key/value head h // (H / G). No key, no dropout.
    A query without edges receives exactly zero.

    Raises:
        ValueError: if shapes disagree, or if `how` names a backend that cannot compute this graph.
    """
    options = dict(scale=scale, score=score, softcap=softcap, sinks=sinks, dropout=dropout, key=key)
    return BACKENDS["reference" if how == "auto" else how](q, k, v, edges, **options)
