"""Convolutions of waveforms: those of a stem, that of positions, and those behind an encoder."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.tokens import Projection
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.grouped_convolution import grouped
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, param

GROUP_EPS = 1e-5  # of torch's norms of convolutions


class StemConvolution(nnx.Module):
    """act(norm(W * x + b)) with a stride, over as many frames as whole kernels fit."""

    def __init__(
        self,
        before: int,
        size: int,
        taps: int,
        stride: int,
        act: str,
        norm: Literal["group", "layer"] | None,
        bias: bool,
    ):
        self.stride, self.taps, self.act = stride, taps, act
        activation(act)  # refuse an unknown one before any work
        sizes = {"taps": taps, "inner": before, "embed": size}
        # He et al. 2015, as the released code draws it
        draw = spec.Draw("normal", (2.0 / (taps * before)) ** 0.5)
        self.weight = param("taps inner embed", sizes, draw)
        draw = spec.Draw("uniform", (taps * before) ** -0.5)
        self.bias = param("embed", sizes, draw) if bias else None
        norms = {"group": lambda: ChannelNorm(size), "layer": lambda: Norm(spec.LayerNorm(), size)}
        self.norm = norms[norm]() if norm else None

    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B S D"]:
        x = windows(x, self.taps, self.stride)
        x = affine("btkc,kcd->btd", x, self.weight, self.bias)
        return activation(self.act)(x if self.norm is None else self.norm(x))


class ChannelNorm(nnx.Module):
    """Each channel of a row normalised over its frames: torch's GroupNorm of as many groups as
    channels."""

    def __init__(self, size: int):
        self.scale = param("embed", {"embed": size}, spec.ONES)
        self.shift = param("embed", {"embed": size}, spec.ZEROS)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        y = x.astype(wide(x))
        y = y - y.mean(1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(1, keepdims=True) + GROUP_EPS)
        y = y * self.scale[...].astype(y.dtype) + self.shift[...].astype(y.dtype)
        return y.astype(x.dtype)


class PositionConvolution(nnx.Module):
    """act(W * x + b): what a frame learns of its place from its neighbours (Baevski et al. 2020,
    section 2). W is g v / |v|, with a factor g for each tap (Salimans and Kingma 2016)."""

    def __init__(self, width: int, taps: int, groups: int, act: str):
        if width % groups:
            raise ValueError(
                f"the width ({width}) must be a multiple of the groups of the convolution of "
                f"positions ({groups})"
            )
        self.taps, self.groups, self.act, part = taps, groups, act, width // groups
        sizes = {"taps": taps, "groups": groups, "inner": part, "embed": part}
        std = 2.0 * (taps * width) ** -0.5
        self.direction = param("taps groups inner embed", sizes, spec.Draw("normal", std))
        # the length of what is drawn, so that W is that at first
        length = std * (width * part) ** 0.5
        self.length = param("taps", sizes, spec.Draw("constant", length))
        self.bias = param("embed", {"embed": width}, spec.ZEROS)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        direction = self.direction[...].astype(wide(x))
        square = jnp.square(direction).sum((1, 2, 3), keepdims=True)
        factor = self.length[...].astype(direction.dtype)[:, None, None, None]
        weight = (direction * (factor * jax.lax.rsqrt(square))).astype(x.dtype)
        return activation(self.act)(add(grouped(x, weight), self.bias))


def windows(x: Float[Array, "B T C"], taps: int, stride: int) -> Float[Array, "B S K C"]:
    """The frames that each step of a convolution reads."""
    steps = (x.shape[1] - taps) // stride + 1
    last = (steps - 1) * stride + 1
    return jnp.stack([x[:, tap : tap + last : stride] for tap in range(taps)], axis=2)


class ConvolutionalAdapter(nnx.Module):
    """Fewer vectors of an encoder's, for a decoder to attend to: gated convolutions with a stride,
    behind a projection to another width where there is one (XLS-R, Babu et al. 2021)."""

    def __init__(
        self,
        width: int,
        out: int,
        count: int,
        taps: int,
        stride: int,
        initial: spec.Initial,
    ):
        self.width, self.taps, self.stride = out, taps, stride
        self.project = Projection(width, out, initial) if out != width else None
        self.project_norm = Norm(spec.LayerNorm(), out) if out != width else None
        self.convs = nnx.List([GatedConvolution(out, taps, stride) for _ in range(count)])

    def lengths(self, lengths: Any) -> Any:
        """How many of the vectors are of input, of so many tokens."""
        for _ in self.convs:
            lengths = (lengths - 1) // self.stride + 1
        return lengths

    def steps(self, length: Any) -> Any:
        """How many vectors there are of so many tokens, padding included."""
        for _ in self.convs:
            length = (length + 2 - self.taps) // self.stride + 1
        return length

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B S E"]:
        if self.project is not None and self.project_norm is not None:
            x = self.project_norm(self.project(x))
        for convolve in self.convs:
            x = convolve(x)
        return x


class GatedConvolution(nnx.Module):
    """(W * x + b) sigmoid(V * x + c), with one step of zeros at each end (Dauphin et al. 2017)."""

    def __init__(self, width: int, taps: int, stride: int):
        self.taps, self.stride = taps, stride
        sizes = {"taps": taps, "inner": width, "mlp": 2 * width}
        self.weight = param("taps inner mlp", sizes, spec.Draw("normal", (2 / taps / width) ** 0.5))
        self.bias = param("mlp", sizes, spec.Draw("uniform", (taps * width) ** -0.5))

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B S D"]:
        x = windows(jnp.pad(x, ((0, 0), (1, 1), (0, 0))), self.taps, self.stride)
        x = affine("btkc,kcd->btd", x, self.weight, self.bias)
        x, gate = jnp.split(x, 2, axis=-1)
        return x * jax.nn.sigmoid(gate)
