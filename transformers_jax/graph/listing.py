"""The edges of a graph one by one, in place of its matrix: what an engine reads whose cost is
linear in the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.graph.edges import Edges
from transformers_jax.graph.listed import by_rows, conjuncts, ends, list_of, matrices
from transformers_jax.graph.lower import Refused
from transformers_jax.graph.mask import Mask
from transformers_jax.graph.nodes import Nodes
from transformers_jax.graph.primitives import FULL

MOST = 2**24
"""Pairs of nodes that are drawn, while tracing, to list the edges of a mask that has no list."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Listing:
    """The edges of `b` rows, one by one, and entries that are none (`live` is False there).

    Attributes:
        target, source: the columns of the query and of the key of each entry; 0 where it is none.
        pairs: the pair arrays at each edge, [b E ...].
    """

    target: Int[Array, "b E"]
    source: Int[Array, "b E"]
    live: Bool[Array, "b E"]
    pairs: dict[str, Array]


def listing(edges: Edges) -> Listing:
    """The edges of a graph. Those of a mask with a list (`Listed`) among its conjuncts are the
    entries of that list which fulfil the others; of any other mask they are listed while tracing,
    by what of it is known then, and what is not is asked of each.

    Raises:
        Refused: a mask without a list over more than `MOST` pairs of nodes.
    """
    found, rest = list_of(edges.mask)
    if found is not None:
        target, source = ends(edges.q, edges.k, edges.pairs[found.name])
    else:
        target, source, rest = _drawn(edges)
    live = target >= 0
    xp: Any = np if isinstance(live, np.ndarray) else jnp
    target, source = xp.where(live, target, 0), xp.where(live, source, 0)
    pairs: dict[str, Any] = {}
    for name, array in edges.pairs.items():
        if found is not None and name == found.name:
            continue
        whole = found is not None and name == found.features
        pairs[name] = by_rows(array, 3) if whole else _at(array, target, source)
    if edges.k.valid is not None:
        live = live & _of_nodes(edges.k.valid, source)
    if rest != FULL:
        live = live & _fulfils(edges, rest, target, source)
    return Listing(jnp.asarray(target), jnp.asarray(source), jnp.asarray(live), pairs)


def _drawn(edges: Edges) -> tuple[np.ndarray, np.ndarray, Mask]:
    """(targets, sources, what is still to be asked) of a mask without a list."""
    T, S = edges.shape
    if T * S > MOST:
        raise Refused(
            f"the mask {edges.mask} holds no list of edges, and {T} x {S} pairs are too many to "
            "list; give the edges as a list (Listed)"
        )
    drawn, rest = np.ones((1, T, S), bool), FULL
    for part in conjuncts(edges.mask):
        if _is_known(part, edges.q, edges.k):
            drawn = drawn & np.asarray(part.edges(edges.q, edges.k, {}))
        else:
            rest = part if rest == FULL else rest & part
    most = int(drawn.sum((1, 2)).max(initial=0))
    target, source = np.full((2, len(drawn), most), -1, np.int32)
    for row, matrix in enumerate(drawn):
        here = np.nonzero(matrix)
        target[row, : len(here[0])], source[row, : len(here[0])] = here
    return target, source, rest


def _is_known(mask: Mask, q: Nodes, k: Nodes) -> bool:
    """Whether the edges of an expression are known while tracing."""
    tags = [q.tags.get(name) for part in mask.parts() for name in part.reads_of("query")]
    tags += [k.tags.get(name) for part in mask.parts() for name in part.reads_of("key")]
    return not mask.pairs and all(isinstance(tag, np.ndarray) for tag in (*tags, *_index(q, k)))


def _index(q: Nodes, k: Nodes) -> tuple[Any, Any]:
    return q.tags["index"], k.tags["index"]


def _spread(array: Any, rows: int) -> Any:
    return jnp.broadcast_to(jnp.asarray(array), (rows, *array.shape[1:]))


def _of_nodes(tag: Any, column: Any) -> Array:
    """A tag [b T] at the columns of edges [b E]."""
    rows = max(len(tag), len(column))
    return jnp.take_along_axis(_spread(tag, rows), _spread(column, rows), 1)


def _at(array: Any, target: Any, source: Any) -> Array:
    """A pair array [b T S ...] at edges, [b E ...]."""
    rows = max(len(array), len(target))
    array, target, source = (_spread(x, rows) for x in (array, target, source))
    return array[jnp.arange(rows)[:, None], target, source]


def _fulfils(edges: Edges, mask: Mask, target: Any, source: Any) -> Bool[Array, "b E"]:
    """Whether an expression holds at each edge."""
    names = mask.pairs
    own = Edges(edges.q, edges.k, mask, {n: edges.pairs[n] for n in names})
    own = matrices(own)  # a list that is no conjunct is asked as a matrix
    q, k = at_edges(edges.q, target), at_edges(edges.k, source)
    pairs = {n: _at(own.pairs[n], target, source) for n in own.mask.pairs}
    rows = max(len(x) for x in (target, *q.tags.values(), *k.tags.values(), *pairs.values()))
    flat = lambda x: _spread(x, rows).reshape(-1, 1)
    q, k = (Nodes({n: flat(tag) for n, tag in nodes.tags.items()}) for nodes in (q, k))
    pairs = {n: flat(x)[:, :, None] for n, x in pairs.items()}
    held = own.mask.edges(q, k, pairs)
    return jnp.broadcast_to(held, (rows * target.shape[1], 1, 1)).reshape(rows, -1)


def at_edges(nodes: Nodes, column: Any) -> Nodes:
    """The nodes at one end of edges: their tags, [b E]."""
    return Nodes({name: _of_nodes(tag, column) for name, tag in nodes.tags.items()})
