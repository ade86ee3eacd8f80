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

    over: int | tuple[int, ...] = -1

    def __init__(self, norm: spec.Norm, size: int, axis: str = "embed"):
        self._of(norm, axis, {axis: size})

    def _of(self, norm: spec.Norm, axes: str, sizes: spec.Sizes) -> None:
        """The parameters, which have these axes."""
        self.norm = norm
        self.offset = norm.offset if isinstance(norm, spec.RMSNorm) else 0.0
        begins = spec.Draw("constant", 1.0 - self.offset)
        scaled = isinstance(norm, spec.RMSNorm) or norm.scale
        self.scale = param(axes, sizes, begins) if scaled else None
        shifted = isinstance(norm, spec.LayerNorm) and norm.shift
        self.shift = param(axes, sizes, spec.ZEROS) if shifted else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        dtype = wide(x)
        y = x.astype(dtype)
        if isinstance(self.norm, spec.LayerNorm):
            y = y - y.mean(self.over, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(self.over, keepdims=True) + self.norm.eps)
        if self.scale is not None:
            scale = self.scale[...].astype(dtype)
            y = y * (scale + self.offset if self.offset else scale)
        if self.shift is not None:
            y = y + self.shift[...].astype(dtype)
        return y.astype(x.dtype)


class HeadNorm(Norm):
    """See `spec.OfHeads`; of queries or keys [B T H K], whose axis of heads is called `axis`."""

    def __init__(self, of: spec.OfHeads, heads: int, width: int, axis: str):
        self.over = (-2, -1) if of.together else -1
        self._of(of.norm, f"{axis} kv", {axis: heads, "kv": width})


def head_norm(
    norm: spec.Norm | spec.OfHeads | None, heads: int, width: int, axis: str
) -> Norm | None:
    """The norm of queries or keys, if there is one; by itself it is the same for all heads."""
    if isinstance(norm, spec.OfHeads):
        return HeadNorm(norm, heads, width, axis)
    return None if norm is None else Norm(norm, width, "kv")


def unit(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """Vectors of length one in the same direction; a zero vector stays zero."""
    squares = jnp.square(x.astype(wide(x))).sum(-1, keepdims=True)
    # the gradient of a square root at zero is infinite, and infinity times zero is not a number
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return (x / jnp.maximum(length, 1e-12)).astype(x.dtype)
