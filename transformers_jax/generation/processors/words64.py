"""Integers of 64 bits as pairs of 32, which JAX has by default: (high, low), modulo 2**64."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array


class Word(NamedTuple):
    """An array of integers modulo 2**64; both halves are uint32."""

    high: Array
    low: Array

    def __add__(self, other: Word) -> Word:  # type: ignore[override]
        low = self.low + other.low
        return Word(self.high + other.high + (low < other.low).astype(jnp.uint32), low)

    def times(self, factor: int) -> Word:
        """The product with a constant."""
        high, low = np.uint32(factor >> 32 & 0xFFFFFFFF), np.uint32(factor & 0xFFFFFFFF)
        carried, lower = _product(self.low, low)
        return Word(carried + self.high * low + self.low * high, lower)

    def modulo(self, size: int) -> Array:
        """The rest of a division, of the number with its sign, by at most 2**24: int32."""
        rest = jnp.zeros(jnp.broadcast_shapes(self.high.shape, self.low.shape), jnp.uint32)
        for half in (self.high, self.low):
            for shift in (24, 16, 8, 0):
                rest = (rest * 256 + (half >> shift & 0xFF)) % np.uint32(size)
        negative = (self.high >> 31).astype(bool)
        below = (rest + np.uint32((size - 2**64 % size) % size)) % np.uint32(size)
        return jnp.where(negative, below, rest).astype(jnp.int32)

    def shaped(self, *index: object) -> Word:
        """Both halves with an index, such as `[:, None]`."""
        return Word(self.high[index], self.low[index])  # type: ignore[index]


def word(values: Array) -> Word:
    """Numbers from 0 on, of at most 31 bits."""
    low = jnp.asarray(values).astype(jnp.uint32)
    return Word(jnp.zeros_like(low), low)


def constants(values: tuple[int, ...]) -> Word:
    """Python's integers."""
    high = np.array([value >> 32 & 0xFFFFFFFF for value in values], np.uint32)
    return Word(jnp.asarray(high), jnp.asarray(np.array([v & 0xFFFFFFFF for v in values], "u4")))


def same(one: Word, other: Word) -> Array:
    return (one.high == other.high) & (one.low == other.low)


def _product(a: Array, b: np.uint32) -> tuple[Array, Array]:
    """(high, low) of the product of numbers of 32 bits, by halves of 16."""
    a1, a0 = a >> 16, a & 0xFFFF
    b1, b0 = np.uint32(b >> 16), np.uint32(b & 0xFFFF)
    low, middle, other, high = a0 * b0, a1 * b0, a0 * b1, a1 * b1
    carry = ((low >> 16) + (middle & 0xFFFF) + (other & 0xFFFF)) >> 16
    return high + (middle >> 16) + (other >> 16) + carry, a * b
