"""Residual blocks of convolutions (He et al. 2015), each followed by a batch norm.

y = act(shortcut(x) + convolutions(x))
"""

from __future__ import annotations

from dataclasses import dataclass

from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.image.batch_norm import BatchNorm
from transformers_jax.nn.image.convolve import Convolve, Padding, max_pool, out_size
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.residual import Residual
from transformers_jax.nn.stages import on_grid


class ConvolvedNorm(nnx.Module):
    """act(norm(W * x))."""

    def __init__(
        self,
        inner: int,
        out: int,
        kernel: int,
        initial: spec.Initial,
        stride: int = 1,
        act: str = "linear",
    ):
        self.act = act
        activation(act)  # refuse an unknown one before any work
        size, step = (kernel, kernel), (stride, stride)
        self.convolution = Convolve(inner, out, size, initial, stride=step)
        self.norm = BatchNorm(out)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        return activation(self.act)(self.norm(self.convolution(x)))


@dataclass(frozen=True)
class Kernels:
    """The convolutions of a block: (kernel, width of its result, stride) of each.

    Attributes:
        activation: of the block, behind its sum; between its convolutions it is relu whatever this
            is (transformers' `hidden_act`).
    """

    steps: tuple[tuple[int, int, int], ...]
    activation: str = "relu"

    def flops(self, width: int, rows: int, columns: int) -> float:
        """FLOPs over a grid of so many rows and columns."""
        total = 0.0
        for kernel, out, stride in self.steps:
            rows, columns = (out_size(n, kernel, stride, "half") for n in (rows, columns))
            total, width = total + 2.0 * rows * columns * kernel**2 * width * out, out
        return total

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The grid that they make of one of so many rows and columns."""
        for kernel, _, stride in self.steps:
            rows, columns = (out_size(n, kernel, stride, "half") for n in (rows, columns))
        return rows, columns

    def build(self, width: int, initial: spec.Initial) -> nnx.List:
        """Their modules; the last one has no activation."""
        layers, last = [], len(self.steps) - 1
        for number, (kernel, out, stride) in enumerate(self.steps):
            act = "linear" if number == last else "relu"
            layers.append(ConvolvedNorm(width, out, kernel, initial, stride, act))
            width = out
        return nnx.List(layers)

    def describe(self) -> str:
        """What they are, in a few words."""
        names = (f"{k} x {k} to {out}{f' by {s}' if s > 1 else ''}" for k, out, s in self.steps)
        return f"convolutions {', '.join(names)}, batch norm, {self.activation}"


@dataclass(frozen=True)
class KernelsSpec(spec.OpSpec):
    """The convolutions of a residual block that changes neither grid nor width."""

    kernels: Kernels

    def build(self, width, initial, source=None):
        return KernelsOp(self.kernels, width, initial)

    def flops(self, width, queries, keys, edges):
        return spec.OpFlops(self.kernels.flops(width, queries, 1))  # of any shape the same

    def describe(self):
        return self.kernels.describe()


class KernelsOp(Op):
    """See `KernelsSpec`."""

    def __init__(self, kernels: Kernels, width: int, initial: spec.Initial):
        self.layers = kernels.build(width, initial)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        y = on_grid(x, context.nodes)
        for layer in self.layers:
            y = layer(y)
        return OpResult(y.reshape(x.shape))


@dataclass(frozen=True)
class Rectified(spec.ResidualSpec):
    """act(x + y): the activation stands behind the sum."""

    activation: str = "relu"

    def build(self, width, initial):
        return RectifiedSum(self)


class RectifiedSum(Residual):
    """See `Rectified`."""

    def __init__(self, rectified: Rectified):
        self.spec = rectified

    def __call__(self, x, y, context):
        return activation(self.spec.activation)(x + y)


@dataclass(frozen=True)
class Transition(spec.GridOpSpec):
    """A residual block that changes the grid or the width: its shortcut is a convolution of single
    pixels with the stride of the block (He et al. 2015, section 3.3, option B)."""

    kernels: Kernels
    stride: int

    @property
    def out(self) -> int:  # type: ignore[override]
        return self.kernels.steps[-1][1]

    def build(self, width, initial):
        return TransitionBlock(self, width, initial)

    def size(self, rows, columns):
        return self.kernels.size(rows, columns)

    def flops(self, width, rows, columns):
        high, wide_ = self.size(rows, columns)
        return self.kernels.flops(width, rows, columns) + 2.0 * high * wide_ * width * self.out

    def describe(self):
        return self.kernels.describe()


class TransitionBlock(nnx.Module):
    """See `Transition`."""

    def __init__(self, transition: Transition, width: int, initial: spec.Initial):
        self.act = transition.kernels.activation
        self.layers = transition.kernels.build(width, initial)
        self.shortcut = ConvolvedNorm(width, transition.out, 1, initial, transition.stride)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        y = x
        for layer in self.layers:
            y = layer(y)
        return activation(self.act)(self.shortcut(x) + y)


class Stem(nnx.Module):
    """act(norm(W * x)), and the greatest of 3 x 3 pixels of it (He et al. 2015, table 1), around
    which there is a `margin` of nothing, or none."""

    def __init__(
        self,
        channels: int,
        width: int,
        initial: spec.Initial,
        act: str,
        margin: Padding = "half",
    ):
        self.first, self.margin = ConvolvedNorm(channels, width, 7, initial, 2, act), margin

    def flops(self, tokens: int) -> float:
        """FLOPs of so many tokens, of which each was chosen from four pixels."""
        return 2.0 * 4 * tokens * self.first.convolution.weight.size

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The grid that it makes of an image of so many pixels."""
        after = [out_size(n, 7, 2, "half") for n in (rows, columns)]
        high, wide_ = (out_size(n, 3, 2, self.margin) for n in after)
        return high, wide_

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        return max_pool(self.first(x), 3, 2, self.margin)
