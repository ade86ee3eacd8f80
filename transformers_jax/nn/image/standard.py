"""The ResNet in front of hybrid ViTs (Kolesnikov et al. 2019, BiT): convolutions with standardised
weights, group norm, and TensorFlow's padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.inputs.checks import OtherSize
from transformers_jax.nn.image.convolve import Convolve, convolve, max_pool, out_size
from transformers_jax.nn.image.stem import StemEmbedder, StemSpec, check_images
from transformers_jax.nn.param import param

GROUPS = 32
EPS = {"weights": 1e-8, "groups": 1e-5}


class StandardConvolve(Convolve):
    """W' * x, where the weights of each output have mean 0 and variance 1 (Qiao et al. 2019)."""

    def __init__(self, inner: int, out: int, kernel: int, stride: int, initial: spec.Initial):
        size, step = (kernel, kernel), (stride, stride)
        super().__init__(inner, out, size, initial, stride=step, padding="same")

    def __call__(self, x):
        w = self.weight[...].astype(wide(self.weight[...]))
        w = w - w.mean((0, 1, 2))
        w = w * jax.lax.rsqrt(jnp.square(w).mean((0, 1, 2)) + EPS["weights"])
        return convolve(x, self.weight, self.stride, self.padding, w)


class GroupNorm(nnx.Module):
    """Each of 32 groups of channels of an image normalised (Wu and He 2018)."""

    def __init__(self, width: int):
        if width % GROUPS:
            raise ValueError(f"a group norm of {GROUPS} groups does not divide {width} channels")
        self.scale = param("embed", {"embed": width}, spec.ONES)
        self.shift = param("embed", {"embed": width}, spec.ZEROS)

    def __call__(self, x: Float[Array, "B H W D"]) -> Float[Array, "B H W D"]:
        dtype = wide(x)
        parts = x.astype(dtype).reshape(*x.shape[:-1], GROUPS, -1)
        parts = parts - parts.mean((1, 2, 4), keepdims=True)
        squares = jnp.square(parts).mean((1, 2, 4), keepdims=True)
        y = (parts * jax.lax.rsqrt(squares + EPS["groups"])).reshape(x.shape)
        return (y * self.scale[...].astype(dtype) + self.shift[...].astype(dtype)).astype(x.dtype)


class StandardBlock(nnx.Module):
    """relu(shortcut(x) + convolutions of 1 x 1, 3 x 3 and 1 x 1 pixels)."""

    def __init__(self, inner: int, out: int, stride: int, first: bool, initial: spec.Initial):
        narrow = narrowed(out)
        self.conv1 = StandardConvolve(inner, narrow, 1, 1, initial)
        self.conv2 = StandardConvolve(narrow, narrow, 3, stride, initial)
        self.conv3 = StandardConvolve(narrow, out, 1, 1, initial)
        self.norm1, self.norm2, self.norm3 = (GroupNorm(n) for n in (narrow, narrow, out))
        self.short = StandardConvolve(inner, out, 1, stride, initial) if first else None
        self.short_norm = GroupNorm(out) if first else None

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = jax.nn.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.short is not None and self.short_norm is not None:
            x = self.short_norm(self.short(x))
        return jax.nn.relu(x + y)


def narrowed(width: int) -> int:
    """A quarter, as a multiple of 8 (timm's make_divisible)."""
    quarter = width / 4
    near = max(8, int(quarter + 4) // 8 * 8)
    return near + 8 if near < 0.9 * quarter else near


@dataclass(frozen=True)
class Backbone:
    """A ResNet: a stem of so many channels, and stages of blocks; without these, the stem alone."""

    channels: int
    stem: int
    layers: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """The channels of its result."""
        return (self.stem, *self.widths)[len(self.layers)]

    @property
    def blocks(self) -> list[tuple[int, int, int, int, int]]:
        """(stage, number in it, channels that enter, that leave, stride) of each block."""
        blocks, before = [], self.stem
        for stage, (depth, width) in enumerate(zip(self.layers, self.widths)):
            for number in range(depth):
                stride = 2 if stage and not number else 1
                blocks.append((stage, number, before, width, stride))
                before = width
        return blocks

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The size of its result for an image of so many pixels."""
        strides = (2, 2, *(stride for *_, stride in self.blocks))
        for stride in strides:
            rows, columns = (out_size(n, 1, stride, "same") for n in (rows, columns))
        return rows, columns


class BackboneNet(nnx.Module):
    """See `Backbone`."""

    def __init__(self, backbone: Backbone, initial: spec.Initial):
        self.spec = backbone
        self.conv = StandardConvolve(backbone.channels, backbone.stem, 7, 2, initial)
        self.norm = GroupNorm(backbone.stem)
        self.blocks = nnx.List(
            StandardBlock(inner, out, stride, number == 0, initial)
            for _, number, inner, out, stride in backbone.blocks
        )

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        x = max_pool(jax.nn.relu(self.norm(self.conv(x))), 3, 2, "same")
        for block in self.blocks:
            x = block(x)
        return x

    def flops(self, rows: int, columns: int) -> float:
        """FLOPs of the convolutions over an image of so many pixels."""
        area = lambda size: float(math.prod(size))
        size = (-(-rows // 2), -(-columns // 2))
        total = area(size) * self.conv.weight.size
        size = (-(-size[0] // 2), -(-size[1] // 2))
        for block, (*_, stride) in zip(self.blocks, self.spec.blocks):
            total += area(size) * block.conv1.weight.size
            size = (-(-size[0] // stride), -(-size[1] // stride))
            shortcut = 0 if block.short is None else block.short.weight.size
            total += area(size) * (block.conv2.weight.size + block.conv3.weight.size + shortcut)
        return 2.0 * total


class HybridEmbedder(StemEmbedder):
    """Patches of what a ResNet makes of an image; `stem.image` is the size of that."""

    def __init__(self, stem: StemSpec, backbone: Backbone, image: tuple[int, int]):
        super().__init__(stem)
        self.net, self.pixels = BackboneNet(backbone, stem.initial), image

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = check_images(pixels, self.net.spec.channels)
        grid = self.grid_of(self.net.spec.size(*shape[2:]))
        interpolates = inputs.get(f"{prefix}interpolate_pos_encoding")
        if 0 in grid or (grid != self.rows.grid and not interpolates):
            patch = [pixels // cells for pixels, cells in zip(self.pixels, self.rows.grid)]
            raise OtherSize(shape[2:], self.pixels, patch)
        return shape[0], int(self.spec.front) + math.prod(grid)

    def project(self, pixels, dtype):
        x = self.net(jnp.moveaxis(pixels, 1, -1).astype(dtype))
        return super().project(jnp.moveaxis(x, -1, 1), dtype)

    def flops(self, tokens):
        patch: Any = self.patch
        return self.net.flops(*self.pixels) + 2.0 * tokens * float(np.prod(patch.shape))
