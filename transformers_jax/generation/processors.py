"""Logit processors: small pure functions from (the text so far, scores) to scores.

They run in Hugging Face's order. What is banned gets a large finite negative score. Padding is not
text: a row's scores do not depend on the padding of a ragged batch. (transformers agrees for its
repetition penalty, but counts padding ids in n-grams.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED as BANNED
from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.job import Job, Text

Processor = Callable[[Text, Float[Array, "R V"]], Float[Array, "R V"]]


def apply(
    processors: tuple[Processor, ...], text: Text, scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """The scores after all processors, in order."""
    for process in processors:
        scores = process(text, scores)
    return scores


def build(job: Job) -> tuple[Processor, ...]:
    """The processors that the options of a job need, in Hugging Face's order."""
    options, traced, eos = job.options, job.traced, job.options.eos_token_id
    processors: list[Processor] = []
    if "repetition_penalty" in traced:
        processors.append(penalise_repetition(traced["repetition_penalty"]))
    if options.no_repeat_ngram_size:
        processors.append(ban_repeated_ngrams(options.no_repeat_ngram_size))
    if options.encoder_no_repeat_ngram_size:
        assert job.prompt.source is not None
        processors.append(
            ban_source_ngrams(options.encoder_no_repeat_ngram_size, *job.prompt.source)
        )
    if options.bad_words_ids:
        ends = {(token,) for token in eos}
        processors.append(ban_words(tuple(w for w in options.bad_words_ids if w not in ends)))
    if "min_length" in traced and eos:
        processors.append(ban_when(eos, lambda text: text.length < traced["min_length"]))
    if "min_new_tokens" in traced and eos:
        processors.append(ban_when(eos, lambda text: text.new < traced["min_new_tokens"]))
    if (first := options.forced_bos_token_id) is not None:
        processors.append(force_when((first,), lambda text: text.length == 1))
    if last := options.forced_eos_token_id:
        processors.append(force_when(last, lambda text: text.new == job.limit - 1))
    if options.suppress_tokens:
        processors.append(ban_when(options.suppress_tokens, lambda text: jnp.bool_(True)))
    if options.begin_suppress_tokens:
        shift = int(first is not None)

        def at_the_beginning(text: Text) -> Bool[Array, ""]:
            single = text.begin - text.offset == 1  # a start token is followed by forced BOS
            return text.new == jnp.where(single, shift, 0)

        processors.append(ban_when(options.begin_suppress_tokens, at_the_beginning))
    if options.return_timestamps:
        assert options.no_timestamps_token_id is not None
        first = options.no_timestamps_token_id + 1
        processors.append(pair_timestamps(first, eos[0], options.max_initial_timestamp_index))
    return tuple(processors)


def penalise_repetition(penalty: Float[Array, ""]) -> Processor:
    """Makes every token of the text less likely. Source: CTRL (Keskar et al. 2019), section 4.1."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        penalised = jnp.where(scores < 0, scores * penalty, scores / penalty)
        return jnp.where(_marked(text.ids, text.written, scores.shape), penalised, scores)

    return process


def banning(banned: Callable[[Text, tuple[int, ...]], Any]) -> Processor:
    """Bans the tokens that `banned` marks, of a text and the shape of its scores."""
    return lambda text, scores: jnp.where(banned(text, scores.shape), BANNED, scores)


def ban_repeated_ngrams(size: int) -> Processor:
    """No n-gram of `size` tokens occurs twice in a row's text."""
    return banning(lambda text, shape: _completions(size, text, text.ids, text.written, shape))


def ban_source_ngrams(size: int, ids: Int[Array, "B S"], valid: Bool[Array, "B S"]) -> Processor:
    """No n-gram of `size` tokens of the source is repeated."""

    def completions(text: Text, shape: tuple[int, ...]) -> Bool[Array, "R V"]:
        copies = shape[0] // ids.shape[0]
        source, known = jnp.repeat(ids, copies, axis=0), jnp.repeat(valid, copies, axis=0)
        return _completions(size, text, source, known, shape)

    return banning(completions)


