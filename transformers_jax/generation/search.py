"""Prefill, then one compiled loop: greedy search and sampling, one token a step for every row.

The loop keeps the text in an array as wide as the cache and stops as soon as every row has ended.
Beam search is in beam.py and shares the first half of this file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.generation import processors, sampling
from transformers_jax.generation.options import Options
from transformers_jax.generation.processors import Dials, Processor, Text

__all__ = ["Found", "Job", "Prompt", "search"]


class Prompt(NamedTuple):
    """The caller's prompt, left-padded to a bucket. `encoder` holds the inputs of `encode`, or
    what else the model is told once (pixel values, ...)."""

    ids: Int[Array, "B W"]
    start: Int[Array, " B"]
    offset: Int[Array, ""]
    inputs: dict[str, Array]


class Job(NamedTuple):
    """Everything that a search works from. All of it is traced but the options and the width.

    The key is there if and only if the options say `do_sample`.
    """

    prompt: Prompt
    dials: Dials
    limit: Int[Array, ""]
    key: Key | None
    options: Options
    width: int  # of the cache and of the text: prompt and new tokens fit

    @property
    def pad(self) -> int:
        """What fills ended rows."""
        assert self.options.pad_token_id is not None  # resolved
        return self.options.pad_token_id

    def step_key(self, step: Int[Array, ""]) -> Key:
        """The key of one step's draw."""
        assert self.key is not None
        return jax.random.fold_in(self.key, step)


class Found(NamedTuple):
    """What a search hands back. R rows: batch x returned sequences."""

    ids: Int[Array, "R width"]
    steps: Int[Array, ""]  # the longest row's number of new tokens
    row_scores: Float[Array, " R"] | None = None
    scores: Float[Array, "width N V"] | None = None


class _State(NamedTuple):
    text: Text
    ended: Bool[Array, " R"]
    cache: Any
    scores: Float[Array, "width R V"] | None


def search(model: Any, job: Job, with_scores: bool = False) -> Found:
    """Takes the best token (or draws one) until every row has ended or the limit is reached."""
    options, begin = job.options, job.prompt.ids.shape[1]
    copies = options.num_return_sequences
    logits, cache = prefill(model, job)
    text = spread(begin_text(job), copies)
    process = pipeline(job)

    def choose(state: _State, logits: Float[Array, "R V"]) -> _State:
        text = state.text
        scores = processors.apply(process, text, logits.astype(jnp.float32))
        done = text.end - begin
        if options.do_sample:
            token = sampling.draw(job.step_key(done), scores)
        else:
            token = jnp.argmax(scores, axis=-1)
        token = jnp.where(state.ended, job.pad, token).astype(text.ids.dtype)
        ended = state.ended | ends(token, options)
        kept = keep(state.scores, scores, done)
        return _State(write(text, token), ended, state.cache, kept)

    def step(state: _State) -> _State:
        logits, cache = advance(model, state.text, state.cache)
        return choose(state._replace(cache=cache), logits)

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.text.end - begin < job.limit) & ~state.ended.all()

    rows = text.ids.shape[0]
    if copies > 1:
        cache, logits = cache.repeat(copies), jnp.repeat(logits, copies, axis=0)
    buffer = room(job, logits.shape) if with_scores else None
    state = _State(text, jnp.zeros(rows, bool), cache, buffer)
    state = jax.lax.while_loop(unfinished, step, choose(state, logits))
    return Found(state.text.ids, state.text.end - begin, scores=state.scores)


# ---------------------------------------------------------------- shared with beam search


def prefill(model: Any, job: Job) -> tuple[Float[Array, "B V"], Any]:
    """Reads the prompt: the scores of the first new token, and the cache to go on from."""
    ids, start, _, inputs = job.prompt
    batch, width = ids.shape
    if model.is_encoder_decoder:
        inputs = dict(inputs)
        encoded = inputs.pop("encoder_outputs", None)
        mask = inputs.get("attention_mask")
        if encoded is None:
            encoded = model.encode(**inputs)
        cache = model.init_cache(batch, job.width, encoder_outputs=encoded, attention_mask=mask)
        out = model(decoder_input_ids=ids, cache=cache)
    else:
        column = jnp.arange(width)
        out = model(
            input_ids=ids,
            attention_mask=column >= start[:, None],
            position_ids=jnp.maximum(column - start[:, None], 0),
            cache=model.init_cache(batch, job.width),
            **inputs,
        )
    return out.logits[:, -1], out.cache


def advance(model: Any, text: Text, cache: Any) -> tuple[Float[Array, "R V"], Any]:
    """Reads the last token of every row: the scores of the next one, and the cache."""
    token = jax.lax.dynamic_slice_in_dim(text.ids, text.end - 1, 1, axis=1)
    if model.is_encoder_decoder:
        out = model(decoder_input_ids=token, cache=cache)
    else:
        position = (text.end - 1 - text.start)[:, None]
        out = model(input_ids=token, position_ids=position, cache=cache)
    return out.logits[:, -1], out.cache


def begin_text(job: Job) -> Text:
    """The prompt at the left of an array as wide as the cache; the rest is padding."""
    ids, start, offset, _ = job.prompt
    batch, begin = ids.shape
    blank = jnp.full((batch, job.width - begin), job.pad, ids.dtype)
    return Text(jnp.concatenate([ids, blank], axis=1), start, offset, begin, jnp.int32(begin))


def spread(text: Text, copies: int) -> Text:
    """Every row `copies` times."""
    ids, start = (jnp.repeat(x, copies, axis=0) for x in (text.ids, text.start))
    return text._replace(ids=ids, start=start)


def write(text: Text, token: Int[Array, " R"]) -> Text:
    """The text with one token more in every row."""
    ids = jax.lax.dynamic_update_slice_in_dim(text.ids, token[:, None], text.end, axis=1)
    return text._replace(ids=ids, end=text.end + 1)


def pipeline(job: Job) -> tuple[Processor, ...]:
    """All processors of a job: those that constrain the text, then those that shape the draw."""
    source = None
    ids = job.prompt.inputs.get("input_ids")
    if ids is not None:
        mask = job.prompt.inputs.get("attention_mask")
        source = (ids, jnp.ones(ids.shape, bool) if mask is None else mask.astype(bool))
    return (
        *processors.build(job.options, job.dials, job.limit, source),
        *sampling.build(job.options, job.dials),
    )


def ends(token: Int[Array, "..."], options: Options) -> Bool[Array, "..."]:
    """Whether a token ends the text."""
    return jnp.isin(token, jnp.array(options.eos_token_id, token.dtype))


def room(job: Job, shape: tuple[int, ...]) -> Float[Array, "width R V"]:
    """Where the scores of every step are kept."""
    return jnp.zeros((job.width - job.prompt.ids.shape[1], *shape), jnp.float32)


def keep(
    buffer: Float[Array, "width R V"] | None, scores: Float[Array, "R V"], step: Int[Array, ""]
) -> Float[Array, "width R V"] | None:
    """The buffer with the scores of this step, if they are wanted."""
    if buffer is None:
        return None
    return jax.lax.dynamic_update_slice_in_dim(buffer, scores[None], step, axis=0)
