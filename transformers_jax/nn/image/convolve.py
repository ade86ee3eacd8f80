"""Convolutions over images [B rows columns D], as torch computes them."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.param import add, contract, param

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
Padding = Literal["half", "none", "same"]
"""How much is padded with zeros: half of the kernel on each side, nothing, or as much as TensorFlow
does (a multiple of the stride is covered, and the odd one is behind)."""


def out_size(size: int, kernel: int, stride: int, padding: Padding) -> int:
    """How many results there are along an axis."""
    if padding == "same":
        return -(-size // stride)
    return (size + (2 * (kernel // 2) if padding == "half" else 0) - kernel) // stride + 1


def margins(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """What is padded in front and behind along an axis."""
    if padding == "none":
        return 0, 0
    if padding == "half":
        return kernel // 2, kernel // 2
    whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return whole // 2, whole - whole // 2


class Convolve(nnx.Module):
    """W * x + b over an image. Where the kernel is as large as its stride, patches are multiplied
    with a matrix; that of single pixels is one as well."""

    def __init__(
        self,
        inner: int,
        out: int,
        kernel: tuple[int, int],
        initial: spec.Initial,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: Padding = "half",
        bias: bool = False,
    ):
        self.kernel, self.stride, self.padding = kernel, stride, padding
        sizes = {
            "kernel_rows": kernel[0],
            "kernel_columns": kernel[1],
            "inner": inner,
            "embed": out,
        }
        draw = initial.draw("convolution", sizes)
        self.weight = param("kernel_rows kernel_columns inner embed", sizes, draw)
        self.bias = param("embed", sizes, spec.ZEROS) if bias else None

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The size of its result."""
        pairs = zip((rows, columns), self.kernel, self.stride)
        high, wide = (out_size(*each, self.padding) for each in pairs)
        return high, wide

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        (rows, columns), (high, wide) = self.size(*x.shape[1:3]), self.kernel
        if self.kernel == (1, 1):
            x = x[:, :: self.stride[0], :: self.stride[1]]
            y = contract("bhwc,pqcd->bhwd", x, self.weight)
        elif self.kernel == self.stride and self.padding == "none":
            x = x[:, : rows * high, : columns * wide]
            parts = x.reshape(x.shape[0], rows, high, columns, wide, x.shape[-1])
            y = contract("bhpwqc,pqcd->bhwd", parts, self.weight)
        else:
            y = convolve(x, self.weight, self.stride, self.padding)
        return add(y, self.bias)


def convolve(
    x: Float[Array, "B H W C"],
    weight: nnx.Param,
    stride: tuple[int, int],
    padding: Padding,
    values: Array | None = None,
) -> Float[Array, "B h w D"]:
    """A convolution with a parameter [kernel rows, kernel columns, C, D], or with `values` that are
    computed of it, in the dtype of `x`, or of bfloat16 operands if the model is `mixed`."""
    w = weight[...] if values is None else values
    dtype = jnp.dtype("bfloat16") if getattr(weight, "mixed", False) else x.dtype
    sizes = zip(x.shape[1:3], w.shape[:2], stride)
    y = jax.lax.conv_general_dilated(
        x.astype(dtype),
        w.astype(dtype),
        stride,
        [margins(*each, padding) for each in sizes],
        dimension_numbers=DIMENSIONS,
    )
    return y.astype(x.dtype)


def max_pool(
    x: Float[Array, "B H W D"], size: int, stride: int, padding: Padding
) -> Float[Array, "B h w D"]:
    """The greatest number of each channel in each window."""
    edges = [margins(length, size, stride, padding) for length in x.shape[1:3]]
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    least = np.asarray(-np.inf, x.dtype)  # JAX knows the maximum, and its gradient, by it
    return jax.lax.reduce_window(x, least, jax.lax.max, window, strides, ((0, 0), *edges, (0, 0)))
