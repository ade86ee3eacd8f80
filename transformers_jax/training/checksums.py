"""Checksums of arrays where they live: one integer per leaf, the same on every mesh.

    sum over positions p of bits(x[p]) * (2 p + 1)   modulo 2^32

Integer sums are associative, so that it does not matter how the array is cut. A flipped bit k at
position p changes the sum by 2^k times an odd number, which is never 0.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, UInt32


def names(tree: Any) -> list[str]:
    """["params.embed.table", ...] in the order of `jax.tree.leaves`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


def checksums(tree: Any) -> dict[str, int]:
    """{"params.embed.table": a checksum, ...}: any one flipped bit changes it."""
    sums = jax.device_get(measured(jax.tree.leaves(tree))[0])
    return dict(zip(names(tree), map(int, sums)))


@jax.jit
def measured(leaves: list[Array]) -> tuple[list[UInt32[Array, ""]], list[Bool[Array, ""]]]:
    """(checksum, are all of its numbers finite) of each leaf."""
    finite = lambda x: jnp.all(jnp.isfinite(x)) if jnp.issubdtype(x.dtype, jnp.inexact) else True
    return [checksum(x) for x in leaves], [jnp.asarray(finite(x)) for x in leaves]


def checksum(x: Array) -> UInt32[Array, ""]:
    """The checksum of one array."""
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(x, words).astype(jnp.uint32)
    strides = [1]
    for size in reversed(bits.shape[1:]):
        strides.insert(0, strides[0] * size % 2**32)
    position = functools.reduce(  # without a reshape, which would gather a sharded array
        jnp.add,
        (
            jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis) * jnp.uint32(stride)
            for axis, stride in zip(range(bits.ndim), strides)
        ),
        jnp.uint32(0),
    )
    return jnp.sum(bits * (2 * position + 1), dtype=jnp.uint32)


def checksum_on_host(x: np.ndarray, block: int = 1 << 22) -> int:
    """The same number without a compilation: for verifying files of any shapes."""
    bits = np.ascontiguousarray(x).reshape(-1)
    bits = bits.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[bits.dtype.itemsize])
    total = 0
    for start in range(0, bits.size, block):
        part = bits[start : start + block].astype(np.uint32)
        position = np.arange(start, start + part.size, dtype=np.uint64).astype(np.uint32)
        total += int(np.sum(part * (2 * position + 1), dtype=np.uint32))
    return total % 2**32
