"""What makes a grid coarser between two stages: merging patches, and strided convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.image.convolve import Convolve
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import contract, param


@dataclass(frozen=True)
class Merge(spec.GridOpSpec):
    """The tokens of 2 x 2 patches side by side, projected to `out` numbers (Liu et al. 2021, 3.1);
    the norm is in front of the projection, or behind it (Swin V2). Odd sides are padded."""

    out: int
    norm: spec.Norm
    behind: bool = False

    def build(self, width, initial):
        return PatchMerging(self, width, initial)

    def size(self, rows, columns):
        return -(-rows // 2), -(-columns // 2)

    def flops(self, width, rows, columns):
        high, wide = self.size(rows, columns)
        return 2.0 * high * wide * 4 * width * self.out

    def describe(self):
        return f"2 x 2 patches merged to {self.out} numbers"


class PatchMerging(nnx.Module):
    """See `Merge`."""

    def __init__(self, merge: Merge, width: int, initial: spec.Initial):
        self.merge = merge
        sizes = {"inner": 4 * width, "embed": merge.out}
        self.weight = param("inner embed", sizes, initial.draw("merge", sizes))
        self.norm = Norm(merge.norm, merge.out if merge.behind else 4 * width)

    def __call__(self, x: Float[Array, "B H W D"]) -> Float[Array, "B h w E"]:
        odd = [(0, length % 2) for length in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), *odd, (0, 0)))
        corners = [x[:, row::2, column::2] for column in range(2) for row in range(2)]
        x = jnp.concatenate(corners, -1)
        x = contract("bhwi,id->bhwd", x if self.merge.behind else self.norm(x), self.weight)
        return self.norm(x) if self.merge.behind else x


@dataclass(frozen=True)
class Shrink(spec.GridOpSpec):
    """A norm, and a convolution whose kernel is as large as its stride (Liu et al. 2022, 2.6)."""

    out: int
    norm: spec.Norm
    stride: int = 2

    def build(self, width, initial):
        return Shrinking(self, width, initial)

    def size(self, rows, columns):
        return rows // self.stride, columns // self.stride

    def flops(self, width, rows, columns):
        high, wide = self.size(rows, columns)
        return 2.0 * high * wide * self.stride**2 * width * self.out

    def describe(self):
        return f"{self.stride} x {self.stride} patches convolved to {self.out} numbers"


class Shrinking(nnx.Module):
    """See `Shrink`."""

    def __init__(self, shrink: Shrink, width: int, initial: spec.Initial):
        self.norm, step = Norm(shrink.norm, width), (shrink.stride, shrink.stride)
        self.convolution = Convolve(
            width, shrink.out, step, initial, stride=step, padding="none", bias=True
        )

    def __call__(self, x: Float[Array, "B H W D"]) -> Float[Array, "B h w E"]:
        return self.convolution(self.norm(x))
