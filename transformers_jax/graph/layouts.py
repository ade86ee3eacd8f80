"""How nodes lie in a row: one sequence, several documents packed together, a cache that fills up.

A layout only writes tags; which of them a mask compares is the mask's business. `index` is always
the place in the row (windows and causality), `position` is what positional encodings read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.graph.nodes import Nodes
from transformers_jax.graph.nodes import sequence as sequence


def documents_of(lengths: Sequence[Sequence[int]], length: int | None = None) -> np.ndarray:
    """Int[b T] document numbers of rows packed with documents of these lengths; -1 is padding.

    >>> documents_of([[2, 3], [4]])
    array([[ 0,  0,  1,  1,  1],
           [ 0,  0,  0,  0, -1]], dtype=int32)

    Raises:
        ValueError: naming each row that is longer than `length`.
    """
    totals = [sum(row) for row in lengths]
    length = max(totals, default=0) if length is None else length
    if long := [f"row {n}: {total}" for n, total in enumerate(totals) if total > length]:
        raise ValueError(f"documents do not fit into rows of {length} tokens: {', '.join(long)}")
    filled = [
        np.repeat([*range(len(row)), -1], [*row, length - total])
        for row, total in zip(lengths, totals)
    ]
    return np.array(filled, np.int32).reshape(len(filled), length)


def packed(
    document: Int[Array, "b T"], *, tags: Mapping[str, Int[Array, "b T"]] | None = None
) -> Nodes:
    """Rows in which several documents stand one after the other; a negative number is padding.

    `index` runs on through the row, `position` starts at 0 in every document, and the tag
    `document` keeps them apart: `CAUSAL & Same("document")` is a decoder over them.
    """
    full = isinstance(document, np.ndarray) and bool((document >= 0).all())
    tags = {"document": document, **(tags or {}), "position": restart(document)}
    return sequence(document.shape[1], valid=None if full else document >= 0, tags=tags)


def restart(document: Int[Array, "b T"]) -> Int[Array, "b T"]:
    """The place of each token in its own document, counted from 0; documents do not interleave."""
    known = isinstance(document, np.ndarray)
    xp: Any = np if known else jnp
    place = xp.arange(document.shape[1], dtype=xp.int32)[None]
    first = xp.ones((document.shape[0], 1), bool)
    starts = xp.concatenate([first, document[:, 1:] != document[:, :-1]], 1)
    begun = xp.where(starts, place, 0)
    last = np.maximum.accumulate(begun, 1) if known else jax.lax.cummax(begun, axis=1)
    return (place - last).astype(xp.int32)


def cached(
    length: int, written: Int[Array, ""] | int, valid: Bool[Array, "b S"] | None = None
) -> Nodes:
    """The slots of a cache with room for `length` tokens, of which the first `written` hold one.

    `valid` says which of the tokens written are real (a left-padded prompt has some that are not).
    """
    filled: Any = np.arange(length, dtype=np.int32)[None] < written
    return sequence(length, valid=filled if valid is None else filled & valid)


# ---------------------------------------------------------------- tags of long rows


def _real(nodes: Nodes) -> Any:
    """Int[b T], 1 where there is a token, 0 in padding; NumPy where it is known while tracing."""
    if nodes.valid is None:
        return np.ones((1, nodes.length), np.int32)
    return nodes.valid.astype(np.int32)


def with_global(nodes: Nodes) -> Nodes:
    """Nodes with the tags `real`, 1 where there is a token, and `global`: that of the nodes, or 0;
    padding is never global."""
    real = _real(nodes)
    marked: Any = nodes.tags.get("global", np.zeros((1, nodes.length), np.int32))
    return nodes.with_tags(real=real, **{"global": (marked > 0) * real})


def blocked(nodes: Nodes, size: int, longest: int = 0) -> Nodes:
    """Nodes in blocks of `size` tokens, the last of which may be shorter.

    Adds the tags `block` (its number), `blocks` (how many there are), `first` (1 in the first),
    `edge` (1 in the first and in the last), `real` (1 where there is a token) and `repeats` (1
    outside of the edges, in a call without noise). In rows of at most `longest` tokens all are
    `edge` and `real`.
    """
    index = nodes.tag("index")
    block = index // size
    count = -(-nodes.length // size)
    short = nodes.length <= longest
    edge = (block == 0) | (block == count - 1) | short
    blocks: Any = np.full((1, nodes.length), count, np.int32)
    real = _real(Nodes(nodes.tags) if short else nodes)
    noise: Any = nodes.tags.get("noise", np.zeros((1, nodes.length), np.int32))
    return nodes.with_tags(
        block=block,
        blocks=blocks,
        first=(block == 0).astype(np.int32),
        edge=edge.astype(np.int32),
        real=real,
        noise=noise,
        repeats=(~edge & (noise == 0)).astype(np.int32),
    )
