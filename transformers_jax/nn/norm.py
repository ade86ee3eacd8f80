"""Normalisation, computed in float32 (or float64, of a stream that is)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.param import param


class Norm(nnx.Module):
    """LayerNorm or RMSNorm over the last axis, whose name is `axis`."""

    def __init__(self, norm: spec.Norm, size: int, axis: str = "embed"):
        self.norm = norm
        self.offset = norm.offset if isinstance(norm, spec.RMSNorm) else 0.0
        begins = spec.Draw("constant", 1.0 - self.offset)
        scaled = isinstance(norm, spec.RMSNorm) or norm.scale
        self.scale = param(axis, {axis: size}, begins) if scaled else None
        shifted = isinstance(norm, spec.LayerNorm) and norm.shift
        self.shift = param(axis, {axis: size}, spec.ZEROS) if shifted else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        dtype = wide(x)
        y = x.astype(dtype)
        if isinstance(self.norm, spec.LayerNorm):
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.norm.eps)
        if self.scale is not None:
            scale = self.scale[...].astype(dtype)
            y = y * (scale + self.offset if self.offset else scale)
        if self.shift is not None:
            y = y + self.shift[...].astype(dtype)
        return y.astype(x.dtype)


def unit(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """Vectors of length one in the same direction; a zero vector stays zero."""
    squares = jnp.square(x.astype(wide(x))).sum(-1, keepdims=True)
    # the gradient of a square root at zero is infinite, and infinity times zero is not a number
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return (x / jnp.maximum(length, 1e-12)).astype(x.dtype)
