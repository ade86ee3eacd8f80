"""Scores in place of the scaled product, and what the features of an edge add: to its score, and to
the value that is sent along it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn.attend import MessageRule, ScoreRule
from transformers_jax.nn.sinusoidal import unsigned


@dataclass(frozen=True)
class EdgeRule(ScoreRule):
    """score[h, t, s] = features of the edge (t, s) times a matrix, or the row of its category."""

    features: spec.EdgeFeatures

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.features.pairs,)

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        weight, values = params["weight"], pairs[self.features.pairs]
        if self.features.categories:
            rows = jnp.take(weight, unsigned(values), axis=0, mode="fill", fill_value=jnp.nan)
            return jnp.moveaxis(rows, -1, 1)
        return jnp.einsum("btsf,fh->bhts", values.astype(weight.dtype), weight)


@dataclass(frozen=True)
class AdditiveRule(ScoreRule):
    """score[h, t, s] = v[h] . act(q[t, h] + k[s, g] + features of the edge times W[h]), g being the
    key/value head of h, in place of the scaled product (Bahdanau et al. 2014, A.1.2).

    `params` may have the "vector" v, [H K], in whose place the sum over K is taken where there is
    none; and the matrix W as "edges", [F H K].
    """

    additive: spec.Additive = spec.Additive()
    replaces = True

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.additive.features is None else self.additive.features[:1]

    def __call__(self, params, q, k, qn, kn, pairs) -> Float[Array, "b H t s"]:
        (b, t, H, K), (s, G), leak = q.shape, k.shape[1:3], self.additive.leak
        inner = q.reshape(b, t, 1, G, H // G, K) + k[:, None, :, :, None].astype(q.dtype)
        for name in self.pairs:
            more = jnp.einsum("btsf,fhk->btshk", pairs[name].astype(q.dtype), params["edges"])
            inner = inner + more.reshape(*more.shape[:3], G, H // G, K).astype(q.dtype)
        inner = jnp.tanh(inner) if leak is None else jax.nn.leaky_relu(inner, leak)
        inner = inner.astype(wide(q))
        if (v := params.get("vector")) is None:
            scores = jnp.moveaxis(inner.sum(-1), (3, 4), (1, 2))
        else:
            v = v.reshape(G, H // G, K).astype(wide(q))
            scores = jnp.einsum("btsgrk,grk->bgrts", inner, v)
        return scores.reshape(b, H, t, s)


@dataclass(frozen=True)
class EdgeKeyRule(ScoreRule):
    """score[h, t, s] = scale * q[t, h] . (features of the edge times W[h]): what the features of an
    edge add to its key (Shi et al. 2020, equation 3); `params` has W as "edges", [F H K]."""

    features: str
    scale: float

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.features,)

    def __call__(self, params, q, k, qn, kn, pairs) -> Float[Array, "b H t s"]:
        values, weight = pairs[self.features].astype(q.dtype), params["edges"].astype(q.dtype)
        asked = jnp.einsum("bthk,fhk->bthf", q, weight)
        return jnp.einsum("bthf,btsf->bhts", asked, values).astype(wide(q)) * self.scale


@dataclass(frozen=True)
class EdgeValueRule(MessageRule):
    """The features of the edge times W[h], added to the value that is sent along it (Shi et al.
    2020, equation 4); `params` has W as "edges", [F H U]."""

    features: str

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.features,)

    def __call__(self, params, qn, kn, pairs) -> Float[Array, "b t s H U"]:
        weight = params["edges"]
        return jnp.einsum("btsf,fhu->btshu", pairs[self.features].astype(weight.dtype), weight)
