"""The cache of a decoder: keys and values per layer, and the nodes they belong to.

Decoding with a cache is one row of the same matrix of edges: the query is one node, the keys are
the nodes of the cache. There is no second forward. A layer whose mask is a window keeps a ring,
which stores tags per slot and is attended to with the new tokens before they are written.
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
from transformers_jax.spec import Block


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KeyValues:
    """The keys and values of one attention: `full` rows, a `ring` of slots, or a `cross` source."""

    key: Float[Array, "*L B S G K"]
    value: Float[Array, "*L B S G U"]
    kind: Literal["full", "ring", "cross"] = field(metadata={"static": True})

    def extend(
        self, key: Array, value: Array, start: Int[Array, ""]
    ) -> tuple[Array, Array, KeyValues]:
        """(keys, values, cache): the ones to attend to, and the cache afterwards."""
        new = replace(
            self,
            key=write(self.key, key, start, self.kind == "ring"),
            value=write(self.value, value, start, self.kind == "ring"),
        )
        if self.kind == "full":
            return new.key, new.value, new
        join = lambda old, fresh: jnp.concatenate([old, fresh.astype(old.dtype)], axis=1)
        return join(self.key, key), join(self.value, value), new


def write(cache: Array, new: Array, start: Int[Array, ""], ring: bool) -> Array:
    """[B S ...] with [B T ...] written at the slots of the tokens start .. start + T.

    Numbers that do not fit are NaN, and so is all that is computed of them from then on: JAX would
    move `start` back, to slots that are taken.
    """
    size, count = cache.shape[1], new.shape[1]
    new = new.astype(cache.dtype)
    if not ring:
        if jnp.issubdtype(new.dtype, jnp.inexact):
            new = jnp.where(start + count <= size, new, jnp.nan)
        none = np.int32(0)  # of the same type as the start, with 64 bits as well
        corner = (none, start) + (none,) * (cache.ndim - 2)
        return jax.lax.dynamic_update_slice(cache, new, corner)
    last = min(size, count)  # of a longer chunk only the end fits
    slots = (start + count - last + jnp.arange(last)) % size
    return cache.at[:, slots].set(new[:, count - last :])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """The cache of a decoder stack.

    Attributes:
        layers: one entry per slot of the stack's pattern (leaves stacked over its repeats), or per
            layer if the stack has its layers as a list; each maps a branch to its KeyValues.
        nodes: the nodes of `full` caches and of rings, by their number of slots.
        sources: the nodes that cross-attention attends to, by the name of what it attends to.
        length: tokens written so far, the same for all rows (prompts are padded on the left).
        awaited: how many virtual tokens the next call writes in front of its own.
    """

    layers: tuple[dict[str, KeyValues], ...]
    nodes: dict[str, Nodes]
    sources: dict[str, Nodes]
    length: Int[Array, ""]
    size: int = field(metadata={"static": True})
    stacked: bool = field(default=True, metadata={"static": True})
    awaited: int = field(default=0, metadata={"static": True})

    def keys(self, mask: Mask, q: Nodes) -> Nodes:
        """The nodes that queries `q`, just being written, attend to under `mask`."""
        slots = slots_for(mask, self.size)
        old = self.nodes[str(slots)]
        if slots == self.size:
            return _written(old, q, self.length, ring=False)
        # Slots about to be overwritten are older than any window reaches: the mask excludes them.
        return concatenate(old, _like(q, old))

    def advance(self, q: Nodes, layers: tuple[dict[str, KeyValues], ...]) -> Cache:
        """The cache after the tokens `q` were written."""
        nodes = {
            name: _written(old, q, self.length, ring=name != str(self.size))
            for name, old in self.nodes.items()
        }
        length = self.length + q.length
        return replace(self, layers=layers, nodes=nodes, length=length, awaited=0)

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
        return replace(self, layers=layers, nodes=nodes, sources=sources)


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


def slots_for(mask: Mask, size: int) -> int:
    """How many slots a layer with this mask needs for `size` tokens."""
    left = reach(mask)
    if is_symbolic(size):
        return size
    return size if left is None else min(size, max(left, 1))


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


def _written(old: Nodes, q: Nodes, start: Int[Array, ""], ring: bool) -> Nodes:
    return jax.tree.map(lambda a, b: write(a, b, start, ring), old, _like(q, old))


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
    size: int,
    dtype: jnp.dtype,
    sources: Mapping[str, tuple[Float[Array, "B S E"], Nodes]],
    *,
    stacked: bool,
) -> Cache:
    """A cache for `size` tokens, none written; cross-attention's keys are computed here, once."""
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
            slots = slots_for(mask, size)
            shape = (*leading, batch, slots, op.groups)
            entry[branch.name] = KeyValues(
                key=jnp.zeros((*shape, op.kv), dtype),
                value=jnp.zeros((*shape, op.value or op.kv), dtype),
                kind="full" if slots == size else "ring",
            )
            tags[slots] = tags.get(slots, frozenset()) | mask.tags
        layers.append(entry)
    return Cache(
        layers=tuple(layers),
        nodes={str(slots): empty_nodes(names, batch, slots) for slots, names in tags.items()},
        sources={name: _whole(x.shape[:2], nodes) for name, (x, nodes) in sources.items()},
        length=jnp.zeros((), jnp.int32),
        size=size,
        stacked=stacked,
    )


def _whole(shape: tuple[int, ...], nodes: Nodes) -> Nodes:
    """The nodes with tags and validity of every row [B S], which a cache reorders."""
    valid = jnp.ones(shape, bool) if nodes.valid is None else nodes.valid
    nodes = Nodes(nodes.tags, valid)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), nodes)