def ban_words(words: tuple[tuple[int, ...], ...]) -> Processor:
    """No word (a sequence of tokens) is completed; words of one token are banned."""
    single = tuple(word[0] for word in words if len(word) == 1)
    longer: dict[int, list[tuple[int, ...]]] = {}
    for word in words:
        if len(word) > 1:
            longer.setdefault(len(word) - 1, []).append(word)

    def completions(text: Text, shape: tuple[int, ...]) -> Bool[Array, "R V"]:
        banned = jnp.broadcast_to(jnp.asarray(_among(single, shape[1])), shape)
        for count, group in longer.items():
            if count >= text.ids.shape[1]:
                continue
            table = np.array(group)
            tail, enough = text.last(count)
            match = (tail[:, None, :] == table[None, :, :-1]).all(-1) & enough[:, None]
            last = jnp.broadcast_to(table[:, -1], match.shape)
            banned |= _marked(last, match, shape)
        return banned

    return banning(completions)


def ban_when(tokens: tuple[int, ...], holds: Callable[[Text], Bool[Array, ""]]) -> Processor:
    """The tokens cannot be chosen while the condition on the text holds."""
    return banning(lambda text, shape: _among(tokens, shape[1]) & holds(text))


def force_when(tokens: tuple[int, ...], holds: Callable[[Text], Bool[Array, ""]]) -> Processor:
    """Only the tokens can be chosen, with score 0, when the condition on the text holds."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        forced = jnp.where(_among(tokens, scores.shape[1]), 0.0, BANNED)
        return jnp.where(holds(text), forced, scores)

    return process


def pair_timestamps(first: int, eos: int, latest: int | None) -> Processor:
    """Whisper's rules of times (Radford et al. 2022, section 4.5, and the released code): a text
    begins with one, at most `latest` after the first; they come in pairs around what is said and
    never go back; and where all times together are likelier than any other token, it is a time.

    Args:
        first: the token of the time 0; those after it are later times.
        eos: the end of a text, which may follow a time. All words have smaller ids.
    """

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        token = jnp.arange(scores.shape[1])
        is_time, column = token >= first, jnp.arange(text.ids.shape[1])
        times = (text.ids >= first) & (column >= text.begin) & (column < text.end)
        at = lambda index: jnp.take(times, jnp.maximum(index, 0), axis=1)[:, None]
        last, before = at(text.end - 1), (text.new < 2) | at(text.end - 2)
        opened = last & ~before  # a single time, behind what was said
        newest = jnp.where(times, column, -1).max(axis=1)
        time = jnp.take_along_axis(text.ids, jnp.maximum(newest, 0)[:, None], axis=1)
        least = jnp.where(newest[:, None] < 0, first, jnp.where(opened, time, time + 1))
        banned = (token == first - 1) | (last & before & is_time) | (opened & (token < eos))
        banned |= is_time & (token < least)
        at_first = ~is_time if latest is None else ~is_time | (token > first + latest)
        banned |= (text.new == 0) & at_first
        scores = jnp.where(banned, BANNED, scores)
        among = lambda kind: jnp.where(kind, jax.nn.log_softmax(scores, axis=-1), BANNED)
        likelier = jax.nn.logsumexp(among(is_time), -1) > among(~is_time).max(-1)
        return jnp.where(likelier[:, None] & ~is_time, BANNED, scores)

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
    """Tokens that would complete, at the end of each row's text, an n-gram that occurs in `ids`."""
    width = ids.shape[1] - size + 1
    if width < 1 or size > text.ids.shape[1]:
        return jnp.zeros(shape, bool)
    tail, enough = text.last(size - 1)
    match = known[:, size - 1 :] & enough[:, None]
    for step in range(size - 1):
        window = slice(step, step + width)
        match &= known[:, window] & (ids[:, window] == tail[:, step, None])
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
