"""The cache of a decoder: keys and values per layer, and the nodes they belong to.

Decoding with a cache is one row of the same matrix of edges: the query is one node, the keys are
the nodes of the cache. There is no second forward. A layer whose mask is a window keeps a ring,
which stores tags per slot and is attended to with the new tokens before they are written.

The rows of a cache have one length, their padding included, or each its own: then padding is not
written, and a row can be filled, taken back and replaced without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, is_symbolic
from transformers_jax.graph import Mask, Near, Nodes, concatenate
from transformers_jax.graph.mask import All, Any
from transformers_jax.nn.quantised import dequantise, quantise
from transformers_jax.spec import Block


@dataclass(frozen=True)
class CacheSpec:
    """What a cache is made for.

    Attributes:
        size: the tokens that a row holds.
        dtype: of keys and values. int8 has a quarter of the memory of float32, with a scale for
            each token and head: a number is wrong by at most 1/254 of the largest of its vector.
        per_row: whether each row has a length of its own. Padding, which stands behind the tokens
            of a call, is then not written; `Cache.rewind` takes tokens back, `Cache.put` replaces
            rows.
        spare: how many of the last tokens `Cache.rewind` may take back in layers with a window,
            whose rings have so many slots more.
    """

    size: int
    dtype: jnp.dtype
    per_row: bool = False
    spare: int = 0


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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """The cache of a decoder stack.

    Attributes:
        layers: one entry per slot of the stack's pattern (leaves stacked over its repeats), or per
            layer if the stack has its layers as a list; each maps a branch to its KeyValues.
        nodes: the nodes of `full` caches and of rings, by their number of slots.
        sources: the nodes that cross-attention attends to, by the name of what it attends to.
        length: tokens written so far: the same for all rows (prompts are padded on the left), or of
            each row.
        spare: how many of the last tokens may be taken back.
        awaited: how many virtual tokens the next call writes in front of its own.
    """

    layers: tuple[dict[str, KeyValues], ...]
    nodes: dict[str, Nodes]
    sources: dict[str, Nodes]
    length: Int[Array, ""] | Int[Array, " B"]
    size: int = field(metadata={"static": True})
    stacked: bool = field(default=True, metadata={"static": True})
    spare: int = field(default=0, metadata={"static": True})
    awaited: int = field(default=0, metadata={"static": True})

    @property
    def per_row(self) -> bool:
        """Whether each row has a length of its own."""
        return self.length.ndim == 1

    @property
    def start(self) -> Int[Array, ""] | Int[Array, "B 1"]:
        """The index of the next token, or of that of each row."""
        return self.length[:, None] if self.per_row else self.length

    def keys(self, mask: Mask, q: Nodes) -> Nodes:
        """The nodes that queries `q`, just being written, attend to under `mask`."""
        slots = slots_for(mask, self.size, self.spare)
        old = self.nodes[str(slots)]
        if slots == self.size:
            return self._written(old, q, ring=False)
        # Slots about to be overwritten are older than any window reaches: the mask excludes them.
        return concatenate(old, _like(q, old))

    def advance(self, q: Nodes, layers: tuple[dict[str, KeyValues], ...]) -> Cache:
        """The cache after the tokens `q` were written."""
        nodes = {
            name: self._written(old, q, ring=name != str(self.size))
            for name, old in self.nodes.items()
        }
        real = q.valid if self.per_row else None
        length = self.length + (q.length if real is None else real.sum(axis=1, dtype=jnp.int32))
        return replace(self, layers=layers, nodes=nodes, length=length, awaited=0)

    def rewind(self, length: Int[Array, ""] | Int[Array, " B"]) -> Cache:
        """The cache as it was when it had `length` tokens, or each row its own number of them. In
        layers with a window at most `spare` tokens can be taken back."""
        length = jnp.minimum(jnp.asarray(length, jnp.int32), self.length)
        before = length[:, None] if self.per_row else length
        nodes = {
            name: replace(old, valid=old.valid & (old.tags["index"] < before))
            for name, old in self.nodes.items()
            if old.valid is not None
        }
        return replace(self, nodes=nodes, length=length)

    def put(self, rows: Int[Array, " N"], other: Cache) -> Cache:
        """The cache with the rows of another, which has N, in the place of these."""
        at = lambda axis: (slice(None),) * axis + (rows,)
        change = lambda old, new, axis: old.at[at(axis)].set(new)
        axis = 1 if self.stacked else 0
        layers = jax.tree.map(lambda a, b: change(a, b, axis), self.layers, other.layers)
        mine, theirs = (self.nodes, self.sources), (other.nodes, other.sources)
        nodes, sources = jax.tree.map(lambda a, b: change(a, b, 0), mine, theirs)
        length = change(self.length, other.length, 0)
        return replace(self, layers=layers, nodes=nodes, sources=sources, length=length)

    def gather(self, rows: Int[Array, " B"]) -> Cache:
        """The rows of the batch in another order, possibly repeated, for beam search."""
        return self._rows(lambda leaf, axis: jnp.take(leaf, rows, axis=axis))

    def repeat(self, times: int) -> Cache:
        """Every row `times` times, side by side."""
        return self._rows(lambda leaf, axis: jnp.repeat(leaf, times, axis=axis))

    def reorder(self, rows: Int[Array, " B"]) -> Cache:
        """`gather` for rows that move only among the beams of one prompt: what the decoder attends
        to (keys of cross-attention, the source's nodes) is the same for all of them and stays."""
        gathered = self.gather(rows)
        layers = tuple(
            {name: old if old.kind == "cross" else new[name] for name, old in layer.items()}
            for layer, new in zip(self.layers, gathered.layers)
        )
        return replace(gathered, layers=layers, sources=self.sources)

    def _rows(self, change) -> Cache:
        axis = 1 if self.stacked else 0
        layers = jax.tree.map(lambda leaf: change(leaf, axis), self.layers)
        nodes, sources = jax.tree.map(lambda leaf: change(leaf, 0), (self.nodes, self.sources))
        length = change(self.length, 0) if self.per_row else self.length
        return replace(self, layers=layers, nodes=nodes, sources=sources, length=length)

    def _written(self, old: Nodes, q: Nodes, ring: bool) -> Nodes:
        place = places(q) if self.per_row else self.length
        return jax.tree.map(lambda a, b: write(a, b, place, ring), old, _like(q, old))


def reach(mask: Mask) -> int | None:
    """How many tokens before the query an edge of `mask` can start; None: no limit."""
    if isinstance(mask, Near) and mask.tag == "index":
        return mask.left
    if isinstance(mask, (All, Any)):
        both = [reach(mask.a), reach(mask.b)]
        known = [r for r in both if r is not None]
        if isinstance(mask, All):
            return min(known, default=None)
        return max(known) if len(known) == 2 else None
    return None


def slots_for(mask: Mask, size: int, spare: int = 0) -> int:
    """How many slots a layer with this mask needs for `size` tokens, of which the last `spare` may
    be taken back."""
    left = reach(mask)
    if is_symbolic(size):
        return size
    return size if left is None else min(size, max(left, 1) + spare)


def empty_nodes(tags: frozenset[str], batch: int, slots: int) -> Nodes:
    """Nodes of slots in which nothing has been written."""
    names = {"index", "position"} | tags
    zeros = jnp.zeros((batch, slots), jnp.int32)
    # -1 is before every token, so an unwritten slot is never within a window.
    return Nodes(dict.fromkeys(sorted(names), zeros - 1), zeros.astype(bool))


def _like(q: Nodes, old: Nodes) -> Nodes:
    """The new tokens with exactly the tags and the batch size of the cached ones."""
    batch = old.tags["index"].shape[0]
    whole = lambda leaf: jnp.broadcast_to(leaf, (batch, q.length))
    tags = {"position": q.position, **q.tags}
    valid: Bool[Array, "b T"] = jnp.ones((1, q.length), bool) if q.valid is None else q.valid
    return Nodes({name: whole(tags[name]) for name in old.tags}, whole(valid))


class CacheEntry(NamedTuple):
    """What is cached of a layer, or of the layers of a slot.

    Attributes:
        branches: those of its block.
        leading: axes in front of the batch.
        source_keys: the keys and values of a branch, by its name, of what it attends to.
    """

    branches: Block
    leading: tuple[int, ...]
    source_keys: Callable[[str, Array], KeyValues]


def empty_cache(
    entries: Iterable[CacheEntry],
    batch: int,
    made_for: CacheSpec,
    sources: Mapping[str, tuple[Float[Array, "B S E"], Nodes]],
    *,
    stacked: bool,
) -> Cache:
    """A cache in which nothing is written; cross-attention's keys are computed here, once."""
    size, spare = made_for.size, made_for.spare
    layers: list[dict[str, KeyValues]] = []
    tags: dict[int, frozenset[str]] = {}
    for branches, leading, source_keys in entries:
        entry: dict[str, KeyValues] = {}
        for branch in (branch for branch in branches if branch.op.drawn and branch.op.masks):
            op = branch.op
            if branch.source is not None:
                if branch.source in sources:
                    entry[branch.name] = source_keys(branch.name, sources[branch.source][0])
                continue
            if len(op.masks) > 1 or op.extend:
                raise ValueError(
                    "an attention with several relations, or with keys beyond its tokens, "
                    "keeps no cache: call the model with whole rows"
                )
            (mask,) = op.masks
            slots = slots_for(mask, size, spare)
            shape = (*leading, batch, slots, op.groups)
            entry[branch.name] = _empty(shape, op.kv, op.value or op.kv, slots == size, made_for)
            tags[slots] = tags.get(slots, frozenset()) | mask.tags
        layers.append(entry)
    return Cache(
        layers=tuple(layers),
        nodes={str(slots): empty_nodes(names, batch, slots) for slots, names in tags.items()},
        sources={name: _whole(x.shape[:2], nodes) for name, (x, nodes) in sources.items()},
        length=jnp.zeros((batch,) if made_for.per_row else (), jnp.int32),
        size=size,
        stacked=stacked,
        spare=spare,
    )


def _empty(
    shape: tuple[int, ...], kv: int, value: int, full: bool, made_for: CacheSpec
) -> KeyValues:
    scales = None
    if made_for.dtype == jnp.int8:
        scales = jnp.zeros((*shape, 1), jnp.float32), jnp.zeros((*shape, 1), jnp.float32)
    return KeyValues(
        key=jnp.zeros((*shape, kv), made_for.dtype),
        value=jnp.zeros((*shape, value), made_for.dtype),
        kind="full" if full else "ring",
        per_row=made_for.per_row,
        scales=scales,
    )


def _whole(shape: tuple[int, ...], nodes: Nodes) -> Nodes:
    """The nodes with tags and validity of every row [B S], which a cache reorders."""
    valid = jnp.ones(shape, bool) if nodes.valid is None else nodes.valid
    nodes = Nodes(nodes.tags, valid)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), nodes)
