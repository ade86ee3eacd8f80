"""Prefill, then one compiled loop: greedy search and sampling, one token a step for every row.

The loop keeps the text in an array as wide as the cache and stops as soon as every row has ended.
Beam search is in beam.py and shares the second half of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation import processors, sampling
from transformers_jax.generation.guidance import Guided
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.processors.guidance import guided
from transformers_jax.generation.text import Prompt, Text
from transformers_jax.graph import TEXT_POSITION
from transformers_jax.models.causal import writers_cache
from transformers_jax.models.reading import Columns
from transformers_jax.nn.param import params
from transformers_jax.shard import varying

Scores = Any
"""Float[R V]; with guidance a pair, of the prompt and of the other one."""


class State(NamedTuple):
    """A search between two steps."""

    text: Text
    ended: Bool[Array, " R"]
    cache: Any
    scores: Float[Array, "width R V"] | None
    log_probs: Float[Array, "width R"] | None
    written: Int[Array, " R"]  # new tokens of each row, its end included


def search(model: Any, job: Job) -> Result:
    """Takes the best token (or draws one) until every row has ended or the limit is reached."""
    job = job.begun()
    return result_of(go_on(model, job, begin_search(model, job), job.limit))


def begin_search(model: Any, job: Job) -> State:
    """The search after the prompt was read. (One that is read whole has its first token.)"""
    copies = job.options.num_return_sequences
    text = job.begin_text(copies)
    first, cache = prefill(model, job, copies)
    empty = text.start >= text.begin  # a row without text stays so
    shape = job.width - text.begin, text.ids.shape[0]
    likely = jnp.zeros(shape, jnp.float32) if job.with_log_probs else None
    zeros = jnp.zeros(text.ids.shape[0], jnp.int32)
    state = State(text, empty, cache, score_buffer(model, job, text, cache), likely, zeros)
    return state if first is None else _choose(job, state, first, cache)


def go_on(model: Any, job: Job, state: State, most: Int[Array, ""]) -> State:
    """The search until every row has ended, or has `most` new tokens."""

    def unfinished(state: State) -> Bool[Array, ""]:
        return (state.text.new < most) & ~state.ended.all()

    def step(state: State) -> State:
        return _choose(job, state, *advance(model, state.text, state.cache))

    return loop(model, unfinished, step, state)


def _choose(job: Job, state: State, logits: Scores, cache: Any) -> State:
    """The search with one token more in every row."""
    text = state.text
    scores = processed(job, text, logits)
    if job.options.do_sample:
        token = sampling.draw(job.step_key(text.new), scores)
    else:
        token = jnp.argmax(scores, axis=-1)
    chosen = jnp.take_along_axis(scores, token[:, None], axis=1)[:, 0]
    ended = state.ended | jnp.isnan(chosen)  # of ids out of range: what follows is no text
    token = jnp.where(ended, job.pad, token).astype(text.ids.dtype)
    made = record(state.scores, scores, text.new)
    likely = record(state.log_probs, log_probs(job, scores, token), text.new)
    text = text.write(token)
    written = state.written + ~ended
    return State(text, ended | job.stops(text), cache, made, likely, written)


def result_of(state: State) -> Result:
    """What a search has found."""
    text = state.text
    return Result(text.ids, text.new, state.written, scores=state.scores, log_probs=state.log_probs)


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


def prefill(model: Any, job: Job, copies: int) -> tuple[Scores | None, Any]:
    """(scores of the first new token, the cache after the prompt), every row `copies` times; with
    guidance, both of the prompt and of the other one."""
    if job.guidance is None:
        return _read(model, job, job.prompt, copies, _reads_whole(model, job.prompt))
    other = job.guidance.prompt  # which ends with another token: both are read to their ends
    first, cache = _read(model, job, job.prompt, copies, whole=True)
    second, behind = _read(model, job, other, copies, whole=True)
    start = jnp.repeat(other.start, copies)
    return (first, second), Guided(cache, behind, start, other.offset)


def _reads_whole(model: Any, prompt: Prompt) -> bool:
    """Whether a prompt is read to its last token before the loop."""
    reading = model.reading
    # tokens may attend to later ones (a prefix), a rotation may depend on how many there are, or
    # virtual tokens come with the first call, which is none of those of the loop
    whole = (
        reading.looks_ahead
        or reading.by_length
        or (reading.virtual > 0 and prompt.ids.shape[1] == 1)
    )
    return whole or bool(_beside(model, prompt))  # an image may be the end of a prompt


def _beside(model: Any, prompt: Prompt) -> dict[str, Any]:
    """What is read together with a prompt."""
    read = () if model.is_encoder_decoder else model.reading.beside
    return {name: prompt.inputs[name] for name in read if name in prompt.inputs}


def _read(
    model: Any, job: Job, prompt: Prompt, copies: int, whole: bool
) -> tuple[Float[Array, "R V"] | None, Any]:
    """(scores of the first new token, the cache after a prompt), every row `copies` times.

    Unless it is read `whole`, the last token of a prompt is left to the first step, and the scores
    are None, so that scores of the vocabulary are computed for one column only: XLA drops those of
    a prefill whose scores nobody reads.
    """
    ids, others = prompt.ids, _beside(model, prompt)
    source = {name: x for name, x in prompt.inputs.items() if name not in others}
    before, reader = ids if whole else ids[:, :-1], job.reader or model
    cache = reader.begin(ids.shape[0], job.width, source, **job.options.of_cache)
    first, count = None, before.shape[1]
    piece = job.options.prefill_chunk_size
    if count:
        rest = count if piece is None else count % piece or piece  # the first is the odd one
        logits, cache = _read_piece(reader, prompt, 0, rest, cache, others)
        if piece is not None and count > rest:
            starts = jnp.arange(rest, count, piece)
            logits, cache = _read_pieces(reader, prompt, starts, piece, logits[:, -1:], cache)
        first = logits[:, -1].astype(jnp.float32) if whole else None
    cache = writers_cache(reader, cache)
    if copies > 1:
        cache, first = cache.repeat(copies), jax.tree.map(lambda x: x.repeat(copies, 0), first)
    return first, cache


def _read_piece(
    model: Any, prompt: Prompt, start: Any, count: int, cache: Any, others: dict[str, Any]
) -> tuple[Float[Array, "B T V"], Any]:
    """Reads `count` columns of a prompt from `start` on."""
    known = isinstance(start, int)  # `count` may be symbolic then
    of = jax.lax.dynamic_slice_in_dim
    cut = lambda x: x[:, start : start + count] if known else of(x, start, count, axis=1)
    column = (start + jnp.arange(count))[None]
    own = prompt._replace(tags=jax.tree.map(cut, prompt.tags))
    columns = columns_of(model, own, column, column >= prompt.start[:, None])
    return model.advance(cut(prompt.ids), columns, cache, **others)


def _read_pieces(
    model: Any, prompt: Prompt, starts: Int[Array, " N"], count: int, logits: Any, cache: Any
) -> tuple[Float[Array, "B 1 V"], Any]:
    """Reads pieces of a prompt one after the other, in a loop: its memory is that of one."""
    state = jnp.int32(0), logits, cache

    def step(state: Any) -> Any:
        number, _, cache = state
        logits, cache = _read_piece(model, prompt, starts[number], count, cache, {})
        return number + 1, logits[:, -1:], cache

    _, logits, cache = loop(model, lambda state: state[0] < len(starts), step, state)
    return logits, cache


def processed(job: Job, text: Text, scores: Scores) -> Float[Array, "R V"]:
    """Scores after guidance and all processors."""
    if job.guidance is not None:
        scores = guided(scores[0], scores[1], job.guidance.scale)
    return processors.apply(job.processors, text, scores)


def advance(model: Any, text: Text, cache: Any) -> tuple[Scores, Any]:
    """Reads the last token of every row: the float32 scores of the next one, and the cache; with
    guidance, the scores after both prompts."""
    if isinstance(cache, Guided):
        first, own = advance(model, text, cache.own)
        behind = text._replace(start=cache.start, offset=cache.offset)
        second, other = advance(model, behind, cache.other)
        return (first, second), replace(cache, own=own, other=other)
    anew = model.reading.anew
    if anew is None or anew >= text.ids.shape[1]:
        return _read_at(model, text, text.end - 1, 1, cache)
    begun = replace(model.begin(text.ids.shape[0], cache.size, {}), copies=cache.copies)
    return jax.lax.cond(
        text.length == anew + 1,
        lambda: _read_at(model, text, text.offset, anew + 1, begun),
        lambda: _read_at(model, text, text.end - 1, 1, cache),
    )


def _read_at(
    model: Any, text: Text, first: Int[Array, ""], count: int, cache: Any
) -> tuple[Float[Array, "R V"], Any]:
    """Reads `count` columns from the `first` on: the float32 scores after the last, and the cache
    with them."""
    cut = lambda columns: jax.lax.dynamic_slice_in_dim(columns, first, count, axis=1)
    column = (first + jnp.arange(count))[None]
    valid = column >= text.start[:, None] if count > 1 else None
    columns = columns_of(model, text._replace(tags=jax.tree.map(cut, text.tags)), column, valid)
    logits, cache = model.advance(cut(text.ids), columns, cache)
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
    made = jax.eval_shape(lambda text, cache: advance(model, text, cache)[0], text, cache)
    logits = jax.tree.leaves(made)[0]
    return jnp.zeros((job.width - text.begin, *logits.shape), jnp.float32)


def record(
    buffer: Float[Array, "width R ..."] | None, scores: Float[Array, "R ..."], step: Int[Array, ""]
) -> Float[Array, "width R ..."] | None:
    """The buffer, if there is one, with the scores of this step."""
    if buffer is None:
        return None
    return jax.lax.dynamic_update_slice_in_dim(buffer, scores[None], step, axis=0)
