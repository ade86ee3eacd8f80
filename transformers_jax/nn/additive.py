"""Additive attention, the first there was: a small network scores a query and a key.

    score[h, t, s] = v[h] . tanh(q[t, h] + k[s, g])         g: the key/value head of h

Bahdanau et al. 2014, section 3.1 and appendix A.1.2. The score takes the place of the scaled dot
product, and everything else is `attend` as always: masks, backends, dropout, weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from transformers_jax.arrays import Float, wide
from transformers_jax.nn.attend.score import ScoreRule


@dataclass(frozen=True)
class AdditiveRule(ScoreRule):
    """v . tanh(q + k), where `params` has the "vector" v, [H K]."""

    replaces = True

    def __call__(self, params, q, k, qn, kn, pairs) -> Float[jnp.ndarray, "b H t s"]:
        (b, t, H, K), G = q.shape, k.shape[2]
        groups = q.reshape(b, t, 1, G, H // G, K)
        inner = jnp.tanh(groups + k[:, None, :, :, None].astype(q.dtype))
        v = params["vector"].reshape(G, H // G, K).astype(wide(q))
        scores = jnp.einsum("btsgrk,grk->bgrts", inner.astype(wide(q)), v)
        return scores.reshape(b, H, t, k.shape[1])
