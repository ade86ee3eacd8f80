"""Tokens of the text, or of its source, become less or more likely."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.generation.processors.record import (
    Processor,
    copied,
    is_banned,
    marked,
    number,
    record,
    row_of,
)
from transformers_jax.generation.text import Text


@record
class RepetitionPenaltyLogitsProcessor(Processor):
    """Makes every token of the text less likely. Source: CTRL (Keskar et al. 2019), section 4.1.

    Attributes:
        penalty: above 1 against repetition, below 1 for it.
        prompt_ignore_length: how many columns at the beginning do not count, or of each row.
    """

    penalty: Any
    prompt_ignore_length: Any = None

    def __post_init__(self) -> None:
        self.settle(penalty=number(self.penalty))
        self.check("penalty", lambda value: value > 0, "> 0")
        self.check("prompt_ignore_length", lambda value: value >= 0, ">= 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        counted = text.written
        if self.prompt_ignore_length is not None:
            first = text.offset + jnp.atleast_1d(jnp.asarray(self.prompt_ignore_length))
            first = first if first.shape[0] == 1 else copied(first, text.ids.shape[0])
            counted &= jnp.arange(text.ids.shape[1]) >= first[:, None]
        return _scaled(scores, marked(text.ids, counted, scores.shape), self.penalty)


@record
class EncoderRepetitionPenaltyLogitsProcessor(Processor):
    """Makes every token of the source (of a decoder: of its prompt) more likely, against what is
    made up. (transformers counts padding of a source as its text.)

    Attributes:
        penalty: above 1 for tokens of the source.
        encoder_input_ids: Int[B S].
        valid: Bool[B S], which of them are text; None: all.
    """

    penalty: Any
    encoder_input_ids: Any
    valid: Any = None

    def __post_init__(self) -> None:
        self.settle(penalty=number(self.penalty))
        self.check("penalty", lambda value: value > 0, "> 0")

    def of_row(self, row: Int[Array, ""], count: int) -> Processor:
        ids = row_of(jnp.asarray(self.encoder_input_ids), row, count)
        valid = None if self.valid is None else row_of(jnp.asarray(self.valid), row, count)
        return EncoderRepetitionPenaltyLogitsProcessor(self.penalty, ids, valid)

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        ids = copied(jnp.asarray(self.encoder_input_ids), len(scores))
        known = jnp.ones(ids.shape, bool)
        if self.valid is not None:
            known = copied(jnp.asarray(self.valid, bool), len(scores))
        return _scaled(scores, marked(ids, known, scores.shape), 1 / self.penalty)


def _scaled(scores: Float[Array, "R V"], chosen: Array, penalty: Any) -> Float[Array, "R V"]:
    """Scores of the chosen, divided where they are positive, else multiplied."""
    penalised = jnp.where(scores < 0, scores * penalty, scores / penalty)
    return jnp.where(chosen & ~is_banned(scores), penalised, scores)
