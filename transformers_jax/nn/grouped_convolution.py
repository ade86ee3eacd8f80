"""Convolutions of groups of channels, whose derivatives are right on every mesh.

XLA's partitioner counts the derivative of a grouped convolution by its kernel once for each device
over which the batch is copied: with a tensor axis of two it is twice what it should be. Here that
derivative is of sums over taps.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float


@jax.custom_jvp
def depthwise(x: Float[Array, "B H W D"], weight: Float[Array, "p q D"]) -> Float[Array, "B H W D"]:
    """A convolution of each channel with a kernel of its own, padded by half of it. A sum of
    shifted products, of which XLA makes one loop: on CPUs its grouped convolution takes 15 times as
    long. Its derivative by x is that of the convolution, which is compiled faster."""
    return jax.lax.platform_dependent(x, weight, cpu=_shifted_once, default=_shifted)


def _shifted_once(
    x: Float[Array, "B H W D"], weight: Float[Array, "p q D"]
) -> Float[Array, "B H W D"]:
    """The sum, written to memory. On CPUs XLA computes it again in each reduction of a norm behind
    it, which takes five times as long, and drops `optimization_barrier` before it fuses: what it
    does not fuse is a loop of so many rounds as it cannot know."""
    rounds = 1 + jnp.isnan(weight[0, 0, 0]).astype(int)  # each has the same result
    return jax.lax.fori_loop(
        0, rounds, lambda _, before: _shifted(x, weight), x * weight[0, 0][None, None, None]
    )


def _shifted(x: Float[Array, "B H W D"], weight: Float[Array, "p q D"]) -> Float[Array, "B H W D"]:
    (rows, columns), (high, wide) = x.shape[1:3], weight.shape[:2]
    padded = jnp.pad(x, ((0, 0), (high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
    shifts = [(p, q) for p in range(high) for q in range(wide)]
    terms = (
        padded[:, p : p + rows, q : q + columns] * weight[p, q][None, None, None] for p, q in shifts
    )
    return functools.reduce(jnp.add, terms)


@depthwise.defjvp
def _depthwise_tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x, weight), (of_x, of_weight) = primals, tangents
    return depthwise(x, weight), _grouped(of_x, weight) + _shifted(x, of_weight)


def _grouped(x: Float[Array, "B H W D"], weight: Float[Array, "p q D"]) -> Float[Array, "B H W D"]:
    """The same as a grouped convolution."""
    return jax.lax.conv_general_dilated(
        x,
        weight[:, :, None],
        (1, 1),
        [(size // 2, size // 2) for size in weight.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@jax.custom_jvp
def grouped(x: Float[Array, "B T D"], weight: Float[Array, "K G i o"]) -> Float[Array, "B T D"]:
    """A convolution of groups of channels, padded by half of its taps; one more in front than
    behind where their number is even."""
    taps, groups = weight.shape[:2]
    kernel = weight.transpose(0, 2, 1, 3).reshape(taps, weight.shape[2], -1)
    return jax.lax.conv_general_dilated(
        x, kernel, (1,), [_edges(taps)], dimension_numbers=("NTC", "TIO", "NTC"),
        feature_group_count=groups,
    )  # fmt: skip


@grouped.defjvp
def _grouped_tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x, weight), (of_x, of_weight) = primals, tangents
    return grouped(x, weight), grouped(of_x, weight) + _by_taps(x, of_weight)


def _by_taps(x: Float[Array, "B T D"], weight: Float[Array, "K G i o"]) -> Float[Array, "B T D"]:
    """The same, tap after tap."""
    batch, length, _ = x.shape
    taps, groups, part, _ = weight.shape
    padded = jnp.pad(x, ((0, 0), _edges(taps), (0, 0))).reshape(batch, -1, groups, part)

    def add_tap(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
        number, values = tap
        seen = jax.lax.dynamic_slice_in_dim(padded, number, length, axis=1)
        return total + jnp.einsum("btgi,gio->btgo", seen, values), None

    total = jnp.zeros((batch, length, groups, weight.shape[3]), x.dtype)
    return jax.lax.scan(add_tap, total, (jnp.arange(taps), weight))[0].reshape(batch, length, -1)


def _edges(taps: int) -> tuple[int, int]:
    return taps // 2, taps // 2 - (taps % 2 == 0)
