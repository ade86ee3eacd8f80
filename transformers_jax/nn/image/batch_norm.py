"""Batch norm (Ioffe and Szegedy 2015), with the statistics that are stored, or with those of the
batch.

Stored statistics normalise by default, in training as well. A step of training asks for those of
the batch (`gathering`), and has to be told what they were, so that the stored ones can follow. A
norm is deep in a stack, under scans, rematerialisation and micro-batches, and what it found is no
part of its result. It therefore leaves it as the *gradient* of the stored statistics (`leave`),
which takes the way back that gradients have. Flax does the same for the scales of 8-bit floats
(`overwrite_with_gradient`). An optimizer never sees it: `training/statistics.py` takes it out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.param import merge, param, split

Module = TypeVar("Module", bound=nnx.Module)

STATISTICS = ("mean", "variance", "count")
"""The parameters that are stored and not learned."""


class BatchNorm(nnx.Module):
    """(x - mean) / sqrt(variance + eps) * scale + shift of each channel.

    Attributes:
        gathers: whether mean and variance are those of the batch (algorithm 1), and are left as the
            gradient of the stored ones; otherwise they are the stored ones (algorithm 2). Under a
            mesh the batch is that of all devices.
        count: the number of batches that the stored ones were made of, which changes nothing.
    """

    def __init__(self, width: int, eps: float = 1e-5):
        self.eps, self.gathers, sizes = eps, False, {"embed": width}
        self.scale = param("embed", sizes, spec.ONES)
        self.shift = param("embed", sizes, spec.ZEROS)
        self.mean = param("embed", sizes, spec.ZEROS, learned=False)
        self.variance = param("embed", sizes, spec.ONES, learned=False)
        self.count = param("", {}, spec.ZEROS, learned=False)

    def __call__(self, x: Float[Array, "B H W D"]) -> Float[Array, "B H W D"]:
        y = x.astype(wide(x))
        mean, variance, count = (getattr(self, name)[...] for name in STATISTICS)
        if self.gathers:
            stored = mean, variance, count
            numbers = self._numbers(x.shape)
            mean = y.mean((0, 1, 2))
            variance = jnp.square(y - mean).mean((0, 1, 2))
            unbiased = variance * (numbers / (numbers - 1))
            y = leave(y, stored, (mean, unbiased, jnp.ones_like(count)))
        else:
            mean, variance = jax.lax.stop_gradient((mean.astype(y.dtype), variance.astype(y.dtype)))
        factor = self.scale[...].astype(y.dtype) * jax.lax.rsqrt(variance + self.eps)
        return ((y - mean) * factor + self.shift[...].astype(y.dtype)).astype(x.dtype)

    @staticmethod
    def _numbers(shape: tuple[int, ...]) -> int:
        """How many numbers of each channel there are.

        Raises:
            ValueError: a single one, which has no variance.
        """
        numbers = shape[0] * shape[1] * shape[2]
        if numbers < 2:
            raise ValueError(
                f"batch norm of images of shape {shape[:3]} has one number for each channel, and "
                "no variance to divide by; train with more than one image in a micro-batch, or "
                "with the statistics that are stored (statistics='stored')"
            )
        return numbers


@jax.custom_vjp
def leave(x: Array, stored: tuple[Array, ...], found: tuple[Array, ...]) -> Array:
    """x, whose gradient by `stored` is `found`, whatever its own gradient is."""
    return x


def _forward(x, stored, found):
    kept = tuple(new.astype(old.dtype) for old, new in zip(stored, found))
    return x, (kept, tuple(jnp.zeros_like(new) for new in found))


def _backward(saved, of_x):
    kept, nothing = saved
    return of_x, kept, nothing


leave.defvjp(_forward, _backward)


def norms_of(module: nnx.Module) -> dict[str, BatchNorm]:
    """The batch norms of a model by their paths."""
    return {
        ".".join(map(str, path)): part
        for path, part in nnx.iter_modules(module)
        if isinstance(part, BatchNorm)
    }


def gathering(module: Module, names: Collection[str]) -> Module:
    """The module, whose batch norms of these paths normalise with the statistics of the batch."""
    copy: Module = merge(*split(module))
    for name, norm in norms_of(copy).items():
        norm.gathers = name in names
    return copy
