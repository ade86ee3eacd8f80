"""A language model small enough to enumerate: its best sentences are found by brute force.

The scores of the next token depend on *all* tokens before it (their sum, and the last one), so a
cache row that is gathered wrongly, or padding that is counted, changes the answer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.models.reading import Reading

STATES = 5


@dataclass(frozen=True)
class MarkovConfig:
    vocab_size: int = 7
    max_position_embeddings: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    is_encoder_decoder: bool = False
    decoder_start_token_id: int | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MarkovCache:
    """The ids generated so far, their mask, and the contribution of the source."""

    ids: jax.Array
    valid: jax.Array
    source: jax.Array
    length: jax.Array

    def gather(self, rows):
        pick = lambda x: x[rows]
        return replace(self, ids=pick(self.ids), valid=pick(self.valid), source=pick(self.source))

    def reorder(self, rows, shared=0):
        return self.gather(rows)

    def repeat(self, times):
        return self.gather(jnp.repeat(jnp.arange(self.ids.shape[0]), times))


class Markov(nnx.Module):
    """score(next | history) = table[(source + sum of history) mod STATES, last token, next]."""

    def __init__(self, config: MarkovConfig, table: np.ndarray, position_weight: float = 0.0):
        self.config, self.position_weight = config, position_weight
        self.generation_config, self.positions = None, None
        self.is_encoder_decoder = config.is_encoder_decoder
        self.table = nnx.Param(jnp.asarray(table, jnp.float32))

    def decoding(self):
        return self

    def encode(self, *, input_ids, attention_mask):
        return {"last_hidden_state": input_ids[..., None]}

    @property
    def reading(self):
        size = self.config.vocab_size
        return Reading(
            writes=True,
            vocabulary=size,
            source_vocabulary=size,
            source_raw=("pixel_values",),
            positions=self.config.max_position_embeddings,
        )

    def begin(self, batch, length, source):
        count = jnp.zeros(batch, jnp.int32)
        mask = source.get("attention_mask")
        if source:
            outputs = source.get("encoder_outputs")
            outputs = self.encode(**source) if outputs is None else outputs
            states = outputs["last_hidden_state"][..., 0].astype(jnp.int32)
            count = (states if mask is None else states * mask).sum(1)
        ids = jnp.zeros((batch, length), jnp.int32)
        return MarkovCache(ids, ids.astype(bool), count, jnp.int32(0))

    def advance(self, ids, columns, cache):
        valid = jnp.ones(ids.shape, bool) if columns.valid is None else columns.valid
        index = (0, cache.length)
        cache = replace(
            cache,
            ids=jax.lax.dynamic_update_slice(cache.ids, ids.astype(jnp.int32), index),
            valid=jax.lax.dynamic_update_slice(cache.valid, valid, index),
            length=cache.length + ids.shape[1],
        )
        history = jnp.cumsum(cache.ids * cache.valid, axis=1) + cache.source[:, None]
        state = jax.lax.dynamic_slice_in_dim(history, index[1], ids.shape[1], axis=1)
        logits = self.table[...][state % STATES, ids]
        if not self.is_encoder_decoder:
            logits = logits + self.position_weight * jnp.sin(columns.tokens + 1.0)[..., None] * (
                jnp.arange(self.config.vocab_size)
            )
        return logits, cache


def log_probabilities(table: np.ndarray, history: list[int], source: int = 0) -> np.ndarray:
    """log p(next | history), in float64."""
    scores = table[(source + sum(history)) % STATES, history[-1]].astype(np.float64)
    return scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()


def best_sentences(table, prompt, limit, eos, length_penalty, source=0):
    """Every finished continuation of the prompt with its score, best first, by enumeration."""
    vocabulary = range(table.shape[1])
    sentences = []
    for length in range(1, limit + 1):
        for tail in itertools.product(vocabulary, repeat=length):
            ended = tail[-1] == eos
            if eos in tail[:-1] or not (ended or length == limit):
                continue
            history, total = list(prompt), 0.0
            for token in tail:
                total += log_probabilities(table, history, source)[token]
                history.append(token)
            sentences.append((total / length**length_penalty, tail))
    return sorted(sentences, key=lambda pair: -pair[0])
