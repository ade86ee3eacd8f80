"""Beam search, as a compiled loop over arrays of fixed shape.

Each row keeps `num_beams` running beams and as many finished hypotheses. A step continues every
beam by every token and looks at the best 2 x num_beams of them: that many, because half could end
at once. Those that end become hypotheses if they are among the best num_beams; the best of the
others run on. The score of a hypothesis is (sum of log-probabilities) / length ** length_penalty,
where the length counts generated tokens, the end included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation import sampling
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.search import (
    Scores,
    advance,
    loop,
    prefill,
    processed,
    record,
    score_buffer,
)
from transformers_jax.generation.text import Text

NEVER = -1e20
"""Score of an unused slot among the running beams: below every sum of log-probabilities (which
options may scale within `SCALE_LIMITS`) and above the score of banned tokens. An unused slot among
the hypotheses has the score -inf, because `length_penalty` may make theirs arbitrarily low."""


class _Hypotheses(NamedTuple):
    """Finished beams, best first. Slots that are still empty have the score -inf."""

    ids: Int[Array, "B N W"]
    score: Float[Array, "B N"]
    length: Int[Array, "B N"]
    real: Bool[Array, "B N"]


class _State(NamedTuple):
    text: Text  # the running beams: rows (b n)
    score: Float[Array, "B N"]
    parent: Int[Array, " R"]  # the row that each running beam continues: where its cache is
    finished: _Hypotheses
    open: Bool[Array, " B"]  # a running beam may still become better than the worst hypothesis
    going: Bool[Array, ""]
    cache: Any
    scores: Float[Array, "width R V"] | None


def beam_search(model: Any, job: Job) -> Result:
    """The best `num_return_sequences` hypotheses of each row, best first."""

    job = job.begun()

    def choose(state: _State, logits: Scores, cache: Any) -> _State:
        chance = processed(job, state.text, jax.tree.map(jax.nn.log_softmax, logits))
        scores = record(state.scores, chance, state.text.new)
        return _step(state._replace(cache=cache, scores=scores), chance, job)

    def step(state: _State) -> _State:
        return choose(state, *advance(model, state.text, state.cache.reorder(state.parent)))

    first, cache = prefill(model, job, job.options.num_beams)
    state = _beginning(model, job, cache)
    state = state if first is None else choose(state, first, cache)
    state = loop(model, lambda state: state.going, step, state)
    best = jax.tree.map(lambda x: x[:, : job.options.num_return_sequences], state.finished)
    ids = best.ids.reshape(-1, job.width)
    return Result(ids, best.length.max(), best.score.reshape(-1), state.scores)


def _beginning(model: Any, job: Job, cache: Any) -> _State:
    """All beams of a row hold the prompt; only the first counts, or all would be the same."""
    batch, beams = job.prompt.ids.shape[0], job.options.num_beams
    text = job.begin_text(beams)
    nothing = _Hypotheses(
        ids=text.ids.reshape(batch, beams, -1),
        score=jnp.full((batch, beams), -jnp.inf),
        length=jnp.zeros((batch, beams), jnp.int32),
        real=jnp.zeros((batch, beams), bool),
    )
    return _State(
        text=text,
        score=jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, NEVER), (batch, beams)),
        parent=jnp.arange(batch * beams),
        finished=nothing,
        open=job.prompt.start < job.prompt.ids.shape[1],  # a row without text stays empty
        going=jnp.bool_(True),
        cache=cache,
        scores=score_buffer(model, job, text, cache),
    )


def _step(state: _State, chance: Float[Array, "R V"], job: Job) -> _State:
    """Extends the running beams by one token; `chance` is the log-probability of each."""
    options = job.options
    (batch, beams), vocab = state.score.shape, chance.shape[1]
    total = (chance.reshape(batch, beams, vocab) + state.score[..., None]).reshape(batch, -1)
    length = state.text.new + 1  # in generated tokens, this one included
    score, index = _candidates(total, job, state.text.new)
    still_open = state.open & ~jnp.isnan(score).all(axis=1)  # NaN: some id is out of range
    parent, token = index // vocab, (index % vocab).astype(state.text.ids.dtype)

    ids = _pick(state.text.ids.reshape(batch, beams, -1), parent)  # (B, candidates, W)
    ids = jax.lax.dynamic_update_slice_in_dim(ids, token[..., None], state.text.end, axis=2)
    stops = _stops(ids, state.text, job) | (length >= job.limit)

    running, best = jax.lax.top_k(jnp.where(stops, score + NEVER, score), beams)
    rows = jnp.arange(batch)[:, None] * beams + _pick(parent, best)
    text = state.text._replace(
        ids=_pick(ids, best).reshape(batch * beams, -1), end=state.text.end + 1
    )

    normalised = score / length.astype(jnp.float32) ** job.length_penalty
    among_best = jnp.arange(score.shape[1]) < beams
    accepted = stops & among_best & still_open[:, None]
    if options.early_stopping is True:
        accepted &= ~state.finished.real.all(axis=1, keepdims=True)
    fresh = _Hypotheses(
        ids,
        jnp.where(accepted, normalised, -jnp.inf),
        jnp.broadcast_to(length, score.shape),
        accepted,
    )
    finished = _best_of(state.finished, fresh, beams)

    still_open &= _may_improve(running[:, 0], finished, length, job)
    going = still_open.any() & ~stops.all()
    if options.early_stopping is True:
        going &= ~finished.real.all()
    return _State(
        text, running, rows.reshape(-1), finished, still_open, going, state.cache, state.scores
    )


def _stops(ids: Int[Array, "B C W"], text: Text, job: Job) -> Bool[Array, "B C"]:
    """Which continuations end, of a text that is one token longer."""
    batch, count, width = ids.shape
    start = jnp.repeat(job.prompt.start, count)
    rows = Text(ids.reshape(-1, width), start, text.offset, text.begin, text.end + 1)
    return job.stops(rows).reshape(batch, count)


def _candidates(
    total: Float[Array, "B N*V"], job: Job, step: Int[Array, ""]
) -> tuple[Float[Array, "B C"], Int[Array, "B C"]]:
    """The continuations to look at, best first (or drawn): so many that num_beams run on."""
    count = max(2, 1 + len(job.options.eos_token_id)) * job.options.num_beams
    count = min(count, total.shape[1])
    if job.options.do_sample:
        return sampling.draw_without_replacement(job.step_key(step), total, count)
    return jax.lax.top_k(total, count)


def _best_of(old: _Hypotheses, new: _Hypotheses, count: int) -> _Hypotheses:
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), old, new)
    best = jax.lax.top_k(both.score, count)[1]
    return jax.tree.map(lambda x: _pick(x, best), both)


def _may_improve(
    best_running: Float[Array, " B"], finished: _Hypotheses, length: Int[Array, ""], job: Job
) -> Bool[Array, " B"]:
    """Whether the best running beam could still become better than the worst hypothesis.

    By default its score is normalised by the present length; with early_stopping="never" and a
    penalty that favours long texts, by the greatest length it could reach.
    """
    penalty = job.length_penalty
    if job.options.early_stopping == "never":
        length = jnp.where(penalty > 0, job.limit, length)
    attainable = best_running / length.astype(jnp.float32) ** penalty
    worst = jnp.where(finished.real.all(axis=1), finished.score.min(axis=1), -jnp.inf)
    return (best_running > NEVER / 2) & (attainable > worst)  # where all have ended, none runs on


def _pick(x: Array, index: Int[Array, "B C"]) -> Array:
    """x[b, index[b, c]] for every b and c."""
    return x[jnp.arange(x.shape[0])[:, None], index]
