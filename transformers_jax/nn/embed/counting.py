"""Positions of tokens in rows with padding, counted without it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Int
from transformers_jax.nn.cache import Cache


def unpadded(mask: Any, shape: tuple[int, int], cache: Cache | None) -> dict[str, Any]:
    """The tag `position` of tokens, counted by the attention mask, padding at -1; none where there
    is no mask."""
    if mask is None and cache is None:
        return {}
    real = jnp.ones(shape, jnp.int32) if mask is None else (jnp.asarray(mask) > 0).astype("int32")
    before: Any = 0
    if cache is not None:  # rings have forgotten the first tokens, but not the last
        nodes = next(iter(cache.nodes.values()))
        last = jnp.where(jnp.asarray(nodes.valid), nodes.tags["position"], -1)
        before = last.max(axis=1, keepdims=True) + 1
    count = jnp.cumsum(real, axis=1) + before
    return {"position": (count * real - 1).astype(jnp.int32)}


def among_real(
    ids: Int[Array, "B T"], padding: int, start: Int[Array, ""] | Int[Array, "B 1"] | int
) -> Int[Array, "B T"]:
    """The positions of tokens, counted without those of the id `padding`, which are at -1; `start`
    came before."""
    real = ids != padding
    return jnp.where(real, jnp.cumsum(real, axis=1) - 1 + start, -1).astype(jnp.int32)
