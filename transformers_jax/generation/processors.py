"""Logit processors: small pure functions from (the text so far, scores) to scores.

They run in Hugging Face's order. What is banned gets a large finite negative score. Padding is not
text: a row is treated alike alone and in a ragged batch. (transformers holds the same for its
repetition penalty, but counts the ids under the padding as n-grams.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED as BANNED
from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.options import Options

__all__ = ["Dials", "Processor", "Text", "apply", "build"]

Dials = dict[str, Array]
"""Numbers that may change from call to call without compiling anew. Their presence is static."""


class Text(NamedTuple):
    """What has been written: row r holds its text in the columns start[r] to end, excluded.

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
        """The width that the caller would see: prompt, its padding, and new tokens."""
        return self.end - self.offset

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


Processor = Callable[[Text, Float[Array, "R V"]], Float[Array, "R V"]]


def apply(
    processors: tuple[Processor, ...], text: Text, scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """The scores after all processors, in order."""
    for process in processors:
        scores = process(text, scores)
    return scores


def build(
    options: Options,
    dials: Dials,
    limit: Int[Array, ""],
    source: tuple[Int[Array, "B S"], Bool[Array, "B S"]] | None = None,
) -> tuple[Processor, ...]:
    """The processors that the options ask for, in Hugging Face's order.

    `limit` is the number of new tokens; `source` the ids of the source and their
    validity, which `encoder_no_repeat_ngram_size` needs.
    """
    eos = options.eos_token_id
    found: list[Processor] = []
    if "repetition_penalty" in dials:
        found.append(penalise_repetition(dials["repetition_penalty"]))
    if options.no_repeat_ngram_size:
        found.append(ban_repeated_ngrams(options.no_repeat_ngram_size))
    if options.encoder_no_repeat_ngram_size:
        assert source is not None
        found.append(ban_source_ngrams(options.encoder_no_repeat_ngram_size, *source))
    if options.bad_words_ids:
        found.append(ban_words(tuple(w for w in options.bad_words_ids if w not in _single(eos))))
    if "min_length" in dials and eos:
        least = dials["min_length"]
        found.append(ban_when(eos, lambda text: text.length < least))
    if "min_new_tokens" in dials and eos:
        fewest = dials["min_new_tokens"]
        found.append(ban_when(eos, lambda text: text.end - text.begin < fewest))
    if options.forced_bos_token_id is not None:
        found.append(force_when((options.forced_bos_token_id,), lambda text: text.length == 1))
    if options.forced_eos_token_id:
        final = limit - 1
        found.append(
            force_when(options.forced_eos_token_id, lambda text: text.end - text.begin == final)
        )
    if options.suppress_tokens:
        found.append(ban_when(options.suppress_tokens, lambda text: jnp.bool_(True)))
    if options.begin_suppress_tokens:
        shift = int(options.forced_bos_token_id is not None)

        def at_the_beginning(text: Text) -> Bool[Array, ""]:
            alone = text.begin - text.offset == 1  # a lone start token is followed by forced BOS
            return text.end - text.begin == jnp.where(alone, shift, 0)

        found.append(ban_when(options.begin_suppress_tokens, at_the_beginning))
    return tuple(found)


def penalise_repetition(penalty: Float[Array, ""]) -> Processor:
    """Makes every token of the text less likely. Source: CTRL (Keskar et al. 2019), section 4.1."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        seen = _marked(text.ids, text.written, scores.shape)
        return jnp.where(seen, jnp.where(scores < 0, scores * penalty, scores / penalty), scores)

    return process


def ban_repeated_ngrams(size: int) -> Processor:
    """No n-gram of `size` tokens occurs twice in a row's text."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        banned = _completions(size, text, text.ids, text.written, scores.shape)
        return jnp.where(banned, BANNED, scores)

    return process


def ban_source_ngrams(size: int, ids: Int[Array, "B S"], valid: Bool[Array, "B S"]) -> Processor:
    """No n-gram of `size` tokens of the source is repeated."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        times = scores.shape[0] // ids.shape[0]
        among, known = jnp.repeat(ids, times, axis=0), jnp.repeat(valid, times, axis=0)
        return jnp.where(_completions(size, text, among, known, scores.shape), BANNED, scores)

    return process


def ban_words(words: tuple[tuple[int, ...], ...]) -> Processor:
    """No word (a sequence of tokens) is completed; single tokens never occur."""
    single = tuple(word[0] for word in words if len(word) == 1)
    longer: dict[int, list[tuple[int, ...]]] = {}
    for word in words:
        if len(word) > 1:
            longer.setdefault(len(word) - 1, []).append(word)

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        rows, vocab = scores.shape
        banned = jnp.broadcast_to(jnp.asarray(_among(single, vocab)), scores.shape)
        for count, group in longer.items():
            if count >= text.ids.shape[1]:
                continue
            table = np.array(group)
            tail, enough = text.last(count)
            match = (tail[:, None, :] == table[None, :, :-1]).all(-1) & enough[:, None]
            last = jnp.broadcast_to(table[:, -1], match.shape)
            banned |= _marked(last, match, (rows, vocab))
        return jnp.where(banned, BANNED, scores)

    return process


def ban_when(tokens: tuple[int, ...], holds: Callable[[Text], Bool[Array, ""]]) -> Processor:
    """The tokens cannot be chosen while the condition on the text holds."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return jnp.where(_among(tokens, scores.shape[1]) & holds(text), BANNED, scores)

    return process


def force_when(tokens: tuple[int, ...], holds: Callable[[Text], Bool[Array, ""]]) -> Processor:
    """Only the tokens can be chosen, with score 0, when the condition on the text holds."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        forced = jnp.where(_among(tokens, scores.shape[1]), 0.0, BANNED)
        return jnp.where(holds(text), forced, scores)

    return process


def renormalise(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
    """Log-probabilities among what is left (Marian's beams compare sums of them)."""
    return jax.nn.log_softmax(scores, axis=-1)


def _completions(
    size: int,
    text: Text,
    ids: Int[Array, "R S"],
    known: Bool[Array, "R S"],
    shape: tuple[int, ...],
) -> Bool[Array, "R V"]:
    """Tokens that would turn the end of each row's text into an n-gram that stands in `ids`."""
    width = ids.shape[1] - size + 1
    if width < 1 or size > text.ids.shape[1]:
        return jnp.zeros(shape, bool)
    tail, enough = text.last(size - 1)
    match = known[:, size - 1 :] & enough[:, None]
    for place in range(size - 1):
        window = slice(place, place + width)
        match &= known[:, window] & (ids[:, window] == tail[:, place, None])
    return _marked(ids[:, size - 1 :], match, shape)


def _marked(
    ids: Int[Array, "R N"], chosen: Bool[Array, "R N"], shape: tuple[int, ...]
) -> Bool[Array, "R V"]:
    """True at every token of a row's ids that is chosen."""
    rows, vocab = shape
    spare = jnp.where(chosen, ids, vocab)  # out of bounds: dropped
    return jnp.zeros(shape, bool).at[jnp.arange(rows)[:, None], spare].set(True, mode="drop")


def _among(tokens: tuple[int, ...], vocab: int) -> np.ndarray:
    return np.isin(np.arange(vocab), np.array(tokens, int))


def _single(tokens: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {(token,) for token in tokens}
