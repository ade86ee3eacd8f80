"""Strings that end a text, found in the compiled loop.

All strings are one automaton over bytes (Aho and Corasick 1975). What it does with the bytes of
each token is computed once, so that the loop reads tokens: a string is found across tokens, and
inside of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.generation.processors.record import record, static
from transformers_jax.generation.ranges import check_strings
from transformers_jax.generation.stopping.criterion import Criterion
from transformers_jax.generation.stopping.token_bytes import token_bytes
from transformers_jax.generation.text import Text


class Tables(NamedTuple):
    """What tokens do to the automaton; the last column is that of ids without text.

    S states, of which 0 is the first; V tokens.
    """

    after: Any  # Int[S V+1], the state behind the token
    found: Any  # Bool[S V+1], whether a string ends inside the token


@record
class StopStringCriteria(Criterion):
    """A row ends with the token that completes one of the strings, also with more text behind it
    ("st", "opped" completes "stop").

    Reading a vocabulary takes a moment: for many calls, make the record once and pass it in
    `stopping_criteria`.

    Attributes:
        tokenizer: one of `tj.load_tokenizer`, of the library tokenizers or of transformers. Its
            tokens are read once.
        stop_strings: one string or several.
        tables: made of these.
    """

    tokenizer: Any = static()
    stop_strings: Any = static()
    tables: Any = None

    def __post_init__(self) -> None:
        if self.tables is not None:
            return
        strings = check_strings("StopStringCriteria: stop_strings", self.stop_strings)
        words = [string.encode() for string in strings]
        texts = token_bytes(self.tokenizer)
        ends = {byte for text in texts.values() for byte in text}
        if never := [s for s, word in zip(strings, words) if word[-1] not in ends]:
            raise ValueError(
                f"stop_strings: no token of the tokenizer completes {', '.join(map(repr, never))}, "
                "whose last character is in none; pass strings that it can write"
            )
        made = {"tokenizer": None, "stop_strings": strings, "tables": tables_of(words, texts)}
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def stops(self, text: Text) -> Bool[Array, " R"]:
        after, found = map(jnp.asarray, self.tables)
        longest = max(len(string.encode()) for string in self.stop_strings)
        columns = text.end - 1 - jnp.arange(min(longest, text.ids.shape[1]))[::-1]
        ids = jnp.take(text.ids, jnp.maximum(columns, 0), axis=1)
        ids = jnp.where(ids < 0, after.shape[1], ids)
        tokens = jnp.minimum(ids, after.shape[1] - 1)
        is_text = columns >= text.start[:, None]

        def read(state: Array, token: tuple[Array, Array]) -> tuple[Array, Array]:
            ids, known = token
            return jnp.where(known, after[state, ids], 0), found[state, ids] & known

        nothing = jnp.zeros_like(text.start)
        return jax.lax.scan(read, nothing, (tokens.T, is_text.T))[1][-1]


def tables_of(words: Sequence[bytes], texts: Mapping[int, bytes]) -> Tables:
    """What each token does to the automaton of the words, from each of its states."""
    step, final = automaton(words)
    order = sorted(texts, key=lambda number: -len(texts[number]))  # the longest first
    lengths = np.array([len(texts[number]) for number in order])
    joined = np.zeros((len(order), int(lengths[0]) if len(order) else 0), np.uint8)
    for row, number in enumerate(order):
        joined[row, : lengths[row]] = np.frombuffer(texts[number], np.uint8)
    states = np.repeat(np.arange(len(step))[:, None], len(order), axis=1)
    found = np.zeros(states.shape, bool)
    for place in range(joined.shape[1]):
        some = int((lengths > place).sum())
        states[:, :some] = step[states[:, :some], joined[None, :some, place]]
        found[:, :some] |= final[states[:, :some]]
    width = max(texts, default=0) + 2
    after, ends = np.zeros((len(step), width), np.int32), np.zeros((len(step), width), bool)
    after[:, order], ends[:, order] = states, found
    return Tables(after, ends)


def automaton(words: Sequence[bytes]) -> tuple[Int[np.ndarray, "S 256"], Bool[np.ndarray, " S"]]:
    """(the state after each byte, the states in which a word has just ended). A state is the
    longest beginning of a word with which the bytes so far end."""
    starts = sorted({word[:n] for word in words for n in range(len(word) + 1)}, key=len)
    number = {start: n for n, start in enumerate(starts)}
    step, final = np.zeros((len(starts), 256), np.int64), np.zeros(len(starts), bool)
    for start, state in number.items():
        shorter = next((number[start[n:]] for n in range(1, len(start)) if start[n:] in number), 0)
        if start:
            step[state], final[state] = step[shorter], final[shorter]
        for byte in range(256):
            if (longer := number.get(start + bytes([byte]))) is not None:
                step[state, byte] = longer
        final[state] |= start in words
    return step, final
