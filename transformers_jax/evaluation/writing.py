"""Answers that a model writes to many prompts, each up to a string that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int, Key
from transformers_jax.generation import generate
from transformers_jax.generation.processors.record import record
from transformers_jax.generation.stopping.strings import StopStringCriteria
from transformers_jax.generation.stopping.token_bytes import token_bytes
from transformers_jax.generation.text import Text
from transformers_jax.generation.texts import continued, padded, until_end
from transformers_jax.models.base import Model
from transformers_jax.scoring.pairs import Ids


@record
class NewStrings(StopStringCriteria):
    """A row ends with the token that completes one of the strings, of which the prompt is no part:
    an answer may begin with a line break where the prompt ended with one."""

    def stops(self, text: Text) -> Bool[Array, " R"]:
        return super().stops(text._replace(start=jnp.maximum(text.start, text.begin)))


def write_answers(
    model: Model,
    tokenizer: Any,
    prompts: Sequence[Ids],
    *,
    until: Sequence[str] = (),
    max_new_tokens: int = 256,
    batch_size: int = 16,
    key: Key | None = None,
    **options: Any,
) -> list[str]:
    """The text behind each prompt (or in answer to it), without the string of `until` that ended
    it. Prompts of like length are computed together; `options` are those of `generate`."""
    criteria = _criteria(tokenizer, until)
    found: list[str] = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]), reverse=True)
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        rows = [prompts[n] for n in np.resize(numbers, min(batch_size, len(order)))]
        if key is not None:
            options["key"] = jax.random.fold_in(key, start)
        new = _new_tokens(model, rows, max_new_tokens, criteria, options)
        for number, row in zip(numbers, new):
            before = [] if model.is_encoder_decoder else prompts[number].tolist()
            found[number] = cut(continued(tokenizer, before, row, special=False), until)
    return found


def cut(text: str, until: Sequence[str]) -> str:
    """The text up to the first string that ends it."""
    places = [text.find(string) for string in until if string and string in text]
    return text[: min(places, default=len(text))]


def _criteria(tokenizer: Any, until: Sequence[str]) -> list[Any]:
    """What ends a row early: those strings of which the tokenizer has the last character. The
    others are never written."""
    ends = {byte for text in token_bytes(tokenizer).values() for byte in text}
    strings = tuple(string for string in until if string and string.encode()[-1] in ends)
    return [NewStrings(tokenizer, strings)] if strings else []


def _new_tokens(
    model: Model, rows: list[Ids], count: int, criteria: list[Any], options: dict[str, Any]
) -> list[list[int]]:
    """Of each prompt, up to its end."""
    prompts = padded(model, rows)
    made = generate(
        model,
        prompts["input_ids"],
        attention_mask=prompts["attention_mask"],
        max_new_tokens=count,
        stopping_criteria=criteria or None,
        return_dict_in_generate=True,
        **options,
    )
    width = 1 if model.is_encoder_decoder else max(map(len, rows))
    new = zip(np.asarray(made.sequences)[:, width:].tolist(), np.asarray(made.new_tokens).tolist())
    return [until_end(model, row, count) for row, count in new]


def prompt_ids(model: Model, ids: Int[Any, " T"], most: int | None, count: int) -> Ids:
    """A prompt that leaves `count` tokens their place: cut at its front, where it is longer."""
    row = np.asarray(ids, np.int32)
    if most is None:
        return row
    room = most if model.is_encoder_decoder else most - count
    return row[-room:]
