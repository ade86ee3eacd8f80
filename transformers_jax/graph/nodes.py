"""Nodes: the tags of each token, which masks compare. No parameters, no embeddings.

A token is a node; a *tag* is an integer that it carries. Masks compare tags, never columns of an
array, which is why the same mask serves training, packed rows, ring buffers and cached decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, is_symbolic


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nodes:
    """The tokens of `b` rows (b is the batch size, or 1 where all rows agree).

    Attributes:
        tags: integers per token, by name: `index` (column of the row: what masks compare),
            `position` (what positional encodings read), `document`, `prefix`, ... Tags that are
            known while tracing stay NumPy arrays, so that live tiles can be listed statically.
        valid: False where there is no token (padding, or a cache slot not written yet).
    """

    tags: dict[str, Int[Array, "b T"]]
    valid: Bool[Array, "b T"] | None = None

    @property
    def length(self) -> int:
        """T, the number of tokens in a row."""
        return self.tags["index"].shape[1]

    @property
    def position(self) -> Int[Array, "b T"]:
        """What positional encodings read: the tag `position`, or else `index`."""
        return self.tags.get("position", self.tags["index"])

    def tag(self, name: str) -> Int[Array, "b T"]:
        """The tag called `name`; `position` is `index` where it is not set.

        Raises:
            ValueError: if these nodes do not carry it; the tags present are listed.
        """
        if name == "position":
            return self.position
        if name not in self.tags:
            raise ValueError(
                f"a mask compares the tag {name!r}, but the nodes carry only {sorted(self.tags)}; "
                f"pass it as tags={{{name!r}: Int[B T]}}"
            )
        return self.tags[name]

    def with_tags(self, **tags: Int[Array, "b T"]) -> Nodes:
        """The same nodes with these tags added or replaced."""
        return replace(self, tags={**self.tags, **tags})

    def zeroed(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The vectors of these nodes, zero where there is no token."""
        return x if self.valid is None else jnp.where(self.valid[..., None], x, 0)

    def side_by_side(self, rows: int, copies: int) -> Nodes:
        """The nodes of each `copies` rows as one row, of which there are then `rows`."""

        def join(leaf: Array) -> Array:
            whole = jnp.broadcast_to(leaf, (rows * copies, leaf.shape[1]))
            return whole.reshape(rows, copies * leaf.shape[1])

        return self if copies == 1 else jax.tree.map(join, self)

    def __getitem__(self, columns: slice) -> Nodes:
        """The nodes of some columns, e.g. `nodes[3:4]` for one row of the matrix of edges."""
        return jax.tree.map(lambda leaf: leaf[:, columns], self)


def concatenate(*parts: Nodes) -> Nodes:
    """The nodes of several sets, one after the other; all must carry the same tags.

    Raises:
        ValueError: if the tags differ.
    """
    names = [sorted(part.tags) for part in parts]
    if any(other != names[0] for other in names):
        raise ValueError(f"nodes with different tags cannot be joined: {names}")
    tags = {name: _join([part.tags[name] for part in parts]) for name in parts[0].tags}
    if all(part.valid is None for part in parts):
        return Nodes(tags)
    valid = [np.ones((1, p.length), bool) if p.valid is None else p.valid for p in parts]
    return Nodes(tags, _join(valid))


def _join(arrays: list) -> Array:
    """Concatenates [b T] arrays along T; rows are repeated where one of them has b = 1."""
    numpy = np if all(isinstance(a, np.ndarray) for a in arrays) else jnp
    rows = max(a.shape[0] for a in arrays)
    return numpy.concatenate([numpy.broadcast_to(a, (rows, a.shape[1])) for a in arrays], axis=1)


def sequence(
    length: int,
    *,
    start: int | Int[Array, ""] = 0,
    valid: Bool[Array, "b T"] | None = None,
    tags: Mapping[str, Int[Array, "b T"]] | None = None,
) -> Nodes:
    """A row of `length` tokens, counted from `start`."""
    numpy = jnp if is_symbolic(length) else np
    index: Any = numpy.arange(length, dtype=np.int32)[None] + start
    return Nodes({"index": index, **(tags or {})}, valid)
