"""The keys and values of one attention, and how new ones are written behind them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.graph import Nodes
from transformers_jax.nn.quantised import dequantise, quantise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KeyValues:
    """The keys and values of one attention: `full` rows, a `ring` of slots, or a `cross` source."""

    key: Float[Array, "*L B S G K"] | Int[Array, "*L B S G K"]
    value: Float[Array, "*L B S G U"] | Int[Array, "*L B S G U"]
    kind: Literal["full", "ring", "cross"] = field(metadata={"static": True})
    per_row: bool = field(default=False, metadata={"static": True})
    scales: tuple[Float[Array, "*L B S G 1"], Float[Array, "*L B S G 1"]] | None = None

    def extend(self, key: Array, value: Array, q: Nodes) -> tuple[Array, Array, KeyValues]:
        """(keys, values, cache): those to attend to from the tokens `q`, whose keys and values are
        given, and the cache afterwards."""
        place = places(q) if self.per_row else q.tag("index")[0, 0]
        put = lambda old, new: write(old, new, place, self.kind == "ring")
        if self.scales is None:
            new = replace(self, key=put(self.key, key), value=put(self.value, value))
        else:
            (k, k_scale), (v, v_scale) = quantise(key), quantise(value)
            scales = put(self.scales[0], k_scale), put(self.scales[1], v_scale)
            new = replace(self, key=put(self.key, k), value=put(self.value, v), scales=scales)
        if self.kind == "full":
            return *new.read(key.dtype), new
        join = lambda old, fresh: jnp.concatenate([old, fresh.astype(old.dtype)], axis=1)
        k, v = self.read(key.dtype)
        return join(k, key), join(v, value), new

    def read(self, dtype: jnp.dtype) -> tuple[Array, Array]:
        """Keys and values as numbers; those of int8 in `dtype`."""
        if self.scales is None:
            return self.key, self.value
        pairs = zip((self.key, self.value), self.scales)
        k, v = (dequantise(whole, scale, dtype) for whole, scale in pairs)
        return k, v


def places(q: Nodes) -> Int[Array, "B T"]:
    """The places in their rows at which tokens are written; -1 for padding, which is not."""
    index = jnp.asarray(q.tag("index"))
    return index if q.valid is None else jnp.where(q.valid, index, -1)


def write(cache: Array, new: Array, place: Int[Array, ""] | Int[Array, "B T"], ring: bool) -> Array:
    """[B S ...] with [B T ...] written at the slots of the tokens `place` .. `place` + T, or at
    those of each token.

    Numbers that do not fit are NaN, and so is all that is computed of them from then on: JAX would
    move the place back, to slots that are taken.
    """
    size, count = cache.shape[1], new.shape[1]
    new = new.astype(cache.dtype)
    if place.ndim:
        return _write_each(cache, new, place, ring)
    if not ring:
        if jnp.issubdtype(new.dtype, jnp.inexact):
            new = jnp.where(place + count <= size, new, jnp.nan)
        none = np.int32(0)  # of the same type as the place, with 64 bits as well
        corner = (none, place) + (none,) * (cache.ndim - 2)
        return jax.lax.dynamic_update_slice(cache, new, corner)
    last = min(size, count)  # of a longer chunk only the end fits
    slots = (place + count - last + jnp.arange(last)) % size
    return cache.at[:, slots].set(new[:, count - last :])


def _write_each(cache: Array, new: Array, place: Int[Array, "B T"], ring: bool) -> Array:
    """`write` at places of each row's own; what has the place -1 is dropped."""
    size = cache.shape[1]
    if ring:
        kept = (place >= 0) & (place > place.max(axis=1, keepdims=True) - size)
        slots = place % size
    else:
        kept, slots = place >= 0, jnp.minimum(place, size - 1)
        if jnp.issubdtype(new.dtype, jnp.inexact):
            fits = (place < size).reshape(*place.shape, *(1,) * (new.ndim - 2))
            new = jnp.where(fits, new, jnp.nan)
    rows = jnp.arange(cache.shape[0])[:, None]
    new = jnp.broadcast_to(new, (*place.shape, *new.shape[2:]))
    return cache.at[rows, jnp.where(kept, slots, size)].set(new, mode="drop")
