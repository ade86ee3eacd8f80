"""Contrastive search: of the likeliest tokens, the one whose state is least like those before it.

Source: Su et al. 2022, A Contrastive Framework for Neural Text Generation, section 3.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, top_k
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.search import (
    columns_of,
    log_probs,
    loop,
    processed,
    record,
)
from transformers_jax.generation.text import Text
from transformers_jax.models.causal import writers_cache


class _State(NamedTuple):
    text: Text
    ended: Bool[Array, " B"]
    logits: Float[Array, "B V"]  # of the next token
    past: Float[Array, "B width E"]  # states of the tokens that were read, of length 1
    cache: Any  # every row k times, for its k candidates
    scores: Float[Array, "width B V"] | None
    log_probs: Float[Array, "width B"] | None
    written: Int[Array, " B"]  # new tokens of each row, its end included


def contrastive_search(model: Any, job: Job, penalty: float, count: int) -> Result:
    """Takes, of the `count` likeliest tokens, the one with the highest
    (1 - penalty) * probability - penalty * (greatest cosine between its state and an earlier one).

    Raises:
        ValueError: for a model whose states are not to be had token by token.
    """
    _check(model)
    job = job.begun()

    def step(state: _State) -> _State:
        text, batch = state.text, len(state.ended)
        scores = processed(job, text, state.logits)
        chance, ids = top_k(jax.nn.softmax(scores, axis=-1), count)
        ids = ids.astype(text.ids.dtype)
        logits, states, cache = _advance(model, _candidates(text, ids), state.cache)
        states = _direction(states).reshape(batch, count, -1)
        like = jnp.einsum("bwe,bke->bkw", state.past, states)
        like = jnp.where(text.written[:, None], like, -jnp.inf).max(axis=-1)
        chosen = jnp.argmax((1.0 - penalty) * chance - penalty * like, axis=-1)
        of = lambda x: x[jnp.arange(batch), chosen]
        rows = jnp.repeat(jnp.arange(batch) * count + chosen, count)

        token = of(ids)
        ended = state.ended | jnp.isnan(of(chance))  # of ids out of range: what follows is no text
        token = jnp.where(ended, job.pad, token).astype(text.ids.dtype)
        likely = record(state.log_probs, log_probs(job, scores, token), text.new)
        made = record(state.scores, scores, text.new)
        past = jax.lax.dynamic_update_slice_in_dim(
            state.past, of(states)[:, None], text.end, axis=1
        )
        text = text.write(token)
        return _State(
            text=text,
            ended=ended | job.stops(text),
            logits=of(logits.reshape(batch, count, -1)),
            past=past,
            # before this step the candidates of a prompt were one text
            cache=cache.reorder(rows, state.cache.length),
            scores=made,
            log_probs=likely,
            written=state.written + ~ended,
        )

    going = lambda state: (state.text.new < job.limit) & ~state.ended.all()
    state = loop(model, going, step, _beginning(model, job, count))
    text = state.text
    return Result(text.ids, text.new, state.written, scores=state.scores, log_probs=state.log_probs)


def _check(model: Any) -> None:
    reading = model.reading
    if not hasattr(model, "advance_states") or reading.virtual or reading.anew is not None:
        raise ValueError(
            f"this {model.config.model_type} does not give one last hidden state for each token, "
            "which contrastive search compares; pass penalty_alpha=None"
        )


def _beginning(model: Any, job: Job, count: int) -> _State:
    """The search after the whole prompt was read."""
    prompt, text, reader = job.prompt, job.begin_text(1), job.reader or model
    (batch, width), new = prompt.ids.shape, job.width - text.begin
    beside = () if model.is_encoder_decoder else model.reading.beside
    others = {name: prompt.inputs[name] for name in beside if name in prompt.inputs}
    source = {name: x for name, x in prompt.inputs.items() if name not in others}
    cache = reader.begin(batch, job.width, source, **job.options.of_cache)
    column = jnp.arange(width)[None]
    own = prompt._replace(tags={name: tag[:, :width] for name, tag in prompt.tags.items()})
    columns = columns_of(model, own, column, column >= prompt.start[:, None])
    logits, states, cache = reader.advance_states(prompt.ids, columns, cache, **others)
    last = logits[:, -1].astype(jnp.float32)
    past = jnp.pad(_direction(states), ((0, 0), (0, new), (0, 0)))
    return _State(
        text=text,
        ended=text.start >= text.begin,  # a row without text stays so
        logits=last,
        past=past,
        cache=writers_cache(reader, cache).repeat(count),
        scores=jnp.zeros((new, *last.shape), jnp.float32) if job.with_scores else None,
        log_probs=jnp.zeros((new, batch), jnp.float32) if job.with_log_probs else None,
        written=jnp.zeros(batch, jnp.int32),
    )


def _candidates(text: Text, ids: Int[Array, "B K"]) -> Text:
    """Every row once for each of its candidates, which it ends with."""
    each = text.ids, text.start, text.tags
    rows, start, tags = jax.tree.map(lambda x: jnp.repeat(x, ids.shape[1], axis=0), each)
    return text._replace(ids=rows, start=start, tags=tags).write(ids.reshape(-1))


def _advance(model: Any, text: Text, cache: Any) -> tuple[Array, Array, Any]:
    """Reads the last token of every row: the scores of the next one, its state, and the cache."""
    cut = lambda x: jax.lax.dynamic_slice_in_dim(x, text.end - 1, 1, axis=1)
    columns = columns_of(
        model, text._replace(tags=jax.tree.map(cut, text.tags)), (text.end - 1)[None, None]
    )
    logits, states, cache = model.advance_states(cut(text.ids), columns, cache)
    return logits[:, -1].astype(jnp.float32), states[:, -1], cache


def _direction(states: Float[Array, "... E"]) -> Float[Array, "... E"]:
    """The states, of length 1."""
    states = states.astype(jnp.float32)
    return states / jnp.linalg.norm(states, axis=-1, keepdims=True)
