"""The keys and values of one attention, and how new ones are written behind them.

They are stored with the heads in front of the tokens, [B G S K], as the matrix products of
attention read them: a step of decoding would otherwise copy the whole cache into that order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.graph import Nodes
from transformers_jax.nn.quantised import dequantise, quantise

TILE = 16
"""Tokens whose keys are moved at a time where rows of a cache change places."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KeyValues:
    """The keys and values of one attention: `full` rows, a `ring` of slots, or a `cross` source."""

    key: Float[Array, "*L B G S K"] | Int[Array, "*L B G S K"]
    value: Float[Array, "*L B G S U"] | Int[Array, "*L B G S U"]
    kind: Literal["full", "ring", "cross"] = field(metadata={"static": True})
    per_row: bool = field(default=False, metadata={"static": True})
    scales: tuple[Float[Array, "*L B G S 1"], Float[Array, "*L B G S 1"]] | None = None

    @classmethod
    def of_source(
        cls, key: Float[Array, "*L B S G K"], value: Float[Array, "*L B S G U"]
    ) -> KeyValues:
        """Those of what cross-attention attends to."""
        return cls(_turned(key), _turned(value), kind="cross")

    def extend(self, key: Array, value: Array, q: Nodes) -> tuple[Array, Array, KeyValues]:
        """(keys, values, cache): those to attend to from the tokens `q`, whose keys and values are
        given, and the cache afterwards."""
        place = places(q) if self.per_row else q.tag("index")[0, 0]
        key, value = _turned(key), _turned(value)
        put = lambda old, new: write(old, new, place, self.kind == "ring", axis=2)
        if self.scales is None:
            new = replace(self, key=put(self.key, key), value=put(self.value, value))
        else:
            (k, k_scale), (v, v_scale) = quantise(key), quantise(value)
            scales = put(self.scales[0], k_scale), put(self.scales[1], v_scale)
            new = replace(self, key=put(self.key, k), value=put(self.value, v), scales=scales)
        if self.kind == "full":
            return *new.read(key.dtype), new
        join = lambda old, fresh: jnp.concatenate([old, _turned(fresh).astype(old.dtype)], axis=1)
        k, v = self.read(key.dtype)
        return join(k, key), join(v, value), new

    def read(
        self, dtype: jnp.dtype
    ) -> tuple[Float[Array, "*L B S G K"], Float[Array, "*L B S G U"]]:
        """Keys and values as attention takes them; those of int8 in `dtype`."""
        key, value = self.key, self.value
        if self.scales is not None:
            pairs = zip((key, value), self.scales)
            key, value = (dequantise(whole, scale, dtype) for whole, scale in pairs)
        return _turned(key), _turned(value)


def _turned(x: Array) -> Array:
    """[... S G K] of [... G S K], and the other way."""
    return jnp.swapaxes(x, -3, -2)


def side_by_side(x: Float[Array, "B T D"], q: Nodes) -> Float[Array, "b n*T D"]:
    """The tokens `x` as the nodes `q` are: rows that share a cached source as one row."""
    return x if q.length == x.shape[1] else x.reshape(-1, q.length, x.shape[2])


def apart(
    y: Float[Array, "b n*T D"], weights: Float[Array, "b H n*T S"] | None, x: Float[Array, "B T D"]
) -> tuple[Float[Array, "B T D"], Float[Array, "B H T S"] | None]:
    """(messages, weights) of rows side by side, as the rows of `x` are."""
    if y.shape[1] == x.shape[1]:
        return y, weights
    if weights is not None:
        few, heads, _, keys = weights.shape
        each = weights.reshape(few, heads, -1, x.shape[1], keys)
        weights = jnp.moveaxis(each, 2, 1).reshape(-1, heads, x.shape[1], keys)
    return y.reshape(x.shape), weights


def places(q: Nodes) -> Int[Array, "B T"]:
    """The places in their rows at which tokens are written; -1 for padding, which is not."""
    index = jnp.asarray(q.tag("index"))
    return index if q.valid is None else jnp.where(q.valid, index, -1)


def moved(leaf: Array, rows: Int[Array, " B"], axis: int, first: Int[Array, ""]) -> Array:
    """An array [... S K] whose rows are an axis, with those of a tile of tokens in another order:
    of `TILE` from the `first` on, or of those that are left."""
    size, tokens = leaf.shape[-2], leaf.ndim - 2
    width = min(TILE, size)
    begin = jnp.minimum(first, size - width)
    old = jax.lax.dynamic_slice_in_dim(leaf, begin, width, axis=tokens)
    behind = begin + jnp.arange(width)[:, None] >= first  # those before it were moved already
    new = jnp.where(behind, jnp.take(old, rows, axis=axis), old)
    return jax.lax.dynamic_update_slice_in_dim(leaf, new, begin, axis=tokens)


def write(
    cache: Array,
    new: Array,
    place: Int[Array, ""] | Int[Array, "B T"],
    ring: bool,
    axis: int = 1,
) -> Array:
    """A cache whose slots are an axis, with new numbers written at the slots of the tokens `place`
    .. `place` + T, or at those of each token: [B S ...], and with axis=2 [B G S ...].

    Numbers that do not fit are NaN, and so is all that is computed of them from then on: JAX would
    move the place back, to slots that are taken.
    """
    size, count = cache.shape[axis], new.shape[axis]
    new = new.astype(cache.dtype)
    if place.ndim:
        return _write_each(cache, new, place, ring, axis)
    if not ring:
        if jnp.issubdtype(new.dtype, jnp.inexact):
            new = jnp.where(place + count <= size, new, jnp.nan)
        none = np.int32(0)  # of the same type as the place, with 64 bits as well
        corner: list[Any] = [none] * cache.ndim
        corner[axis] = place
        return jax.lax.dynamic_update_slice(cache, new, corner)
    last = min(size, count)  # of a longer chunk only the end fits
    slots = (place + count - last + jnp.arange(last)) % size
    all_before = (slice(None),) * axis
    return cache.at[(*all_before, slots)].set(new[(*all_before, slice(count - last, None))])


def _write_each(cache: Array, new: Array, place: Int[Array, "B T"], ring: bool, axis: int) -> Array:
    """`write` at places of each row's own; what has the place -1 is dropped."""
    size = cache.shape[axis]
    new = jnp.moveaxis(new, axis, 1)  # as indices in front and behind a slice order the result
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
    between = (slice(None),) * (axis - 1)
    return cache.at[(rows, *between, jnp.where(kept, slots, size))].set(new, mode="drop")
