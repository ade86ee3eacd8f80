"""Prefill, then one compiled loop: greedy search and sampling, one token a step for every row.

The loop keeps the text in an array as wide as the cache and stops as soon as every row has ended.
Beam search is in beam.py and shares the second half of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation import processors, sampling
from transformers_jax.generation.job import Job, Prompt, Result
from transformers_jax.generation.text import Text
from transformers_jax.graph import TEXT_POSITION
from transformers_jax.models.reading import Columns
from transformers_jax.nn.param import params
from transformers_jax.shard import varying


class _State(NamedTuple):
    text: Text
    ended: Bool[Array, " R"]
    cache: Any
    scores: Float[Array, "width R V"] | None
    log_probs: Float[Array, "width R"] | None


def search(model: Any, job: Job) -> Result:
    """Takes the best token (or draws one) until every row has ended or the limit is reached."""
    copies = job.options.num_return_sequences
    text = job.begin_text(copies)
    first, cache = prefill(model, job, copies)

    def choose(state: _State, logits: Float[Array, "R V"], cache: Any) -> _State:
        text = state.text
        scores = processors.apply(job.processors, text, logits)
        if job.options.do_sample:
            token = sampling.draw(job.step_key(text.new), scores)
        else:
            token = jnp.argmax(scores, axis=-1)
        chosen = jnp.take_along_axis(scores, token[:, None], axis=1)[:, 0]
        ended = state.ended | jnp.isnan(chosen)  # of ids out of range: what follows is no text
        token = jnp.where(ended, job.pad, token).astype(text.ids.dtype)
        ended |= job.ends(token)
        made = record(state.scores, scores, text.new)
        likely = record(state.log_probs, log_probs(job, scores, token), text.new)
        return _State(text.write(token), ended, cache, made, likely)

    def step(state: _State) -> _State:
        return choose(state, *advance(model, state.text, state.cache))

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.text.new < job.limit) & ~state.ended.all()

    empty = text.start >= text.begin  # a row without text stays so
    likely = jnp.zeros((job.width - text.begin, len(text.ids))) if job.with_log_probs else None
    state = _State(text, empty, cache, score_buffer(model, job, text, cache), likely)
    state = state if first is None else choose(state, first, cache)
    state = loop(model, unfinished, step, state)
    text = state.text
    return Result(text.ids, text.new, scores=state.scores, log_probs=state.log_probs)


def log_probs(
    job: Job, scores: Float[Array, "*R V"], token: Int[Array, "*R"]
) -> Float[Array, "*R"]:
    """The log-probabilities of tokens among the processed scores, before they were divided by a
    temperature."""
    whole = jax.nn.log_softmax(scores * job.temperature, axis=-1)
    return jnp.take_along_axis(whole, token[..., None], axis=-1)[..., 0]


# ---------------------------------------------------------------- shared with beam search


def loop(model: Any, going: Callable, step: Callable, state: Any) -> Any:
    """`jax.lax.while_loop`, its whole state marked as differing between the devices of a
    `jax.shard_map` wherever a part of it, or the model, does: no part may change its type."""
    like = state, params(model)
    differing = lambda state: jax.tree.map(lambda x: varying(x, like), state)
    return jax.lax.while_loop(going, lambda state: differing(step(state)), differing(state))


def prefill(model: Any, job: Job, copies: int) -> tuple[Float[Array, "R V"] | None, Any]:
    """(scores of the first new token, the cache after the prompt), every row `copies` times.

    The last token of a prompt is left to the first step, and the scores are None, so that scores
    of the vocabulary are computed for one column only: XLA drops those of a prefill whose scores
    nobody reads. Where tokens may attend to later ones (a prefix), the prompt is read whole.
    """
    ids, inputs = job.prompt.ids, job.prompt.inputs
    reading, batch = model.reading, ids.shape[0]
    # virtual tokens come with the first call, which is none of those of the loop
    whole = reading.looks_ahead or (reading.virtual > 0 and ids.shape[1] == 1)
    read = () if model.is_encoder_decoder else reading.beside
    others = {name: inputs[name] for name in read if name in inputs}
    whole = whole or bool(others)  # an image may be the end of a prompt
    source = {name: x for name, x in inputs.items() if name not in others}
    before = ids if whole else ids[:, :-1]
    cache = model.begin(batch, job.width, source)
    first = None
    if before.shape[1]:
        column = jnp.arange(before.shape[1])[None]
        columns = columns_of(model, job.prompt, column, column >= job.prompt.start[:, None])
        logits, cache = model.advance(before, columns, cache, **others)
        first = logits[:, -1].astype(jnp.float32) if whole else None
    if copies > 1:
        cache, first = cache.repeat(copies), jax.tree.map(lambda x: x.repeat(copies, 0), first)
    return first, cache


def advance(model: Any, text: Text, cache: Any) -> tuple[Float[Array, "R V"], Any]:
    """Reads the last token of every row: the float32 scores of the next one, and the cache."""
    last = lambda columns: jax.lax.dynamic_slice_in_dim(columns, text.end - 1, 1, axis=1)
    column = jnp.broadcast_to(text.end - 1, (1, 1))
    columns = columns_of(model, text._replace(tags=jax.tree.map(last, text.tags)), column)
    logits, cache = model.advance(last(text.ids), columns, cache)
    return logits[:, -1].astype(jnp.float32), cache


def columns_of(
    model: Any,
    text: Prompt | Text,
    column: Int[Array, "1 T"],
    valid: Bool[Array, "B T"] | None = None,
) -> Columns:
    """What a decoder reads of these columns of a text: their numbers among the tokens of each row
    and among the columns that the caller knows of, and their tags."""
    tokens = jnp.maximum(column - text.start[:, None], 0)
    tags = {name: tag[:, : column.shape[1]] for name, tag in text.tags.items()}
    if any(TEXT_POSITION in mask.tags for mask in model.reading.masks):
        tags = {**tags, TEXT_POSITION: tokens}
    return Columns(valid, tokens, jnp.maximum(column - text.offset, 0), tags)


def score_buffer(model: Any, job: Job, text: Text, cache: Any) -> Float[Array, "width R V"] | None:
    """Where the scores of every step are written, if the caller wants them."""
    if not job.with_scores:
        return None
    logits = jax.eval_shape(lambda text, cache: advance(model, text, cache)[0], text, cache)
    return jnp.zeros((job.width - text.begin, *logits.shape), jnp.float32)


def record(
    buffer: Float[Array, "width R ..."] | None, scores: Float[Array, "R ..."], step: Int[Array, ""]
) -> Float[Array, "width R ..."] | None:
    """The buffer, if there is one, with the scores of this step."""
    if buffer is None:
        return None
    return jax.lax.dynamic_update_slice_in_dim(buffer, scores[None], step, axis=0)
