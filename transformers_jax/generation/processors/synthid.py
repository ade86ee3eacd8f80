"""SynthID: a watermark by tournaments between tokens. Source: Dathathri et al. 2024."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.mersenne import bits
from transformers_jax.generation.processors.record import Processor, record, static
from transformers_jax.generation.processors.words64 import Word, constants, same, word
from transformers_jax.generation.text import Text
from transformers_jax.generation.watermarks import SynthIDTextWatermarkingConfig

MULTIPLIER = 6364136223846793005
"""Of the linear congruential generator that hashes tokens (Knuth's MMIX)."""


@record
class SynthIDTextWatermarkLogitsProcessor(Processor):
    """Tokens that win a tournament become likelier; which win, n-grams of new tokens decide.

    Contexts are of new tokens only, with zeros in front, as in transformers; a context that a row
    has already had is not marked again. transformers counts calls of the object; here the length of
    the text counts, so that beams keep their own contexts.

    Attributes:
        sampling_table_size, sampling_table_seed: the table is that of transformers on CPUs.
        prompt_length: the width of the prompt; None: all columns are the prompt.
        (the others: `tj.SynthIDTextWatermarkingConfig`)
    """

    ngram_len: int = static()
    keys: Any = static()
    sampling_table_size: int = static()
    sampling_table_seed: int = static()
    context_history_size: int = static()
    skip_first_ngram_calls: bool = static(default=False)
    debug_mode: bool = static(default=False)
    prompt_length: Any = None

    def __post_init__(self) -> None:
        names = SynthIDTextWatermarkingConfig.__dataclass_fields__
        config = SynthIDTextWatermarkingConfig(**{name: getattr(self, name) for name in names})
        self.settle(keys=config.keys)

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        begin = text.begin if self.prompt_length is None else text.offset + self.prompt_length
        new, count = text.end - begin, self.ngram_len - 1
        contexts = _windows(jnp.where(jnp.arange(text.ids.shape[1]) >= begin, text.ids, 0), count)
        # the context before column c is the window that ends in front of it
        hashes = _accumulated(word(jnp.ones(contexts.shape[:2], int)), word(contexts))
        now = Word(*(_column(half, text.end) for half in hashes))
        column = jnp.arange(hashes.low.shape[1])
        first = begin + (count if self.skip_first_ngram_calls else 0)  # that was marked
        earlier = (column >= first) & (column < text.end)
        earlier &= column >= text.end - self.context_history_size
        repeated = (same(hashes, now) & earlier).any(axis=1, keepdims=True)
        given = jnp.ones_like(scores) if self.debug_mode else scores
        marked = jnp.where(repeated, given, self._tournament(now, given))
        if self.skip_first_ngram_calls:
            return jnp.where(new + 1 < self.ngram_len, given, marked)
        return marked

    def _tournament(self, context: Word, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        """Log-probabilities after one layer for each key."""
        tokens = word(jnp.broadcast_to(jnp.arange(scores.shape[1]), scores.shape))
        ngrams = _step(context, tokens)
        table = self._table

        def layer(chance: Array, key: Word) -> tuple[Array, None]:
            wins = table[_step(ngrams, key).modulo(self.sampling_table_size)]
            mass = (wins * chance).sum(axis=1, keepdims=True)
            return chance * (1 + wins - mass), None

        chance, _ = jax.lax.scan(layer, jax.nn.softmax(scores, axis=1), constants(self.keys))
        least = jnp.finfo(chance.dtype).min
        return jnp.where(chance > 0, jnp.log(jnp.maximum(chance, 0)), least)

    @property
    def _table(self) -> Float[Array, " N"]:
        made = bits(self.sampling_table_seed, self.sampling_table_size)
        return jnp.asarray(made.astype(np.float32))

    def compute_g_values(self, input_ids: Int[Array, "B T"]) -> Int[Array, "B T-n+1 depth"]:
        """Which layers each token of a text wins (1) or not (0), after the n - 1 before it."""
        ids = word(_ngrams(jnp.asarray(input_ids), self.ngram_len))
        hashes = _accumulated(word(jnp.ones(ids.low.shape[:2], int)), ids)
        keys = constants(self.keys)
        each = _step(hashes.shaped(..., None), Word(keys.high[None, None], keys.low[None, None]))
        return self._table[each.modulo(self.sampling_table_size)].astype(jnp.int32)

    def compute_context_repetition_mask(self, input_ids: Int[Array, "B T"]) -> Bool[Array, "B N"]:
        """Which tokens come after a context that the row has not had before: only these count."""
        contexts = word(_ngrams(jnp.asarray(input_ids)[:, :-1], self.ngram_len - 1))
        hashes = _accumulated(word(jnp.ones(contexts.low.shape[:2], int)), contexts)
        place = jnp.arange(hashes.low.shape[1])
        gap = place[:, None] - place
        earlier = (gap > 0) & (gap <= self.context_history_size)
        equal = same(
            hashes.shaped(slice(None), slice(None), None), hashes.shaped(slice(None), None)
        )
        return ~(equal & earlier).any(axis=2)


def _step(hashed: Word, data: Word) -> Word:
    """A hash with one number more."""
    return (hashed + data).times(MULTIPLIER) + constants((1,))


def _accumulated(hashed: Word, data: Word) -> Word:
    """A hash with the numbers of the last axis."""
    for place in range(data.low.shape[-1]):
        hashed = _step(hashed, data.shaped(..., place))
    return hashed


def _windows(ids: Int[Array, "R W"], count: int) -> Int[Array, "R W+1 count"]:
    """For every column, and the one after the last, the `count` numbers before it."""
    padded = jnp.pad(ids, ((0, 0), (count, 0)))
    return jnp.stack([padded[:, n : n + ids.shape[1] + 1] for n in range(count)], axis=-1)


def _ngrams(ids: Int[Array, "B T"], count: int) -> Int[Array, "B T-count+1 count"]:
    width = ids.shape[1] - count + 1
    if width < 1:
        raise ValueError(f"input_ids have {ids.shape[1]} columns; expected at least {count}")
    return jnp.stack([ids[:, n : n + width] for n in range(count)], axis=-1)


def _column(x: Array, index: Array) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, index, 1, axis=1)
