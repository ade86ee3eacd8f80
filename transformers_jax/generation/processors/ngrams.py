"""No sequence of n tokens occurs twice, or occurs in the source as well."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.processors.record import (
    Processor,
    ban,
    copied,
    marked,
    record,
    row_of,
    static,
)
from transformers_jax.generation.text import Text


@record
class NoRepeatNGramLogitsProcessor(Processor):
    """No n-gram of `ngram_size` tokens occurs twice in a row's text. (transformers counts padding
    as text here.)"""

    ngram_size: int = static()

    def __post_init__(self) -> None:
        _check_size(self, "ngram_size")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        found = _completions(self.ngram_size, text, text.ids, text.written, scores.shape)
        return ban(found, scores)


@record
class EncoderNoRepeatNGramLogitsProcessor(Processor):
    """No n-gram of `encoder_ngram_size` tokens of the source is repeated.

    Attributes:
        encoder_input_ids: Int[B S], or Int[S] of one row.
        valid: Bool[B S], which of them are text; None: all.
    """

    encoder_ngram_size: int = static()
    encoder_input_ids: Any
    valid: Any = None

    def __post_init__(self) -> None:
        _check_size(self, "encoder_ngram_size")

    def of_row(self, row: Int[Array, ""], count: int) -> Processor:
        ids = row_of(jnp.atleast_2d(jnp.asarray(self.encoder_input_ids)), row, count)
        valid = None if self.valid is None else row_of(jnp.asarray(self.valid), row, count)
        return EncoderNoRepeatNGramLogitsProcessor(self.encoder_ngram_size, ids, valid)

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        ids = copied(jnp.atleast_2d(jnp.asarray(self.encoder_input_ids)), len(scores))
        known = jnp.ones(ids.shape, bool)
        if self.valid is not None:
            known = copied(jnp.asarray(self.valid, bool), len(scores))
        found = _completions(self.encoder_ngram_size, text, ids, known, scores.shape)
        return ban(found, scores)


def _check_size(owner: Processor, name: str) -> None:
    size = getattr(owner, name)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"{type(owner).__name__}: {name} must be a whole number from 1 on, got {size!r}"
        )


def _completions(
    size: int,
    text: Text,
    ids: Int[Array, "R S"],
    known: Bool[Array, "R S"],
    shape: tuple[int, ...],
) -> Bool[Array, "R V"]:
    """Tokens that would complete, at the end of each row's text, an n-gram that occurs in `ids`."""
    width = ids.shape[1] - size + 1
    if width < 1 or size - 1 > text.ids.shape[1]:
        return jnp.zeros(shape, bool)
    tail, enough = text.last(size - 1)
    match = known[:, size - 1 :] & enough[:, None]
    for step in range(size - 1):
        window = slice(step, step + width)
        match &= known[:, window] & (ids[:, window] == tail[:, step, None])
    return marked(ids[:, size - 1 :], match, shape)
