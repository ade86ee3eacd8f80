"""Prefill, then one compiled loop: greedy search and sampling, one token a step for every row.

The loop keeps the text in an array as wide as the cache and stops as soon as every row has ended.
Beam search is in beam.py and shares the second half of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.generation import processors, sampling
from transformers_jax.generation.options import Options
from transformers_jax.generation.processors import Dials, Processor, Text
from transformers_jax.graph import PLACE
from transformers_jax.models.reading import Columns
from transformers_jax.nn.param import params
from transformers_jax.shard import varying

__all__ = ["Found", "Job", "Prompt", "search"]


class Prompt(NamedTuple):
    """The caller's prompt at the right end of a bucket; row r begins at column start[r].

    `inputs` is what is read once: the inputs of `encode`, or what else a decoder is told. `tags`
    are those of prompt and new tokens, as wide as the cache. `source` is what
    `encoder_no_repeat_ngram_size` compares: ids, and which of them are text.
    """

    ids: Int[Array, "B W"]
    start: Int[Array, " B"]
    offset: Int[Array, ""]
    inputs: dict[str, Any]
    tags: dict[str, Int[Array, "B width"]]
    source: tuple[Int[Array, "B S"], Bool[Array, "B S"]] | None = None


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
        """What fills ended rows; where nothing ends, nothing but unwritten columns."""
        return self.options.pad_token_id or 0

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
    text = spread(begin_text(job), copies)
    first, cache = prefill(model, job, copies)
    process = pipeline(job)

    def choose(state: _State, logits: Float[Array, "R V"], cache: Any) -> _State:
        text, done = state.text, state.text.end - begin
        scores = processors.apply(process, text, logits)
        if options.do_sample:
            token = sampling.draw(job.step_key(done), scores)
        else:
            token = jnp.argmax(scores, axis=-1)
        chosen = jnp.take_along_axis(scores, token[:, None], axis=1)[:, 0]
        ended = state.ended | jnp.isnan(chosen)  # of ids out of range: what follows is no text
        token = jnp.where(ended, job.pad, token).astype(text.ids.dtype)
        ended |= ends(token, options)
        return _State(write(text, token), ended, cache, keep(state.scores, scores, done))

    def step(state: _State) -> _State:
        return choose(state, *advance(model, state.text, state.cache))

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.text.end - begin < job.limit) & ~state.ended.all()

    buffer = room(model, job, text, cache) if with_scores else None
    state = _State(text, text.start >= begin, cache, buffer)  # a row without text stays empty
    state = state if first is None else choose(state, first, cache)
    state = loop(model, unfinished, step, state)
    return Found(state.text.ids, state.text.end - begin, scores=state.scores)


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
    whole, batch = model.reading.looks_ahead, ids.shape[0]
    before = ids if whole else ids[:, :-1]
    source, others = (inputs, {}) if model.is_encoder_decoder else ({}, inputs)
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
    """What a decoder is told of these columns of a text: their numbers among the tokens of each row
    and among the columns that the caller knows of, and their tags."""
    tokens = jnp.maximum(column - text.start[:, None], 0)
    tags = {name: tag[:, : column.shape[1]] for name, tag in text.tags.items()}
    if any(PLACE in mask.tags for mask in model.reading.masks):
        tags = {**tags, PLACE: tokens}
    return Columns(valid, tokens, jnp.maximum(column - text.offset, 0), tags)


def begin_text(job: Job) -> Text:
    """The prompt at the left of an array as wide as the cache; the rest is padding."""
    ids, start, offset, _, tags, _ = job.prompt
    batch, begin = ids.shape
    blank = jnp.full((batch, job.width - begin), job.pad, ids.dtype)
    ids = jnp.concatenate([ids, blank], axis=1)
    return Text(ids, start, offset, begin, jnp.int32(begin), tags)


def spread(text: Text, copies: int) -> Text:
    """Every row `copies` times."""
    each = (text.ids, text.start, text.tags)
    ids, start, tags = jax.tree.map(lambda x: jnp.repeat(x, copies, axis=0), each)
    return text._replace(ids=ids, start=start, tags=tags)


def write(text: Text, token: Int[Array, " R"]) -> Text:
    """The text with one token more in every row."""
    ids = jax.lax.dynamic_update_slice_in_dim(text.ids, token[:, None], text.end, axis=1)
    return text._replace(ids=ids, end=text.end + 1)


def pipeline(job: Job) -> tuple[Processor, ...]:
    """All processors of a job: those that constrain the text, then those that shape the draw, and
    what makes log-probabilities of the rest."""
    return (
        *processors.build(job.options, job.dials, job.limit, job.prompt.source),
        *sampling.build(job.options, job.dials),
        *((processors.renormalise,) if job.options.renormalize_logits else ()),
    )


def ends(token: Int[Array, "..."], options: Options) -> Bool[Array, "..."]:
    """Whether a token ends the text."""
    return jnp.isin(token, jnp.array(options.eos_token_id, token.dtype))


def room(model: Any, job: Job, text: Text, cache: Any) -> Float[Array, "width R V"]:
    """Where the scores of every step are kept."""
    logits = jax.eval_shape(lambda text, cache: advance(model, text, cache)[0], text, cache)
    return jnp.zeros((job.width - text.begin, *logits.shape), jnp.float32)


def keep(
    buffer: Float[Array, "width R V"] | None, scores: Float[Array, "R V"], step: Int[Array, ""]
) -> Float[Array, "width R V"] | None:
    """The buffer with the scores of this step, if they are wanted."""
    if buffer is None:
        return None
    return jax.lax.dynamic_update_slice_in_dim(buffer, scores[None], step, axis=0)
