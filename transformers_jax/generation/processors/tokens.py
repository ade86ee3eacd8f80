"""Tokens that must or must not be chosen, always or at one place of a text."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.generation.processors.record import (
    BANNED,
    Processor,
    among,
    ban,
    record,
    static,
    token_tuple,
)
from transformers_jax.generation.text import Text


@record
class ForcedBOSTokenLogitsProcessor(Processor):
    """After the first token of a text comes this one."""

    bos_token_id: Any = static()

    def __post_init__(self) -> None:
        self.settle(bos_token_id=token_tuple(self, "bos_token_id", self.bos_token_id))

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return _forced(self.bos_token_id, text.length == 1, scores)


@record
class ForcedEOSTokenLogitsProcessor(Processor):
    """The last token that a text may have, at the width `max_length`, is an end."""

    max_length: Any
    eos_token_id: Any = static()

    def __post_init__(self) -> None:
        self.settle(eos_token_id=token_tuple(self, "eos_token_id", self.eos_token_id))
        self.check("max_length", lambda value: value > 0, "> 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return _forced(self.eos_token_id, text.length == self.max_length - 1, scores)


@record
class SuppressTokensLogitsProcessor(Processor):
    """These tokens cannot be chosen."""

    suppress_tokens: Any = static()

    def __post_init__(self) -> None:
        self.settle(suppress_tokens=token_tuple(self, "suppress_tokens", self.suppress_tokens))

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return ban(among(self.suppress_tokens, scores.shape[1]), scores)


@record
class SuppressTokensAtBeginLogitsProcessor(Processor):
    """These tokens cannot be chosen where the text has the width `begin_index`."""

    begin_suppress_tokens: Any = static()
    begin_index: Any

    def __post_init__(self) -> None:
        tokens = token_tuple(self, "begin_suppress_tokens", self.begin_suppress_tokens)
        self.settle(begin_suppress_tokens=tokens)
        self.check("begin_index", lambda value: value >= 0, ">= 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        tokens = among(self.begin_suppress_tokens, scores.shape[1])
        return ban(tokens & (text.length == self.begin_index), scores)


def _forced(
    tokens: tuple[int, ...], now: Bool[Array, ""], scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """Only the tokens can be chosen, with score 0, if it is time."""
    forced = jnp.where(among(tokens, scores.shape[1]), 0.0, BANNED)
    return jnp.where(now, forced, scores)
