"""Texts that grow by numbers of tokens of their own: each row has its own end, and begins in the
first column. Assisted decoding and slots that are served (`slots.py`) write them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation import processors
from transformers_jax.generation.job import Job
from transformers_jax.generation.processors import Processor
from transformers_jax.generation.text import Text
from transformers_jax.graph import TEXT_POSITION
from transformers_jax.models.causal import writers_cache
from transformers_jax.models.reading import Columns


def rows_of(text: Text) -> Text:
    """The text of a job, whose rows end in the same column, moved to the first column. `offset`,
    `begin` and `end` are then numbers of each row; `offset` may be negative."""
    start = text.start
    left = lambda x: jax.vmap(lambda row, count: jnp.roll(row, -count))(x, start)
    tags = {name: left(tag) for name, tag in text.tags.items()}
    column = jnp.arange(text.ids.shape[1])
    end = text.end - start
    ids = jnp.where(column < end[:, None], left(text.ids), text.ids[:, -1:])  # behind it: padding
    first: Any = text.begin - start
    return Text(ids, jnp.zeros_like(start), text.offset - start, first, end, tags)


def in_columns(text: Text, start: Int[Array, " R"]) -> Int[Array, "R W"]:
    """The ids of rows, moved back to the columns in which they began."""
    return jax.vmap(jnp.roll)(text.ids, start)


def of_row(text: Text, row: Int[Array, ""]) -> Text:
    """One row as a text of its own, such as processors read."""
    tags = {name: tag[row][None] for name, tag in text.tags.items()}
    offset, begin, end = (jnp.asarray(x)[row] for x in (text.offset, text.begin, text.end))
    return Text(text.ids[row][None], text.start[row][None], offset, begin, end, tags)


def process_rows(
    every: tuple[Processor, ...], text: Text, scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """The scores of each row after the processors, which read its text alone."""
    count = len(scores)

    def one(row: Int[Array, ""], own: Float[Array, " V"]) -> Float[Array, " V"]:
        mine = tuple(processor.of_row(row, count) for processor in every)
        return processors.apply(mine, of_row(text, row), own[None])[0]

    return jax.vmap(one)(jnp.arange(count), scores)


def take(x: Array, column: Int[Array, "R C"]) -> Array:
    """x[r, column[r, c]]; the last of a row for columns behind it."""
    column = jnp.minimum(column, x.shape[1] - 1)
    return jnp.take_along_axis(x, column.reshape(*column.shape, *(1,) * (x.ndim - 2)), axis=1)


def put(x: Int[Array, "R W"], first: Int[Array, " R"], new: Int[Array, "R C"]) -> Array:
    """x with `new` in the columns from `first` on of each row; what does not fit is dropped."""
    column = first[:, None] + jnp.arange(new.shape[1])
    return x.at[jnp.arange(len(x))[:, None], column].set(new.astype(x.dtype), mode="drop")


def advance(
    model: Any,
    text: Text,
    first: Int[Array, " R"],
    valid: Bool[Array, "R C"],
    cache: Any,
    **arguments: Any,
) -> tuple[Float[Array, "R C V"], Any]:
    """Reads the tokens from column `first` on of each row, those that are valid: the scores of the
    token after each, and the cache with them."""
    column = first[:, None] + jnp.arange(valid.shape[1])
    # positions that a model does not have are not computed, not even for padding
    column = jnp.where(valid, column, 0)
    tags = {name: take(tag, column) for name, tag in text.tags.items()}
    if any(TEXT_POSITION in mask.tags for mask in model.reading.masks):
        tags = {**tags, TEXT_POSITION: column}
    number = jnp.maximum(column - text.offset[:, None], 0)
    columns = Columns(valid, column, number, tags)
    ids = take(text.ids, column)
    return model.advance(ids, columns, cache, **arguments)


def prefill(
    model: Any, job: Job, text: Text, copies: int, spare: int
) -> tuple[Float[Array, "R V"] | None, Any]:
    """(scores of the first new token, a cache of rows after the prompts), with room for `spare`
    tokens that are taken back. As in `search.prefill` the last token of a prompt is left to the
    first step, and the scores are None, unless a prompt has to be read whole."""
    reading, inputs, width = model.reading, job.prompt.inputs, job.prompt.ids.shape[1]
    reader = job.reader or model
    read = () if model.is_encoder_decoder else reading.beside
    others = {name: inputs[name] for name in read if name in inputs}
    source = {name: x for name, x in inputs.items() if name not in others}
    whole = reading.looks_ahead or reading.by_length or bool(others)
    batch = job.prompt.ids.shape[0]
    cache = reader.begin(
        batch, job.width + spare, source, per_row=True, spare=spare, **job.options.of_cache
    )
    once = jax.tree.map(lambda x: x[::copies], text)  # the rows of a prompt are alike
    last = once.end - 1
    count = width if whole else width - 1
    first = None
    if count:
        valid = jnp.arange(count) < (once.end if whole else last)[:, None]
        begin = jnp.zeros(batch, jnp.int32)
        logits, cache = advance(reader, once, begin, valid, cache, **others)
        first = take(logits, last[:, None])[:, 0].astype(jnp.float32) if whole else None
    cache = writers_cache(reader, cache)
    if copies > 1:
        cache, first = cache.repeat(copies), jax.tree.map(lambda x: x.repeat(copies, 0), first)
    return first, cache
