"""Beam search for texts that contain words, as a compiled loop over arrays of fixed shape.

Beside its best continuations every beam is continued by each token that brings a constraint
forward. All of these are put into banks by their progress, and the beams that run on are the best
of each bank, then the second best, and so on (Post and Vilar 2018), as transformers 4 does it.

A text ends only when it contains all words. Where the search would lose every beam that can still
write them in the tokens that are left, and no text is finished, the best one that can takes the
place of the last beam; so a text with all words is found wherever there is room for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, top_k
from transformers_jax.generation.beam import (
    Running,
    beginning,
    candidates,
    ending,
    follow,
    shared_tokens,
)
from transformers_jax.generation.constraints import Forest
from transformers_jax.generation.hypotheses import (
    NEVER,
    Hypotheses,
    best_of,
    joined,
    may_improve,
    pick,
)
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.processors.record import among
from transformers_jax.generation.search import (
    Scores,
    advance,
    loop,
    prefill,
    processed,
    record,
    score_buffer,
)

BANK = 100.0
"""What a token of progress counts where continuations are sorted, in log-probability."""


class Progress(NamedTuple):
    """How far the texts of R beams are."""

    done: Bool[Array, "R n"]  # which constraints the text contains
    order: Int[Array, "R n"]  # in which the others are asked whether they begin; broken ones last
    edge: Int[Array, " R"]  # the last token of the constraint that is being written; -1: none is


class _State(NamedTuple):
    beams: Running
    progress: Progress
    left: Hypotheses  # texts that were cut before they had all words
    cache: Any
    scores: Float[Array, "width R V"] | None


class _Pool(NamedTuple):
    """Continuations of the beams of B prompts."""

    parent: Int[Array, "B A"]
    token: Int[Array, "B A"]
    score: Float[Array, "B A"]
    bank: Int[Array, "B A"]
    need: Int[Array, "B A"]  # fewest tokens to all words
    real: Bool[Array, "B A"]  # neither banned nor of an unused beam, nor there twice


def constrained_search(model: Any, job: Job) -> Result:
    """The best `num_return_sequences` texts of each row: those with all words, best first, and only
    then what was cut without them."""
    job = job.begun()

    def choose(state: _State, logits: Scores, cache: Any) -> _State:
        chances = jax.tree.map(jax.nn.log_softmax, logits)
        chance = processed(job, state.beams.text, chances)
        beams, progress, left = _step(state, chance, job)
        scores = record(state.scores, chance, state.beams.text.new)
        return _State(beams, progress, left, cache, scores)

    def step(state: _State) -> _State:
        cache = follow(state.beams, state.cache, shared)
        return choose(state, *advance(model, state.beams.text, cache))

    first, cache = prefill(model, job, job.options.num_beams)
    shared = shared_tokens(model, cache)
    beams = beginning(job)
    buffer = score_buffer(model, job, beams.text, cache)
    state = _State(beams, _after_prompt(job), beams.finished, cache, buffer)
    state = state if first is None else choose(state, first, cache)
    state = loop(model, lambda state: state.beams.going, step, state)
    best = _best(state, job.options.num_return_sequences)
    ids = best.ids.reshape(-1, job.width)
    counts = best.length.reshape(-1)
    return Result(ids, counts.max(), counts, best.score.reshape(-1), state.scores)


def _best(state: _State, count: int) -> Hypotheses:
    """The best texts with all words, then the best without."""
    both = joined(state.beams.finished, state.left)
    late = jnp.arange(both.score.shape[1]) >= state.left.score.shape[1]
    order = jnp.lexsort((-both.score, jnp.where(both.real, late, 2)))
    return jax.tree.map(lambda x: pick(x, order[:, :count]), both)


def _after_prompt(job: Job) -> Progress:
    """The progress of all beams, of which the words of the prompt are a part (as in
    transformers)."""
    forest, prompt = _forest(job), job.prompt
    batch, width = prompt.ids.shape
    shape = (batch, len(forest.shortest))
    begin = Progress(
        jnp.broadcast_to(forest.shortest == 0, shape),
        jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32), shape),
        jnp.full(batch, -1, jnp.int32),
    )

    def read(progress: Progress, column: tuple[Array, Array]) -> tuple[Progress, None]:
        token, is_text = column
        after = read_token(forest, progress, token)
        kept = lambda new, old: jnp.where(is_text.reshape(-1, *[1] * (new.ndim - 1)), new, old)
        return jax.tree.map(kept, after, progress), None

    is_text = jnp.arange(width)[:, None] >= prompt.start
    progress, _ = jax.lax.scan(read, begin, (prompt.ids.T, is_text))
    return jax.tree.map(lambda x: jnp.repeat(x, job.options.num_beams, axis=0), progress)


def _forest(job: Job) -> Forest:
    assert job.forest is not None
    return job.forest


def offers(forest: Forest, progress: Progress) -> Bool[Array, "R E"]:
    """The edges that bring a constraint forward: of the one that is being written, or else the
    first ones of all that the text does not contain."""
    idle = (progress.edge < 0)[:, None]
    begins = (forest.parent < 0) & (forest.token >= 0) & ~progress.done[:, forest.owner]
    return jnp.where(idle, begins, forest.parent == jnp.where(idle, 0, progress.edge[:, None]))


def read_token(forest: Forest, progress: Progress, token: Int[Array, " R"]) -> Progress:
    """The progress with one token more, which continues one constraint, begins one, or breaks off
    the one that was being written: that token begins none."""
    done, order, edge = progress
    follows = offers(forest, progress) & (forest.token == token[:, None])
    asked = jnp.where(follows, order[:, forest.owner], jnp.iinfo(jnp.int32).max)
    followed, some = jnp.argmin(asked, axis=1).astype(jnp.int32), follows.any(axis=1)
    numbers = jnp.arange(done.shape[1])
    whole = some & forest.leaf[followed]
    done |= whole[:, None] & (numbers == forest.owner[followed][:, None])
    broken = (edge >= 0) & ~some
    last = broken[:, None] & (numbers == forest.owner[edge][:, None])
    order = jnp.where(last, order.max(axis=1, keepdims=True) + 1, order)
    return Progress(done, order, jnp.where(some & ~whole, followed, -1))


def _measured(forest: Forest, progress: Progress) -> tuple[Int[Array, " R"], Int[Array, " R"]]:
    """(the bank, the fewest tokens to all words)."""
    done, _, edge = progress
    inside = edge >= 0
    count = (done & (forest.shortest > 0)).sum(axis=1)
    bank = count * forest.longest + jnp.where(inside, forest.longest - forest.rest[edge], 0)
    written = (jnp.arange(done.shape[1]) == forest.owner[edge][:, None]) & inside[:, None]
    need = jnp.where(done | written, 0, forest.shortest).sum(axis=1)
    return bank, need + jnp.where(inside, forest.need[edge], 0)


def _step(
    state: _State, chance: Float[Array, "R V"], job: Job
) -> tuple[Running, Progress, Hypotheses]:
    """Extends the running beams by one token; `chance` is the log-probability of each."""
    beams, progress, forest = state.beams, state.progress, _forest(job)
    text, (batch, count) = beams.text, beams.score.shape
    vocab = chance.shape[1]
    total = chance.reshape(batch, count, vocab) + beams.score[..., None]
    length = text.new + 1  # in generated tokens, this one included
    score, index = candidates(total.reshape(batch, -1), count, job, text.new)
    still_open = beams.open & ~jnp.isnan(score).all(axis=1)  # NaN: some id is out of range
    parent, token = index // vocab, (index % vocab).astype(text.ids.dtype)

    ids = _written(beams, parent, token)
    ends = ending(ids, text, job)
    ends &= ~ends.all(axis=1, keepdims=True)  # where time is over: cut off, below
    after = _following(forest, progress, parent, token)
    among_best = jnp.arange(score.shape[1]) < count
    whole = after.done.all(axis=1).reshape(score.shape)
    ended = ends & among_best & (score > NEVER / 2) & still_open[:, None]
    accepted, early = ended & whole, _hypotheses(ids, score, ended & ~whole, length, job)
    finished = best_of(beams.finished, _hypotheses(ids, score, accepted, length, job), count)
    still_open &= may_improve(score[:, 0], finished, length, job)
    if job.options.early_stopping is True:
        still_open &= ~finished.real.all(axis=1)

    running, best = top_k(jnp.where(ends, score + NEVER, score), count)
    bank, need = (x.reshape(score.shape) for x in _measured(forest, after))
    fields = (pick(x, best) for x in (parent, token, score, bank, need))
    plain = _Pool(*fields, real=running > NEVER / 2)
    forward = _forward(forest, progress, total, plain)
    pools = [plain, forward, _onward(progress, total, job)]
    pool = _Pool(*(jnp.concatenate(x, axis=1) for x in zip(*pools)))
    chosen = _rescued(pool, _interleaved(plain, forward), finished, job.limit - length)

    parent, token, score, _, _, real = _Pool(*(pick(x, chosen) for x in pool))
    ids = _written(beams, parent, token)
    progress = _following(forest, progress, parent, token)
    stops = ending(ids, text, job) | (length >= job.limit)
    whole = progress.done.all(axis=1).reshape(score.shape)
    cut = stops & real & still_open[:, None]
    finished = best_of(finished, _hypotheses(ids, score, cut & whole, length, job), count)
    left = best_of(state.left, _hypotheses(ids, score, cut & ~whole, length, job), count)
    runs = real & ~stops
    stuck = still_open & ~real.any(axis=1)  # of what may be written, only the end: without words
    early = early._replace(score=jnp.where(stuck[:, None], early.score, -jnp.inf))
    left = best_of(left, early._replace(real=early.real & stuck[:, None]), count)
    still_open &= runs.any(axis=1)
    text = text._replace(ids=ids.reshape(batch * count, -1), end=text.end + 1)
    score = jnp.where(runs, score, NEVER)
    beams = Running(text, score, parent, finished, still_open, still_open.any())
    return beams, progress, left


def _written(
    beams: Running, parent: Int[Array, "B C"], token: Int[Array, "B C"]
) -> Int[Array, "B C W"]:
    """The texts of beams, each with a token more."""
    ids = pick(beams.text.ids.reshape(*beams.score.shape, -1), parent)
    return jax.lax.dynamic_update_slice_in_dim(ids, token[..., None], beams.text.end, axis=2)


def _following(
    forest: Forest, progress: Progress, parent: Int[Array, "B C"], token: Int[Array, "B C"]
) -> Progress:
    """The progress of continuations, one row each."""
    count = len(progress.edge) // parent.shape[0]
    rows = (jnp.arange(parent.shape[0])[:, None] * count + parent).reshape(-1)
    return read_token(forest, jax.tree.map(lambda x: x[rows], progress), token.reshape(-1))


def _hypotheses(
    ids: Int[Array, "B C W"],
    score: Float[Array, "B C"],
    accepted: Bool[Array, "B C"],
    length: Int[Array, ""],
    job: Job,
) -> Hypotheses:
    """Those that are accepted, with their scores divided."""
    normalised = score / length.astype(jnp.float32) ** job.length_penalty
    normalised = jnp.where(accepted, normalised, -jnp.inf)
    return Hypotheses(ids, normalised, jnp.broadcast_to(length, score.shape), accepted)


def _forward(
    forest: Forest, progress: Progress, total: Float[Array, "B N V"], plain: _Pool
) -> _Pool:
    """Every beam with every token that brings it forward, unless it is a plain continuation."""
    batch, count, _ = total.shape
    edges = len(forest.token)
    bank, need = _measured(forest, progress)
    inside = progress.edge >= 0
    here = jnp.where(inside, forest.need[progress.edge], 0)
    begun = jnp.where(inside, forest.longest - forest.rest[progress.edge], 0)
    behind = jnp.where(inside[:, None], here[:, None], forest.shortest[forest.owner])
    need = need[:, None] - behind + forest.need
    gain = jnp.where(forest.leaf, forest.longest, forest.longest - forest.rest)
    bank = (bank - begun)[:, None] + gain

    offered = offers(forest, progress)
    order = jnp.where(offered, progress.order[:, forest.owner], jnp.iinfo(jnp.int32).max)
    soonest = order.at[:, forest.same].min(order)[:, forest.same]
    offered &= order == soonest  # of several that begin with a token, the first follows it

    shape = (batch, count, edges)
    parent = jnp.broadcast_to(jnp.arange(count)[:, None], shape)
    token = jnp.broadcast_to(forest.token, shape).astype(plain.token.dtype)
    score = jnp.take(total, jnp.maximum(forest.token, 0), axis=2)
    twice = (plain.parent[:, None, None] == parent[..., None]) & (
        plain.token[:, None, None] == token[..., None]
    )
    real = offered.reshape(shape) & (score > NEVER / 2) & ~twice.any(axis=-1)
    fields = parent, token, score, bank, need, real
    return _Pool(*(x.reshape(batch, -1) for x in fields))


def _onward(progress: Progress, total: Float[Array, "B N V"], job: Job) -> _Pool:
    """Every beam that has all words with the best token that does not end it."""
    batch, count, vocab = total.shape
    total = jnp.where(among(job.options.eos_token_id, vocab), -jnp.inf, total)
    whole = progress.done.all(axis=1).reshape(batch, count)
    score, zeros = total.max(axis=-1), jnp.zeros((batch, count), jnp.int32)
    parent = jnp.broadcast_to(jnp.arange(count), (batch, count))
    token = total.argmax(axis=-1).astype(job.prompt.ids.dtype)
    return _Pool(parent, token, score, zeros, zeros, whole & (score > NEVER / 2))


def _interleaved(plain: _Pool, forward: _Pool) -> Int[Array, "B N"]:
    """The numbers of the continuations that run on: the best of each bank, then the second best."""
    pool = _Pool(*(jnp.concatenate(x, axis=1) for x in zip(plain, forward)))
    worth = jnp.where(pool.real, pool.bank * BANK + pool.score, -jnp.inf)
    order = jnp.argsort(-worth, axis=1)
    bank, place = pick(pool.bank, order), jnp.arange(order.shape[1])
    another = jnp.pad(bank[:, 1:] != bank[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    begin = jax.lax.cummax(jnp.where(another, place, 0), axis=1)
    within = jnp.where(pick(pool.real, order), place - begin, order.shape[1])
    return pick(order, jnp.argsort(within, axis=1))[:, : plain.score.shape[1]]


def _rescued(
    pool: _Pool, chosen: Int[Array, "B N"], finished: Hypotheses, rest: Int[Array, ""]
) -> Int[Array, "B N"]:
    """The chosen ones; where none of them can have all words within the `rest`, and no text is
    finished, with one that can."""
    able = pool.real & (pool.need <= rest)
    lost = ~pick(able, chosen).any(axis=1) & ~finished.real.any(axis=1) & able.any(axis=1)
    best = jnp.argmax(jnp.where(able, pool.score, -jnp.inf), axis=1)
    return chosen.at[:, -1].set(jnp.where(lost, best, chosen[:, -1]))
