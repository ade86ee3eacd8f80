"""Dropout from counter bits: whether a number remains is a hash of the key and of its index.

The bits do not depend on how the work is cut into tiles, so every attention backend drops the same
edges, and hashing is several times cheaper than drawing a stream of random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Key, UInt32, mix


def split_key(key: Key | None, count: int) -> list[Key | None]:
    """As many keys as there are sources of noise; no key, no noise."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def numbered_key(key: Key | None, number: int | Array) -> Key | None:
    """The key of the source of noise with this number; no key, no noise."""
    return None if key is None else jax.random.fold_in(key, number)


def words(key: Key) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    """The two 32-bit words of a key, typed (`jax.random.key`) or raw."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    data = data.reshape(-1).astype(jnp.uint32)
    return data[0], data[-1]


def _hash(key: Key | tuple[Array, Array], index: Sequence[Array]) -> UInt32[Array, "..."]:
    first, second = key if isinstance(key, tuple) else words(key)
    state = mix(first)
    for axis in index:
        state = mix(
            state ^ (jnp.asarray(axis).astype(jnp.uint32) * jnp.uint32(0x9E3779B9) + second)
        )
    return state


def keep(rate: float, key: Key | tuple[Array, Array], *index: Array) -> Bool[Array, "..."]:
    """True with probability 1 - rate, from the key and integer indices that broadcast together.

    For attention these are (row of the batch, query head, query, key), each counted in the whole
    array. All but the last are hashed at their own, smaller shapes. `key` may be its `words`.
    """
    return _hash(key, index) >= jnp.uint32(min(int(rate * 2**32), 2**32 - 1))


def dropout(x: Float[Array, "..."], rate: float, key: Key | None) -> Float[Array, "..."]:
    """Zeroes numbers with probability `rate` and scales the rest; no key, no noise."""
    if key is None or rate == 0.0:
        return x
    index = [
        jnp.arange(size).reshape((size,) + (1,) * (x.ndim - 1 - axis))
        for axis, size in enumerate(x.shape)
    ]
    return jnp.where(keep(rate, key, *index), x / (1.0 - rate), 0).astype(x.dtype)


def drop_path(
    y: Float[Array, "B ..."], rate: Float[Array, ""] | None, key: Key | None
) -> Float[Array, "B ..."]:
    """Leaves out whole rows with probability `rate` and scales the rest (Huang et al. 2016).

    The rate may be traced: it depends on the layer, which a scan counts. No key, no noise.
    """
    if key is None or rate is None:
        return y
    uniform = _hash(key, [jnp.arange(y.shape[0])]).astype(jnp.float32) * jnp.float32(2.0**-32)
    remains = (uniform >= rate).reshape(-1, *[1] * (y.ndim - 1))
    return jnp.where(remains, y / (1.0 - rate), 0).astype(y.dtype)
