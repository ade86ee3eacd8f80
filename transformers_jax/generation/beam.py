"""Beam search, as a compiled loop over arrays of fixed shape.

Each row keeps `num_beams` running beams and as many finished hypotheses. A step continues every
beam by every token and looks at the best 2 x num_beams of them: that many, because half could end
at once. Those that end become hypotheses if they are among the best num_beams; the best of the
others run on. The score of a hypothesis is (sum of log-probabilities) / length ** length_penalty,
where the length counts generated tokens, the end included.

Groups of beams (Vijayakumar et al. 2016, algorithm 1) are searches of their own, one after the
other in every step: a token that an earlier group has just written is less likely.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, top_k
from transformers_jax.generation import sampling
from transformers_jax.generation.hypotheses import (
    NEVER,
    Hypotheses,
    best_of,
    may_improve,
    no_hypotheses,
    pick,
    top,
)
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.processors.diversity import with_used
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


class Running(NamedTuple):
    """The beams of B prompts, or of B groups."""

    text: Text  # the running beams: rows (b n)
    score: Float[Array, "B N"]
    parent: Int[Array, "B N"]  # which of the N beams each running one continues
    finished: Hypotheses
    open: Bool[Array, " B"]  # a running beam may still become better than the worst hypothesis
    going: Bool[Array, ""]


class _State(NamedTuple):
    beams: Running
    cache: Any
    scores: Float[Array, "width R V"] | None


def beam_search(model: Any, job: Job) -> Result:
    """The best `num_return_sequences` hypotheses of each row, best first."""

    job = job.begun()

    def choose(state: _State, logits: Scores, cache: Any) -> _State:
        chances = jax.tree.map(jax.nn.log_softmax, logits)
        beams, chance = _step_groups(state.beams, chances, job)
        scores = record(state.scores, chance, state.beams.text.new)
        return _State(beams, cache, scores)

    def step(state: _State) -> _State:
        cache = follow(state.beams, state.cache, shared)
        return choose(state, *advance(model, state.beams.text, cache))

    first, cache = prefill(model, job, job.options.num_beams)
    shared = shared_tokens(model, cache)
    beams = beginning(job)
    state = _State(beams, cache, score_buffer(model, job, beams.text, cache))
    state = state if first is None else choose(state, first, cache)
    state = loop(model, lambda state: state.beams.going, step, state)
    best = _best(state.beams.finished, job)
    ids = best.ids.reshape(-1, job.width)
    counts = best.length.reshape(-1)
    return Result(ids, counts.max(), counts, best.score.reshape(-1), state.scores)


def beginning(job: Job) -> Running:
    """All beams of a row (or group) hold the prompt; only the first counts, or all would be the
    same."""
    options, groups = job.options, job.options.num_beam_groups
    batch, beams = job.prompt.ids.shape[0] * groups, options.num_beams // groups
    text = job.begin_text(options.num_beams)
    begun = job.prompt.start < job.prompt.ids.shape[1]  # a row without text stays empty
    return Running(
        text=text,
        score=jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, NEVER), (batch, beams)),
        parent=jnp.broadcast_to(jnp.arange(beams, dtype=jnp.int32), (batch, beams)),
        finished=no_hypotheses(text.ids.reshape(batch, beams, -1)),
        open=jnp.repeat(begun, groups),
        going=jnp.bool_(True),
    )


def shared_tokens(model: Any, cache: Any) -> Any:
    """How many tokens the beams of a prompt have in common in the cache after it: none where a text
    is read anew in other places."""
    length = cache.length
    return length if model.reading.anew is None else jax.tree.map(jnp.zeros_like, length)


def follow(beams: Running, cache: Any, shared: Any) -> Any:
    """The cache of the running beams, of which what is theirs alone is moved with them."""
    batch, count = beams.parent.shape
    rows = (jnp.arange(batch)[:, None] * count + beams.parent).reshape(-1)
    return cache.reorder(rows, shared)


def _best(finished: Hypotheses, job: Job) -> Hypotheses:
    """The best hypotheses of each prompt, of all of its groups."""
    batch, count = job.prompt.ids.shape[0], job.options.num_return_sequences
    whole = jax.tree.map(lambda x: x.reshape(batch, -1, *x.shape[2:]), finished)
    if job.options.num_beam_groups > 1:
        return top(whole, count)
    return jax.tree.map(lambda x: x[:, :count], whole)


def _step_groups(beams: Running, chances: Scores, job: Job) -> tuple[Running, Float[Array, "R V"]]:
    """The beams with one token more, and their log-probabilities after all processors."""
    groups, batch = job.options.num_beam_groups, job.prompt.ids.shape[0]
    if groups == 1:
        chance = processed(job, beams.text, chances)
        return _step(beams, chance, job), chance
    text = beams.text
    whole = chances, text.ids, text.start, text.tags, beams.score, beams.finished, beams.open
    apart = lambda x: jnp.moveaxis(x.reshape(batch, groups, -1, *x.shape[1:]), 1, 0)
    whole = jax.tree.map(apart, whole)
    written: list[Array] = []  # by the groups before, a row each prompt
    made = []
    for group in range(groups):
        flat = functools.partial(_flat, group)
        chance, ids, start, tags, score, finished, still_open = jax.tree.map(flat, whole)
        rows = text._replace(ids=ids, start=start, tags=tags)
        vocabulary = jax.tree.leaves(chance)[0].shape[-1]
        tokens = jnp.concatenate(written, axis=1) if written else None
        processors = with_used(job.processors, tokens, vocabulary)
        chance = processed(replace(job, processors=processors), rows, chance)
        begun = Running(rows, score, score.astype(jnp.int32), finished, still_open, beams.going)
        one = _step(begun, chance, job)
        last = one.text.last(1)[0].reshape(batch, -1)
        written.append(jnp.where(still_open[:, None], last, job.pad))  # once ended: padding
        made.append(
            (one.text.ids, one.score, one.parent, one.finished, one.open, one.going, chance)
        )
    *fields, going, chance = zip(*made)
    joined = [jax.tree.map(functools.partial(_joined, batch), *each) for each in (*fields, chance)]
    ids, score, parent, finished, still_open, chance = joined
    text = text._replace(ids=ids, end=text.end + 1)
    return Running(text, score, parent, finished, still_open, jnp.stack(going).any()), chance


def _flat(group: int, x: Array) -> Array:
    """The rows of a group, of x[group, prompt, beam]."""
    return x[group].reshape(-1, *x.shape[3:])


def _joined(batch: int, *groups: Array) -> Array:
    """The rows of all groups, (prompt, group, beam)."""
    apart = [x.reshape(batch, -1, *x.shape[1:]) for x in groups]
    return jnp.stack(apart, axis=1).reshape(-1, *groups[0].shape[1:])


def _step(state: Running, chance: Float[Array, "R V"], job: Job) -> Running:
    """Extends the running beams by one token; `chance` is the log-probability of each."""
    options = job.options
    (batch, beams), vocab = state.score.shape, chance.shape[1]
    total = (chance.reshape(batch, beams, vocab) + state.score[..., None]).reshape(batch, -1)
    length = state.text.new + 1  # in generated tokens, this one included
    score, index = candidates(total, beams, job, state.text.new)
    still_open = state.open & ~jnp.isnan(score).all(axis=1)  # NaN: some id is out of range
    parent, token = index // vocab, (index % vocab).astype(state.text.ids.dtype)

    ids = pick(state.text.ids.reshape(batch, beams, -1), parent)  # (B, candidates, W)
    ids = jax.lax.dynamic_update_slice_in_dim(ids, token[..., None], state.text.end, axis=2)
    ends = ending(ids, state.text, job)
    stops = ends | (length >= job.limit)

    running, best = top_k(jnp.where(stops, score + NEVER, score), beams)
    text = state.text._replace(
        ids=pick(ids, best).reshape(batch * beams, -1), end=state.text.end + 1
    )

    normalised = score / length.astype(jnp.float32) ** job.length_penalty
    among_best = jnp.arange(score.shape[1]) < beams
    accepted = stops & among_best & still_open[:, None]
    if options.early_stopping is True:
        accepted &= ~state.finished.real.all(axis=1, keepdims=True)
        if options.num_beam_groups > 1:  # a group that is full takes none that is cut off
            count = (accepted & ends).sum(axis=1) + state.finished.real.sum(axis=1)
            accepted &= ends | (count < beams)[:, None]
    fresh = Hypotheses(
        ids,
        jnp.where(accepted, normalised, -jnp.inf),
        jnp.broadcast_to(length, score.shape),
        accepted,
    )
    finished = best_of(state.finished, fresh, beams)

    # of groups, transformers compares the best candidate, though it may have ended
    leading = score[:, 0] if options.num_beam_groups > 1 else running[:, 0]
    runs = running[:, 0] > NEVER / 2  # where all have ended, none does
    still_open &= runs & may_improve(leading, finished, length, job)
    going = still_open.any() & ~stops.all()
    if options.early_stopping is True:
        still_open &= ~finished.real.all(axis=1)
        going &= ~finished.real.all()
    return Running(text, running, pick(parent, best), finished, still_open, going)


def ending(ids: Int[Array, "B C W"], text: Text, job: Job) -> Bool[Array, "B C"]:
    """Which continuations end, of a text that is one token longer."""
    batch, count, width = ids.shape
    start = jnp.repeat(job.prompt.start, count)
    rows = Text(ids.reshape(-1, width), start, text.offset, text.begin, text.end + 1)
    return job.stops(rows).reshape(batch, count)


def candidates(
    total: Float[Array, "B N*V"], beams: int, job: Job, step: Int[Array, ""]
) -> tuple[Float[Array, "B C"], Int[Array, "B C"]]:
    """The continuations to look at, best first (or drawn): so many that all beams run on."""
    count = max(2, 1 + len(job.options.eos_token_id)) * beams
    count = min(count, total.shape[1])
    if job.options.do_sample:
        return sampling.draw_without_replacement(job.step_key(step), total, count)
    return top_k(total, count)
