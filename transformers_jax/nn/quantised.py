"""Numbers stored as int8 with a scale: the keys and values of a cache."""

from __future__ import annotations

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int

MOST = 127  # symmetric: -128 is not used, so that 0 stays 0


def quantise(
    x: Float[Array, "... K"],
) -> tuple[Int[Array, "... K"], Float[Array, "... 1"]]:
    """(whole numbers, scale): each vector divided by its largest absolute number, in 127 steps on
    either side of 0. The error of a number is at most half a step: 1/254 of that largest one."""
    wide = x.astype(jnp.float32)
    scale = jnp.max(jnp.abs(wide), axis=-1, keepdims=True) / MOST
    whole = jnp.round(wide / jnp.where(scale == 0, 1, scale))
    return whole.astype(jnp.int8), scale


def dequantise(
    whole: Int[Array, "... K"], scale: Float[Array, "... 1"], dtype: jnp.dtype
) -> Float[Array, "... K"]:
    """The numbers that `quantise` stored."""
    return (whole.astype(jnp.float32) * scale).astype(dtype)
