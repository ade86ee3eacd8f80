"""A text ends not before, or rather after, so many tokens."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.generation.processors.record import (
    Processor,
    among,
    ban,
    is_banned,
    is_number,
    number,
    record,
    static,
    token_tuple,
)
from transformers_jax.generation.text import Text


@record
class MinLengthLogitsProcessor(Processor):
    """No end before the text, its prompt included, has `min_length` tokens."""

    min_length: Any
    eos_token_id: Any = static()

    def __post_init__(self) -> None:
        self.settle(eos_token_id=token_tuple(self, "eos_token_id", self.eos_token_id))
        self.check("min_length", lambda value: value >= 0, ">= 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        ends = among(self.eos_token_id, scores.shape[1])
        return ban(ends & (text.length < self.min_length), scores)


@record
class MinNewTokensLengthLogitsProcessor(Processor):
    """No end before `min_new_tokens` tokens came after the prompt.

    Attributes:
        prompt_length_to_skip: the width of the prompt.
    """

    prompt_length_to_skip: Any
    min_new_tokens: Any
    eos_token_id: Any = static()

    def __post_init__(self) -> None:
        self.settle(eos_token_id=token_tuple(self, "eos_token_id", self.eos_token_id))
        for name in ("prompt_length_to_skip", "min_new_tokens"):
            self.check(name, lambda value: value >= 0, ">= 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        ends = among(self.eos_token_id, scores.shape[1])
        return ban(ends & (text.length - self.prompt_length_to_skip < self.min_new_tokens), scores)


@record
class ExponentialDecayLengthPenalty(Processor):
    """From some length on the end becomes likelier with every token: |score| * (factor^n - 1) is
    added to its score.

    Attributes:
        exponential_decay_length_penalty: (after how many new tokens it begins, the factor).
        input_ids_seq_length: the width of the prompt.
    """

    exponential_decay_length_penalty: Any
    eos_token_id: Any = static()
    input_ids_seq_length: Any = 0

    def __post_init__(self) -> None:
        pair = self.exponential_decay_length_penalty
        if isinstance(pair, (list, tuple)):
            if len(pair) != 2 or any(isinstance(value, (bool, str)) for value in pair):
                raise ValueError(
                    "ExponentialDecayLengthPenalty: exponential_decay_length_penalty must be "
                    f"(start, factor), two numbers, got {pair!r}"
                )
            pair = int(pair[0]) if is_number(pair[0]) else pair[0], number(pair[1])
        self.settle(
            exponential_decay_length_penalty=pair,
            eos_token_id=token_tuple(self, "eos_token_id", self.eos_token_id),
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        start, factor = self.exponential_decay_length_penalty
        late = text.length - (start + self.input_ids_seq_length)
        power = jnp.float32(factor) ** jnp.maximum(late, 0) - 1
        held = is_banned(scores) | ~jnp.isfinite(scores)
        ends = np.asarray(among(self.eos_token_id, scores.shape[1])) & ~held & (late > 0)
        return jnp.where(ends, scores + jnp.abs(jnp.where(ends, scores, 0)) * power, scores)
