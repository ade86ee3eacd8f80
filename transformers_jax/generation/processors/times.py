"""Whisper's rules of times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.generation.processors.record import BANNED, Processor, record, static
from transformers_jax.generation.text import Text


class Times(NamedTuple):
    """What a generation config says of times.

    Attributes:
        no_timestamps_token_id: those of times are the ids after it.
        eos_token_id: the end of a text, which may follow a time. All words have smaller ids.
        max_initial_timestamp_index: the latest time at which a text may begin.
    """

    no_timestamps_token_id: int
    eos_token_id: int
    max_initial_timestamp_index: int | None = None


@record
class WhisperTimeStampLogitsProcessor(Processor):
    """A text begins with a time, at most `max_initial_timestamp_index` after the first; times come
    in pairs around what is said and never go back; and where all times together are likelier than
    any other token, it is a time. Source: Radford et al. 2022, section 4.5, and the released code.

    Attributes:
        generate_config: a mapping or an object with the fields of `Times`.
        begin_index: the width of the prompt.
    """

    generate_config: Any = static()
    begin_index: Any
    _detect_timestamp_from_logprob: bool | None = static(default=None)

    def __post_init__(self) -> None:
        given, detect = self.generate_config, self._detect_timestamp_from_logprob
        if not isinstance(given, Times):
            read = given.get if isinstance(given, Mapping) else lambda *key: getattr(given, *key)
            first, end = read("no_timestamps_token_id", None), read("eos_token_id", None)
            end = read("bos_token_id", None) if end is None else end
            end = end[0] if isinstance(end, (list, tuple)) else end
            if first is None or end is None:
                raise ValueError(
                    "WhisperTimeStampLogitsProcessor: generate_config must have "
                    f"no_timestamps_token_id and eos_token_id, got {first!r} and {end!r}"
                )
            if detect is None:
                detect = read("_detect_timestamp_from_logprob", None)
            latest = read("max_initial_timestamp_index", None)
            self.settle(generate_config=Times(int(first), int(end), latest))
        self.settle(_detect_timestamp_from_logprob=True if detect is None else bool(detect))
        self.check("begin_index", lambda value: value >= 0, ">= 0")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        none, eos, latest = self.generate_config
        first, begin = none + 1, text.offset + self.begin_index
        new = text.end - begin
        token, column = jnp.arange(scores.shape[1]), jnp.arange(text.ids.shape[1])
        is_time = token >= first
        times = (text.ids >= first) & (column >= begin) & (column < text.end)
        at = lambda index: jnp.take(times, jnp.maximum(index, 0), axis=1)[:, None]
        last, before = at(text.end - 1), (new < 2) | at(text.end - 2)
        opened = last & ~before  # a single time, behind what was said
        newest = jnp.where(times, column, -1).max(axis=1)
        time = jnp.take_along_axis(text.ids, jnp.maximum(newest, 0)[:, None], axis=1)
        least = jnp.where(newest[:, None] < 0, first, jnp.where(opened, time, time + 1))
        banned = (token == none) | (last & before & is_time) | (opened & (token < eos))
        banned |= is_time & (token < least)
        at_first = ~is_time if latest is None else ~is_time | (token > first + latest)
        banned |= (new == 0) & at_first
        scores = jnp.where(banned, BANNED, scores)
        if not self._detect_timestamp_from_logprob:
            return scores
        chance = jax.nn.log_softmax(scores, axis=-1)
        of = lambda kind: jnp.where(kind, chance, BANNED)
        likelier = jax.nn.logsumexp(of(is_time), -1) > of(~is_time).max(-1)
        return jnp.where(likelier[:, None] & ~is_time, BANNED, scores)
