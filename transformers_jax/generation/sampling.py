"""Sampling: the draw from what processors leave of the distribution."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int, Key, top_k


def draw(key: Key, scores: Float[Array, "R V"]) -> Int[Array, " R"]:
    """One token a row, with the probabilities softmax(scores)."""
    return jax.random.categorical(key, scores, axis=-1)


def draw_without_replacement(
    key: Key, scores: Float[Array, "R V"], count: int
) -> tuple[Float[Array, "R count"], Int[Array, "R count"]]:
    """`count` different tokens a row, drawn one after the other; their scores and indices.

    The largest of scores plus Gumbel noise are such a draw (Kool et al. 2019, section 2).
    """
    noise = jax.random.gumbel(key, scores.shape, scores.dtype)
    index = top_k(scores + noise, count)[1]
    return jnp.take_along_axis(scores, index, axis=-1), index
