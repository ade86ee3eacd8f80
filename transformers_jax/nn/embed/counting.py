"""Positions of tokens in rows with padding, counted by what the attention mask says."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax.nn.cache import Cache


def unpadded(mask: Any, shape: tuple[int, int], cache: Cache | None) -> dict[str, Any]:
    """The tag `position` of tokens, counted without padding, which is at -1; none where there is no
    padding."""
    if mask is None and cache is None:
        return {}
    real = jnp.ones(shape, jnp.int32) if mask is None else (jnp.asarray(mask) > 0).astype("int32")
    before: Any = 0
    if cache is not None and (valid := cache.nodes[str(cache.size)].valid) is not None:
        before = valid.sum(1, keepdims=True)
    count = jnp.cumsum(real, axis=1) + before
    return {"position": (count * real - 1).astype(jnp.int32)}
