"""The input of a search, the text that it writes, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.generation.options import Options

Traced = dict[str, Array]
"""Traced options: another value needs no compilation, but which of them are set is static."""

Ids = tuple[Int[Array, "B S"], Bool[Array, "B S"]]
"""The ids of a source, and which of them are text."""


class Text(NamedTuple):
    """The text written so far: row r holds its text in the columns start[r] to end, excluded.

    R rows (batch x beams). The columns before `offset` exist only because widths come in buckets;
    those from `offset` to `start` are the caller's own padding. New tokens begin at `begin`. Tags
    are of all columns, those that are not written yet included.
    """

    ids: Int[Array, "R W"]
    start: Int[Array, " R"]
    offset: Int[Array, ""]
    begin: int
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
    are those of prompt and new tokens, as wide as the cache. `source` is what
    `encoder_no_repeat_ngram_size` compares.
    """

    ids: Int[Array, "B W"]
    start: Int[Array, " B"]
    offset: Int[Array, ""]
    inputs: dict[str, Any]
    tags: dict[str, Int[Array, "B width"]]
    source: Ids | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Job:
    """The input of a search; its static fields determine the compiled program.

    The key is there if and only if the options say `do_sample`.
    """

    prompt: Prompt
    traced: Traced
    limit: Int[Array, ""]  # most new tokens
    key: Key | None
    options: Options = field(metadata={"static": True})
    width: int = field(metadata={"static": True})  # of cache and text: prompt and new tokens fit
    with_scores: bool = field(metadata={"static": True})
    with_log_probs: bool = field(default=False, metadata={"static": True})

    @property
    def pad(self) -> int:
        """What fills ended rows; where nothing ends, nothing but unwritten columns."""
        return self.options.pad_token_id or 0

    def step_key(self, step: Int[Array, ""]) -> Key:
        """The key of one step's draw."""
        assert self.key is not None
        return jax.random.fold_in(self.key, step)

    def begin_text(self, copies: int) -> Text:
        """The prompt at the left of an array as wide as the cache, every row `copies` times; the
        rest is padding."""
        prompt, begin = self.prompt, self.prompt.ids.shape[1]
        after = ((0, 0), (0, self.width - begin))
        ids = jnp.pad(prompt.ids, after, constant_values=self.pad)
        each = ids, prompt.start, prompt.tags
        ids, start, tags = jax.tree.map(lambda x: jnp.repeat(x, copies, axis=0), each)
        return Text(ids, start, prompt.offset, begin, jnp.int32(begin), tags)

    def ends(self, token: Int[Array, "..."]) -> Bool[Array, "..."]:
        """Whether a token ends the text."""
        return jnp.isin(token, jnp.array(self.options.eos_token_id, token.dtype))


class Result(NamedTuple):
    """The result of a search. R rows: batch x returned sequences."""

    ids: Int[Array, "R width"]
    steps: Int[Array, ""]  # the longest row's number of new tokens
    row_scores: Float[Array, " R"] | None = None
    scores: Float[Array, "width N V"] | None = None
    log_probs: Float[Array, "width R"] | None = None  # of each new token, at temperature 1
