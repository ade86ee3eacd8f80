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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, is_symbolic
from transformers_jax.graph import Mask, Near, Nodes, concatenate
from transformers_jax.graph.mask import All, Any
from transformers_jax.nn.key_values import TILE, KeyValues, moved, places, write
from transformers_jax.nn.layers import layer_of
from transformers_jax.spec import Block, StackSpec

Change = Callable[[Array, int], Array]
"""What becomes of an array whose rows are an axis: (array, that axis) -> array."""


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

    def __post_init__(self):
        if not isinstance(self.spare, (int, np.integer)) or self.spare < 0:
            raise ValueError(
                f"init_cache: spare={self.spare!r}: expected a whole number, at least 0"
            )


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
        copies: how many rows, side by side, attend to each row of the sources, such as the beams of
            a prompt: its keys and values are kept once.
    """

    layers: tuple[dict[str, KeyValues], ...]
    nodes: dict[str, Nodes]
    sources: dict[str, Nodes]
    length: Int[Array, ""] | Int[Array, " B"]
    size: int = field(metadata={"static": True})
    stacked: bool = field(default=True, metadata={"static": True})
    spare: int = field(default=0, metadata={"static": True})
    awaited: int = field(default=0, metadata={"static": True})
    copies: int = field(default=1, metadata={"static": True})

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

    def attending(self, q: Nodes) -> tuple[Nodes, dict[str, Nodes]]:
        """The queries `q` as they attend to the sources (rows that share one are one row), and the
        nodes of the sources."""
        if self.copies > 1 and self.sources:
            rows = next(iter(self.sources.values())).tags["index"].shape[0]
            q = q.side_by_side(rows, self.copies)
        return q, self.sources

    def advance(self, q: Nodes, layers: tuple[dict[str, KeyValues], ...]) -> Cache:
        """The cache after the tokens `q` were written."""
        nodes = {
            name: self._written(old, q, ring=name != str(self.size))
            for name, old in self.nodes.items()
        }
        real = q.valid if self.per_row else None
        length = self.length + (q.length if real is None else real.sum(axis=1, dtype=jnp.int32))
        return replace(self, layers=layers, nodes=nodes, length=length, awaited=0)

    def listed(self, stack: StackSpec) -> Cache:
        """The cache of a stack whose layers are a list, of that of its stacked layers."""
        applied = [range(len(stack.order))] if stack.order else stack.slots
        layers = {
            number: layer_of(entry, index)
            for entry, numbers in zip(self.layers, applied)
            for index, number in enumerate(numbers)
        }
        in_order = tuple(layers[number] for number in sorted(layers))
        return replace(self, layers=in_order, stacked=False) if self.stacked else self

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
        """The cache with the rows of another, which has N, in the place of these.

        Raises:
            ValueError: rows of one of them share their sources (`copies`).
        """
        if self.copies > 1 or other.copies > 1:
            raise ValueError(
                f"put: each {max(self.copies, other.copies)} rows of a cache attend to one row of "
                "the source; put rows before they are repeated"
            )
        at = lambda axis: (slice(None),) * axis + (rows,)
        change = lambda old, new, axis: old.at[at(axis)].set(new)
        axis = 1 if self.stacked else 0
        layers = jax.tree.map(lambda a, b: change(a, b, axis), self.layers, other.layers)
        mine, theirs = (self.nodes, self.sources), (other.nodes, other.sources)
        nodes, sources = jax.tree.map(lambda a, b: change(a, b, 0), mine, theirs)
        length = change(self.length, other.length, 0)
        return replace(self, layers=layers, nodes=nodes, sources=sources, length=length)

    def gather(self, rows: Int[Array, " B"]) -> Cache:
        """The rows of the batch in another order, possibly repeated."""
        take = lambda leaf, axis: jnp.take(leaf, rows, axis=axis)
        of_source = lambda leaf, axis: jnp.take(leaf, rows // self.copies, axis=axis)
        return replace(self._rows(take, of_source), copies=1)

    def repeat(self, times: int) -> Cache:
        """Every row `times` times, side by side. They attend to one source."""
        several = self._rows(lambda leaf, axis: jnp.repeat(leaf, times, axis=axis))
        return replace(several, copies=self.copies * times)

    def reorder(self, rows: Int[Array, " B"], shared: int | Int[Array, ""] = 0) -> Cache:
        """`gather` for rows that move only among those of one prompt, such as its beams. What is
        the same for all of them stays: what the decoder attends to, the nodes, and the keys of the
        first `shared` tokens. Where each row keeps its place, nothing is moved."""
        if self.per_row or is_symbolic(self.size):
            return self._rows(lambda leaf, axis: jnp.take(leaf, rows, axis=axis))
        moves = (rows != jnp.arange(rows.shape[0])).any()
        axis = 1 if self.stacked else 0
        entries = [entry for layer in self.layers for entry in layer.values()]
        rings, full = ([e for e in entries if e.kind == kind] for kind in ("ring", "full"))

        def move_rings(_: Array, rings: list[KeyValues]) -> list[KeyValues]:
            return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=axis), rings)

        def move_tile(number: Array, full: list[KeyValues]) -> list[KeyValues]:
            first = shared + number * TILE
            return jax.tree.map(lambda leaf: moved(leaf, rows, axis, first), full)

        tiles = -(-jnp.maximum(self.length - shared, 0) // TILE)
        rings = jax.lax.fori_loop(0, moves.astype(jnp.int32), move_rings, rings)
        full = jax.lax.fori_loop(0, jnp.where(moves, tiles, 0), move_tile, full)
        made = {"ring": iter(rings), "full": iter(full)}
        layers = tuple(
            {name: next(made[e.kind]) if e.kind in made else e for name, e in layer.items()}
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def _rows(self, change: Change, of_source: Change = lambda leaf, axis: leaf) -> Cache:
        """The cache with each array changed along its axis of rows: those of the text by one
        function, those of the sources by another."""
        axis = 1 if self.stacked else 0

        def changed(entry: KeyValues) -> KeyValues:
            own = of_source if entry.kind == "cross" else change
            made: KeyValues = jax.tree.map(lambda leaf: own(leaf, axis), entry)
            return made

        layers = tuple({name: changed(e) for name, e in layer.items()} for layer in self.layers)
        nodes = jax.tree.map(lambda leaf: change(leaf, 0), self.nodes)
        sources = jax.tree.map(lambda leaf: of_source(leaf, 0), self.sources)
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
    # -1 is before every token, so an unwritten slot is never within a window. Each tag is an array
    # of its own, so that the cache can be donated.
    nowhere = {name: jnp.full((batch, slots), -1, jnp.int32) for name in sorted(names)}
    return Nodes(nowhere, jnp.zeros((batch, slots), bool))


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
            if len(op.masks) > 1 or (op.extend is not None and not op.extend.cached):
                raise ValueError(
                    "an attention with several relations, or with keys beyond its tokens, "
                    "keeps no cache: call the model with whole rows"
                )
            (mask,) = op.masks
            slots = slots_for(mask, size, spare)
            key, value = (
                (*leading, batch, groups, slots, numbers) for groups, numbers in op.cached
            )
            entry[branch.name] = _empty(key, value, slots == size, made_for)
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
    key: tuple[int, ...], value: tuple[int, ...], full: bool, made_for: CacheSpec
) -> KeyValues:
    scales = None
    if made_for.dtype == jnp.int8:
        of_key, of_value = (jnp.zeros((*each[:-1], 1), jnp.float32) for each in (key, value))
        scales = of_key, of_value
    return KeyValues(
        key=jnp.zeros(key, made_for.dtype),
        value=jnp.zeros(value, made_for.dtype),
        kind="full" if full else "ring",
        per_row=made_for.per_row,
        scales=scales,
    )


def _whole(shape: tuple[int, ...], nodes: Nodes) -> Nodes:
    """The nodes with tags and validity of every row [B S], which a cache reorders."""
    valid = jnp.ones(shape, bool) if nodes.valid is None else nodes.valid
    nodes = Nodes(nodes.tags, valid)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), nodes)
