"""Maps of features at several resolutions: what makes them of one, and what joins them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.grid import AreaMean, Resampling, resample
from transformers_jax.nn.image.batch_norm import BatchNorm
from transformers_jax.nn.image.convolve import max_pool
from transformers_jax.nn.image.residual import ConvolvedNorm
from transformers_jax.nn.matrices import matrix_flops
from transformers_jax.nn.param import add, contract, param

LEVELS = 4
BILINEAR = Resampling("bilinear")

Map = Float[Array, "B h w D"]


def resized(x: Map, like: Map) -> Map:
    """The map at the resolution of another, bilinear."""
    return resample(x, (like.shape[1], like.shape[2]), BILINEAR)


class Enlarge(nnx.Module):
    """Each point becomes 2 x 2: a transposed convolution whose kernel is as large as its stride."""

    def __init__(self, width: int, initial: spec.Initial):
        sizes = {"kernel_rows": 2, "kernel_columns": 2, "inner": width, "embed": width}
        draw = initial.draw("convolution", sizes)
        self.weight = param("kernel_rows kernel_columns inner embed", sizes, draw)
        self.bias = param("embed", sizes, spec.ZEROS)

    def __call__(self, x: Map) -> Map:
        y = contract("bhwc,pqcd->bhpwqd", x, self.weight)
        images, rows, _, columns, _, width = y.shape
        return add(y.reshape(images, 2 * rows, 2 * columns, width), self.bias)


class Neck(nnx.Module):
    """Four maps of one resolution become a pyramid: four times, twice, once and half of it (Bao et
    al. 2021, the released code for segmentation)."""

    def __init__(self, width: int, initial: spec.Initial):
        self.first = Enlarge(width, initial)
        self.norm = BatchNorm(width)
        self.second = Enlarge(width, initial)
        self.once = Enlarge(width, initial)

    def __call__(self, maps: Sequence[Map]) -> list[Map]:
        four, twice, same, half = maps
        four = self.second(activation("gelu")(self.norm(self.first(four))))
        return [four, self.once(twice), same, max_pool(half, 2, 2, "none")]

    def flops(self, points: float) -> float:
        """FLOPs of maps of so many points."""
        first, second, once = (matrix_flops(m) for m in (self.first, self.second, self.once))
        return points * (first + 4 * second + once)


class PyramidPooling(nnx.Module):
    """A map beside its means over n x n regions, for every n of `scales`, each convolved (Zhao et
    al. 2016, PSPNet, section 3.2)."""

    def __init__(self, width: int, scales: Sequence[int], initial: spec.Initial):
        self.scales = tuple(scales)
        branches = [ConvolvedNorm(width, width, 1, initial, act="relu") for _ in scales]
        self.branches = nnx.List(branches)
        inner = width * (1 + len(self.scales))
        self.bottleneck = ConvolvedNorm(inner, width, 3, initial, act="relu")

    def __call__(self, x: Map) -> Map:
        parts = [x]
        for scale, branch in zip(self.scales, self.branches):
            parts.append(resized(branch(resample(x, (scale, scale), AreaMean())), x))
        return self.bottleneck(jnp.concatenate(parts, -1))

    def flops(self, points: float) -> float:
        """FLOPs of a map of so many points."""
        pooled = sum(n**2 * matrix_flops(b) for n, b in zip(self.scales, self.branches))
        return pooled + points * matrix_flops(self.bottleneck)


class UperDecoder(nnx.Module):
    """UPerNet (Xiao et al. 2018, section 3.2): pyramid pooling of the coarsest of four maps, a way
    down to the finest (a feature pyramid network), and all of them side by side, convolved."""

    def __init__(self, width: int, scales: Sequence[int], initial: spec.Initial):
        of = lambda kernel, inner=width: ConvolvedNorm(inner, width, kernel, initial, act="relu")
        self.pooling = PyramidPooling(width, scales, initial)
        self.laterals = nnx.List([of(1) for _ in range(LEVELS - 1)])
        self.smooths = nnx.List([of(3) for _ in range(LEVELS - 1)])
        self.bottleneck = of(3, LEVELS * width)

    def __call__(self, maps: Sequence[Map]) -> Map:
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps)]
        levels.append(self.pooling(maps[-1]))
        for coarser in range(LEVELS - 1, 0, -1):
            finer = levels[coarser - 1]
            levels[coarser - 1] = finer + resized(levels[coarser], finer)
        levels = [smooth(x) for smooth, x in zip(self.smooths, levels)] + levels[-1:]
        return self.bottleneck(jnp.concatenate([resized(x, levels[0]) for x in levels], -1))

    def flops(self, points: Sequence[float]) -> float:
        """FLOPs of maps of so many points each."""
        pairs = zip(points, self.laterals, self.smooths)
        levels = sum(n * (matrix_flops(a) + matrix_flops(b)) for n, a, b in pairs)
        last = points[0] * matrix_flops(self.bottleneck)
        return levels + self.pooling.flops(points[-1]) + last


class Convolutions(nnx.Module):
    """A fully convolutional network (Long et al. 2014): convolutions of 3 x 3, and one more of
    their result beside the map itself where it is `beside`."""

    def __init__(self, inner: int, width: int, count: int, beside: bool, initial: spec.Initial):
        layers = [
            ConvolvedNorm(width if n else inner, width, 3, initial, act="relu")
            for n in range(count)
        ]
        self.layers = nnx.List(layers)
        both = ConvolvedNorm(inner + width, width, 3, initial, act="relu") if beside else None
        self.both = both

    def __call__(self, x: Map) -> Map:
        y = x
        for layer in self.layers:
            y = layer(y)
        return y if self.both is None else self.both(jnp.concatenate([x, y], -1))
