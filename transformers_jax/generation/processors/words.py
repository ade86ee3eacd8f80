"""Sequences of tokens that are favoured, banned or allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.processors.record import (
    BANNED,
    Processor,
    allow,
    among,
    ban,
    is_number,
    marked,
    record,
    static,
    token_tuple,
)
from transformers_jax.generation.text import Text

Words = tuple[tuple[int, ...], ...]


@record
class SequenceBiasLogitsProcessor(Processor):
    """Adds a bias to the last token of a sequence, where the text ends with what comes before it.

    Attributes:
        sequence_bias: {(token, ...): bias}, or [[[token, ...], bias], ...]. The biases are leaves.
    """

    sequence_bias: Any

    def __post_init__(self) -> None:
        given = self.sequence_bias
        if isinstance(given, Mapping) and all(isinstance(words, tuple) for words in given):
            pairs = list(given.items())
        elif isinstance(given, (list, tuple)) and all(_is_pair(pair) for pair in given):
            pairs = [(tuple(words), bias) for words, bias in given]
        else:
            pairs = []
        if not pairs or not all(words for words, _ in pairs):
            raise ValueError(
                "SequenceBiasLogitsProcessor: sequence_bias must be {(token, ...): bias} or "
                f"[[[token, ...], bias], ...], and not be empty, got {given!r}"
            )
        biases = {token_tuple(self, "sequence_bias", words): bias for words, bias in pairs}
        for words, bias in biases.items():
            if isinstance(bias, (bool, str)):
                raise ValueError(
                    f"SequenceBiasLogitsProcessor: the bias of {words} must be a number, got "
                    f"{bias!r}"
                )
        self.settle(
            sequence_bias={w: float(b) if is_number(b) else b for w, b in sorted(biases.items())}
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        check_vocabulary(self, self.sequence_bias, scores.shape[1])
        rows = jnp.arange(len(scores))[:, None]
        bias = jnp.zeros_like(scores)
        for group in by_length(tuple(self.sequence_bias)):
            values = jnp.stack([jnp.asarray(self.sequence_bias[w], scores.dtype) for w in group])
            match = ends_with(text, group)
            last = jnp.broadcast_to(np.array([words[-1] for words in group]), match.shape)
            bias = bias.at[rows, last].add(jnp.where(match, values, 0))
        return jnp.maximum(scores + bias, jnp.minimum(scores, BANNED))


@record
class NoBadWordsLogitsProcessor(Processor):
    """No word (a sequence of tokens) is completed; words of one token are banned.

    Attributes:
        bad_words_ids: the words; those that are an end of the text are left out.
        eos_token_id: one token or several.
    """

    bad_words_ids: Any = static()
    eos_token_id: Any = static(default=None)

    def __post_init__(self) -> None:
        words = self.bad_words_ids
        words = words if isinstance(words, (list, tuple)) else ()
        if not words or not all(isinstance(w, (list, tuple)) and len(w) > 0 for w in words):
            raise ValueError(
                "NoBadWordsLogitsProcessor: bad_words_ids must be a list of words, each a list of "
                f"ids of tokens ([[5], [7, 8]]), got {self.bad_words_ids!r}"
            )
        ends = () if self.eos_token_id is None else self.eos_token_id
        self.settle(
            bad_words_ids=tuple(token_tuple(self, "bad_words_ids", word) for word in words),
            eos_token_id=token_tuple(self, "eos_token_id", ends),
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        words = tuple(
            word for word in self.bad_words_ids if word not in {(end,) for end in self.eos_token_id}
        )
        check_vocabulary(self, words, scores.shape[1])
        single = tuple(word[0] for word in words if len(word) == 1)
        banned = jnp.broadcast_to(jnp.asarray(among(single, scores.shape[1])), scores.shape)
        for group in by_length(tuple(word for word in words if len(word) > 1)):
            match = ends_with(text, group)
            last = jnp.broadcast_to(np.array([word[-1] for word in group]), match.shape)
            banned |= marked(last, match, scores.shape)
        return ban(banned, scores)


@record
class PrefixConstrainedLogitsProcessor(Processor):
    """Only the tokens that a Python function names can come next.

    The function runs on the host, in a callback out of the compiled loop: one call for every row in
    every step, which a small model waits for.

    Attributes:
        prefix_allowed_tokens_fn: (number of the prompt, its text so far as Int[T], without padding)
            to ids of tokens, at least one. A list without any raises in the callback.
        num_beams: how many rows a prompt has.
    """

    prefix_allowed_tokens_fn: Callable[[int, Int[np.ndarray, " T"]], Sequence[int]] = static()
    num_beams: int = static()

    def __post_init__(self) -> None:
        if not callable(self.prefix_allowed_tokens_fn):
            raise ValueError(
                "PrefixConstrainedLogitsProcessor: prefix_allowed_tokens_fn must be a function "
                f"(number, ids) -> ids, got {self.prefix_allowed_tokens_fn!r}"
            )

    def of_row(self, row: Int[Array, ""], count: int) -> Processor:
        raise ValueError(
            "prefix_allowed_tokens_fn is asked for whole batches, one token at a time: it does not "
            "go with assisted decoding; leave assistant_model and the like out"
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        shape = jax.ShapeDtypeStruct(scores.shape, bool)
        host = lambda *arrays: self._allowed(scores.shape, *map(np.asarray, arrays))
        allowed = jax.pure_callback(
            host, shape, text.ids, text.start, text.end, vmap_method="sequential"
        )
        return allow(allowed, scores, self.num_beams)

    def _allowed(
        self,
        shape: tuple[int, ...],
        ids: Int[np.ndarray, "R W"],
        start: Int[np.ndarray, " R"],
        end: Int[np.ndarray, ""],
    ) -> Bool[np.ndarray, "R V"]:
        mask = np.zeros(shape, bool)
        for row in range(shape[0]):
            prompt = row // self.num_beams
            tokens = self.prefix_allowed_tokens_fn(prompt, ids[row, start[row] : end])
            tokens = np.asarray(tokens, int).reshape(-1)
            if not len(tokens) or tokens.min() < 0 or tokens.max() >= shape[1]:
                raise ValueError(
                    f"prefix_allowed_tokens_fn allowed {tokens.tolist()} for prompt {prompt}; "
                    f"expected ids in [0, {shape[1]}), at least one"
                )
            mask[row, tokens] = True
        return mask


def check_vocabulary(owner: Processor, words: Any, vocab: int) -> None:
    """Raises ValueError for sequences with tokens outside the vocabulary of the scores."""
    if wrong := sorted({token for word in words for token in word if token >= vocab}):
        raise ValueError(
            f"{type(owner).__name__}: the tokens {wrong} are outside the vocabulary [0, {vocab})"
        )


def by_length(words: Words) -> list[Words]:
    """Sequences in groups of the same length, the shortest first."""
    lengths = sorted({len(word) for word in words})
    return [tuple(word for word in words if len(word) == length) for length in lengths]


def ends_with(text: Text, group: Words) -> Bool[Array, "R N"]:
    """Which rows end with all but the last token of each sequence of a group."""
    count, table = len(group[0]) - 1, np.array(group)
    rows = text.ids.shape[0]
    if count > text.ids.shape[1]:
        return jnp.zeros((rows, len(group)), bool)
    if not count:
        return jnp.ones((rows, len(group)), bool)
    tail, enough = text.last(count)
    return (tail[:, None, :] == table[None, :, :-1]).all(-1) & enough[:, None]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], (list, tuple))
