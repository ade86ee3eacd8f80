"""The text that a search writes, as an array of fixed width."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Int

Ids = tuple[Int[Array, "B S"], Bool[Array, "B S"]]
"""The ids of a source, and which of them are text."""


class Text(NamedTuple):
    """The text written so far: row r holds its text in the columns start[r] to end, excluded.

    R rows (batch x beams). The columns before `offset` exist only because widths come in buckets;
    those from `offset` to `start` are the caller's own padding. New tokens begin at `begin`. Tags
    are of all columns, those that are not written yet included.

    Where rows grow by numbers of their own (`rows.py`), `offset`, `begin` and `end` are of each.
    """

    ids: Int[Array, "R W"]
    start: Int[Array, " R"]
    offset: Int[Array, ""]
    begin: int | Int[Array, ""]
    end: Int[Array, ""]
    tags: dict[str, Int[Array, "R W"]] = {}

    @property
    def length(self) -> Int[Array, ""]:
        """The width that the caller gets: prompt, its padding, and new tokens."""
        return self.end - self.offset

    @property
    def new(self) -> Int[Array, ""]:
        """The number of new tokens."""
        return self.end - self.begin

    @property
    def written(self) -> Bool[Array, "R W"]:
        """Which columns hold text."""
        column = jnp.arange(self.ids.shape[1])
        return (column >= self.start[:, None]) & (column < self.end)

    def last(self, count: int) -> tuple[Int[Array, "R count"], Bool[Array, " R"]]:
        """The last `count` tokens of each row, and whether the row has as many."""
        first = self.end - count
        ids = jax.lax.dynamic_slice_in_dim(self.ids, first, count, axis=1)
        return ids, first >= self.start

    def write(self, token: Int[Array, " R"]) -> Text:
        """The text with one token more in every row."""
        ids = jax.lax.dynamic_update_slice_in_dim(self.ids, token[:, None], self.end, axis=1)
        return self._replace(ids=ids, end=self.end + 1)


class Prompt(NamedTuple):
    """The caller's prompt at the right end of a bucket; row r begins at column start[r].

    `inputs` is read once: the inputs of `encode`, or further inputs of a decoder. `tags`
    are those of prompt and new tokens, as wide as the cache. `source` is what processors compare
    with a text, until they are made.
    """

    ids: Int[Array, "B W"]
    start: Int[Array, " B"]
    offset: Int[Array, ""]
    inputs: dict[str, Any]
    tags: dict[str, Int[Array, "B width"]]
    source: Ids | None = None


def whole_rows(input_ids: Any) -> Text:
    """Rows of which every column is text, and none is written yet: the prompt of a search."""
    ids = jnp.asarray(input_ids)
    if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(
            f"input_ids have shape {ids.shape} and dtype {ids.dtype}; expected integers of 2 axes "
            "(batch, length)"
        )
    rows, width = ids.shape
    return Text(ids, jnp.zeros(rows, jnp.int32), jnp.int32(0), width, jnp.int32(width))
