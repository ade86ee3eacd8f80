"""Which tiles of the T x S square are empty, partly full or full, without drawing the square.

Three-valued logic. From the range of a tag over a tile of queries and over a tile of keys each
primitive answers a pair:

    may     some query of the tile may attend to some key      (not may:  skip the tile)
    must    every query attends to every key                   (must:     no mask inside it)

and the connectives follow: `a & b` is (may & may, must & must), `a | b` is (may | may,
must | must), `~a` is (~must, ~may). Sound for every expression; exact only where the parts are
independent of each other.

Whatever is known while tracing (NumPy tags) stays NumPy, so the list of live tiles is then a
constant of the program; otherwise the same lines run on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.graph import mask as masks
from transformers_jax.graph import primitives
from transformers_jax.graph.blocks import Block, Scattered
from transformers_jax.graph.edges import Edges
from transformers_jax.graph.listed import Repeated
from transformers_jax.graph.nodes import Nodes

Answer = tuple[Any, Any]  # (may, must), each Bool broadcastable to [b n m]


def pad(array: Array, axis: int, size: int, **how) -> Array:
    """`array` with `axis` filled up to a multiple of `size`; NumPy stays NumPy."""
    short = -array.shape[axis] % size
    if short == 0:
        return array
    widths = [(0, short if a == axis % array.ndim else 0) for a in range(array.ndim)]
    return (np if isinstance(array, np.ndarray) else jnp).pad(array, widths, **how)


def pad_nodes(nodes: Nodes, size: int) -> Nodes:
    """Nodes whose length is a multiple of `size`; the new ones are not valid.

    They repeat the tags of the last one, so that the ranges of its tile stay as narrow as they are.
    """
    if nodes.length % size == 0:
        return nodes
    valid: Any = np.ones((1, nodes.length), bool) if nodes.valid is None else nodes.valid
    tags = {name: pad(tag, 1, size, mode="edge") for name, tag in nodes.tags.items()}
    return Nodes(tags, pad(valid, 1, size))


class Ranges:
    """The least and greatest value of any tag in each tile, over the nodes that are valid."""

    def __init__(self, nodes: Nodes, size: int, axis: int, valid: Any):
        self.nodes, self.size, self.axis = nodes, size, axis
        self.valid = None if valid is None else self._cut(valid)

    def __call__(self, name: str) -> tuple[Array, Array]:
        """(least, greatest), each [b n 1] for queries and [b 1 m] for keys."""
        tag = self._cut(self.nodes.tag(name))
        if self.valid is None:
            return self._column(tag.min(-1)), self._column(tag.max(-1))
        least, greatest = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        xp = np if isinstance(tag, np.ndarray) and isinstance(self.valid, np.ndarray) else jnp
        some = self.valid.any(-1)
        low = xp.where(some, xp.where(self.valid, tag, greatest).min(-1), 0)
        high = xp.where(some, xp.where(self.valid, tag, least).max(-1), 0)
        return self._column(low), self._column(high)

    def some_valid(self) -> Answer:
        """Whether any and whether all of a tile's nodes are valid."""
        if self.valid is None:
            return _YES
        return self._column(self.valid.any(-1)), self._column(self.valid.all(-1))

    def _cut(self, array: Array) -> Array:
        return array.reshape(array.shape[0], -1, self.size)

    def _column(self, array: Array) -> Array:
        return array[:, :, None] if self.axis == 1 else array[:, None, :]


_YES = np.ones((1, 1, 1), bool), np.ones((1, 1, 1), bool)
_UNKNOWN = np.ones((1, 1, 1), bool), np.zeros((1, 1, 1), bool)
"""An edge may exist and none must, which is always sound."""


def answer(mask: masks.Mask, q: Ranges, k: Ranges, dense: Mapping[str, Answer]) -> Answer:
    """(may, must) of an expression over every pair of tiles."""
    match mask:
        case primitives.Full():
            return _YES
        case masks.All(a, b):
            (may, must), (may2, must2) = answer(a, q, k, dense), answer(b, q, k, dense)
            return may & may2, must & must2
        case masks.Any(a, b):
            (may, must), (may2, must2) = answer(a, q, k, dense), answer(b, q, k, dense)
            return may | may2, must | must2
        case masks.Not(part):
            may, must = answer(part, q, k, dense)
            return ~must, ~may
        case primitives.Dense(name) | Repeated(name):
            return dense[name]
        case primitives.Where(tag, of):
            low, high = k(tag) if of == "key" else q(tag)
            return high > 0, low > 0
        case primitives.Comparison():
            return _compare(mask, q(mask.tag), k(mask.tag))
        case Scattered():
            return _by_value(mask, q, k)
    return _UNKNOWN  # a mask that is not ours


def _by_value(mask: masks.Mask, q: Ranges, k: Ranges) -> Answer:
    """The exact answer where tags are known while tracing, from the mask drawn once per value of
    the tags that it reads: blocks are few where tokens are many. Otherwise nothing is known."""
    sides = [[ranges.nodes.tag(name) for name in mask.reads] for ranges in (q, k)]
    if not all(isinstance(tag, np.ndarray) for tags in sides for tag in tags):
        return _UNKNOWN
    rows = max(tag.shape[0] for tags in sides for tag in tags)
    answers = []
    for row in range(rows):
        values, members = [], []
        for tags, ranges in zip(sides, (q, k)):
            here = np.stack([tag[row if len(tag) > 1 else 0] for tag in tags])
            distinct, which = np.unique(here, axis=1, return_inverse=True)
            member = np.zeros((which.size // ranges.size, distinct.shape[1]), np.float32)
            np.put_along_axis(member, which.reshape(len(member), -1), 1.0, 1)
            values.append(Nodes({n: v[None] for n, v in zip(mask.reads, distinct)}))
            members.append(member)
        square = tuple(member.shape[1] for member in members)
        drawn = np.broadcast_to(np.asarray(mask.edges(values[0], values[1]))[0], square)
        may, must = (members[0] @ part.astype(np.float32) @ members[1].T > 0
                     for part in (drawn, ~drawn))  # fmt: skip
        answers.append((may, ~must))
    may, must = (np.stack(parts) for parts in zip(*answers))
    return may, must


def _compare(mask: masks.Mask, q: tuple[Array, Array], k: tuple[Array, Array]) -> Answer:
    """The primitives that compare one tag of the query with the same tag of the key."""
    (q_low, q_high), (k_low, k_high) = q, k
    match mask:
        case primitives.Before():
            return k_low <= q_high, k_high <= q_low
        case primitives.Near(left, right):
            may, must = _YES
            if left is not None:
                may, must = may & (q_low - k_high <= left), must & (q_high - k_low <= left)
            if right is not None:
                may, must = may & (k_low - q_high <= right), must & (k_high - q_low <= right)
            return may, must
        case primitives.Strided(step):
            least, greatest = q_low - k_high, q_high - k_low  # of the gaps in the tile
            may = greatest // step * step >= least
            return may, may & ((least == greatest) | (step == 1))
        case Block(size):
            return _same(q_low // size, q_high // size, k_low // size, k_high // size)
        case primitives.Same():
            return _same(q_low, q_high, k_low, k_high)
    return _UNKNOWN  # a comparison that is not ours


def _same(q_low: Array, q_high: Array, k_low: Array, k_high: Array) -> Answer:
    """May: the ranges meet. Must: all four ends agree."""
    must = (q_low == k_high) & (q_high == k_low)
    return (k_low <= q_high) & (q_low <= k_high), must & (q_low == q_high)


def tiles(edges: Edges, size: tuple[int, int]) -> Answer:
    """(may, must), each Bool[b n m], of tiles with `size` (queries, keys); ragged ends are filled.

    A node beyond the ends, like a key that is not valid, counts for no edge: its tile is not full.
    """
    q, k = pad_nodes(edges.q, size[0]), pad_nodes(edges.k, size[1])
    rows, columns = q.length // size[0], k.length // size[1]
    beyond = None  # queries are never masked by `valid`; only those beyond the end do not count
    if q.length != edges.q.length:
        beyond = (np.arange(q.length) < edges.q.length)[None]
    of_q, of_k = Ranges(q, size[0], 1, beyond), Ranges(k, size[1], 2, k.valid)
    dense = {name: _tiles_of_array(array, size) for name, array in edges.pairs.items()}
    may, must = answer(edges.mask, of_q, of_k, dense)
    some, every = of_k.some_valid()
    may, must = may & some, must & every & may
    xp = np if isinstance(may, np.ndarray) and isinstance(must, np.ndarray) else jnp
    return tuple(xp.broadcast_to(x, (x.shape[0], rows, columns)) for x in (may, must))


def _tiles_of_array(array: Array, size: tuple[int, int]) -> Answer:
    """(may, must) of a graph that is given as an array: one pass over it."""
    array = array if array.dtype == bool else array > 0
    array = pad(pad(array, 1, size[0]), 2, size[1])
    b, T, S = array.shape
    square = array.reshape(b, T // size[0], size[0], S // size[1], size[1])
    return square.any((2, 4)), square.all((2, 4))


def last_keys(edges: Edges, size: int = 512) -> Int[np.ndarray, "b T"]:
    """The last key that each query attends to, -1 where there is none; of tags that
    are known, and masks that read no `pairs`.

    Only tiles that may hold an edge are drawn, one at a time and from the last key on, until all
    queries of a tile have one: rows may be long.
    """
    may, parts = np.asarray(tiles(edges, (size, size))[0]), []
    for row in range(may.shape[1]):
        live_tiles = may[:, row].any(0)
        q = edges.q[row * size : (row + 1) * size]
        last = np.full((1, q.length), -1)
        for start in size * np.flatnonzero(live_tiles)[::-1]:
            k = edges.k[start : start + size]
            drawn = np.asarray(Edges(q, k, edges.mask).allowed())
            here = np.where(drawn, start + np.arange(k.length), -1).max(-1)
            last = np.maximum(last, here)
            if (last >= 0).all():
                break
        parts.append(last)
    rows = max(map(len, parts))
    return np.concatenate([np.broadcast_to(p, (rows, p.shape[1])) for p in parts], axis=1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Live:
    """The live tiles in order: tile `n` of `count` is (row[n], query[n], key[n])."""

    row: Any  # Int[n], NumPy if the tiles are known while tracing, as are the next two
    query: Any
    key: Any
    count: Any  # int, or Int[]


def live(may: Bool[Array, "b n m"]) -> Live:
    """Lists the tiles that may hold an edge: exactly as many as there are if `may` is NumPy, else
    in arrays long enough for all, of which only the first `count` are tiles."""
    if isinstance(may, np.ndarray):
        row, query, key = (part.astype(np.int32) for part in np.nonzero(may))
        return Live(row, query, key, len(row))
    row, query, key = jnp.nonzero(may, size=may.size, fill_value=0)
    row, query, key = (part.astype(jnp.int32) for part in (row, query, key))
    return Live(row, query, key, may.sum(dtype=jnp.int32))
