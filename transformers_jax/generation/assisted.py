"""Assisted decoding: several tokens are drafted cheaply and read by the model at once; those that
it would have written itself are accepted. The text is the model's own: token for token where the
best one is taken, and in distribution where tokens are drawn.

Source: Leviathan et al. 2022, algorithm 1; Chen et al. 2023, algorithm 2. Drafts come from a
smaller model, from the model's own first layers, or from what the text says elsewhere (prompt
look-up).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.generation import rows
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.search import log_probs, loop
from transformers_jax.generation.text import Text


class Draft(NamedTuple):
    """What was drafted for each row.

    Attributes:
        ids: the tokens.
        offered: how many of them.
        scores: processed, of the distributions that they were drawn from; None where a draft is
            certain of them.
    """

    ids: Int[Array, "R G"]
    offered: Int[Array, " R"]
    scores: Float[Array, "R G V"] | None = None


class _State(NamedTuple):
    text: Text
    ended: Bool[Array, " R"]
    step: Int[Array, ""]
    cache: Any
    drafting: Any
    accepted: Int[Array, " R"]
    drafted: Int[Array, " R"]
    scores: Float[Array, "width R V"] | None
    log_probs: Float[Array, "width R"] | None


# ---------------------------------------------------------------- drafts


class DraftModel:
    """A smaller model drafts, token by token; it reads what was accepted with its next draft."""

    def __init__(self, model: Any, job: Job, threshold: float):
        self.model, self.job, self.threshold = model, job, threshold

    def begin(self, text: Text, copies: int, size: int) -> Any:
        """Its cache after the prompts, without their last tokens."""
        return rows.prefill(self.model, self.job, text, copies, size + 1)[1]

    def draft(
        self, text: Text, most: Int[Array, " R"], size: int, cache: Any, key: Key | None
    ) -> tuple[Draft, Any]:
        """Up to `size` tokens, of each row at most as many as `most` says, and the cache."""
        job, threshold = self.job, self.threshold

        def choose(text: Text, logits: Array, number: Array | int) -> tuple[Array, Array, Array]:
            scores = rows.process_rows(job.processors, text, logits.astype(jnp.float32))
            if key is None:
                token = jnp.argmax(scores, axis=-1)
            else:
                token = jax.random.categorical(jax.random.fold_in(key, number), scores)
            chance = jax.nn.softmax(scores, axis=-1)
            sure = jnp.take_along_axis(chance, token[:, None], axis=1)[:, 0] >= threshold
            return token.astype(text.ids.dtype), scores, sure

        # one token that it has not read, or two, where all of its last draft was accepted
        unread = text.end - cache.length
        valid = (jnp.arange(2) < unread[:, None]) & (most > 0)[:, None]
        logits, cache = rows.advance(self.model, text, cache.length, valid, cache)
        token, scores, sure = choose(text, rows.take(logits, unread[:, None] - 1)[:, 0], 0)
        ids = jnp.zeros((len(token), size), token.dtype).at[:, 0].set(token)
        every = jnp.zeros((len(token), size, scores.shape[-1]), jnp.float32).at[:, 0].set(scores)

        def step(state):
            number, ids, every, sure, count, cache = state
            written = text._replace(ids=rows.put(text.ids, text.end, ids), end=text.end + number)
            on = sure & (count == number) & (number < most)
            logits, cache = rows.advance(self.model, written, written.end - 1, on[:, None], cache)
            token, scores, own = choose(written, logits[:, 0], number)
            ids = ids.at[:, number].set(token)
            every = every.at[:, number].set(scores)
            return number + 1, ids, every, own, count + on, cache

        def going(state):
            number, _, _, sure, count, _ = state
            return (number < size) & (sure & (count == number) & (number < most)).any()

        count = jnp.minimum(most, 1)
        state = (jnp.int32(1), ids, every, sure, count, cache)
        _, ids, every, _, count, cache = loop(self.model, going, step, state)
        return Draft(ids, count, None if key is None else every), cache


class LookUp:
    """What followed, elsewhere in the text, the last tokens of the row (prompt look-up decoding,
    Saxena 2023): the longest n-gram, and of its occurrences the latest."""

    def __init__(self, longest: int):
        self.longest = longest

    def begin(self, text: Text, copies: int, size: int) -> None:
        """Nothing is kept: the text is all that is read."""

    def draft(
        self, text: Text, most: Int[Array, " R"], size: int, state: None, key: Key | None
    ) -> tuple[Draft, None]:
        """Up to `size` tokens of each row, none where no n-gram occurs twice."""

        def one(ids: Int[Array, " W"], end: Int[Array, ""]) -> tuple[Array, Array]:
            width = ids.shape[0]
            place = jnp.arange(width)  # of the token after an occurrence
            alike, after = jnp.ones(width, bool), jnp.int32(0)
            for back in range(1, min(self.longest, width - 1) + 1):
                alike &= jnp.roll(ids, back) == ids[end - back]
                alike &= (place >= back) & (place < end) & (end > back)
                after = jnp.where(alike.any(), jnp.where(alike, place, 0).max(), after)
            taken = jnp.take(ids, after + jnp.arange(size), mode="clip")
            return taken, jnp.where(after > 0, jnp.minimum(end - after, size), 0)

        ids, count = jax.vmap(one)(text.ids, text.end)
        return Draft(ids, jnp.minimum(count, most)), None


# ---------------------------------------------------------------- the loop


def assisted_search(model: Any, job: Job, drafter: DraftModel | LookUp, size: int) -> Result:
    """Greedy search or sampling with drafts of up to `size` tokens.

    Each row accepts as many as it can; those that have less wait for no other. `accepted` and
    `drafted` of the result count the drafted tokens of each row.
    """
    job, copies, sampled = job.begun(), job.options.num_return_sequences, job.key is not None
    whole = job.begin_text(copies)
    text = rows.rows_of(whole)
    first, cache = rows.prefill(model, job, text, copies, size + 1)
    count = text.ids.shape[0]
    zeros = jnp.zeros(count, jnp.int32)
    scores = likely = None
    if job.with_scores:
        shape = job.width - whole.begin, count, model.reading.vocabulary
        scores = jnp.zeros(shape, jnp.float32)
    if job.with_log_probs:
        likely = jnp.zeros((job.width - whole.begin, count), jnp.float32)
    empty = text.end < 1  # a row without text stays so
    drafting = drafter.begin(text, copies, size)
    state = _State(text, empty, jnp.int32(0), cache, drafting, zeros, zeros, scores, likely)

    def step(state: _State) -> _State:
        text = state.text
        key = job.step_key(state.step) if sampled else None
        draft_key = None if key is None else jax.random.fold_in(key, 0)
        room = job.limit - text.new - 1  # the model itself writes one more
        most = jnp.where(state.ended, 0, jnp.minimum(room, size))
        draft, drafting = drafter.draft(text, most, size, state.drafting, draft_key)
        text = text._replace(ids=rows.put(text.ids, text.end, draft.ids))
        valid = (jnp.arange(size + 1) <= draft.offered[:, None]) & ~state.ended[:, None]
        logits, cache = rows.advance(model, text, text.end - 1, valid, state.cache)
        processed = _process(job, text, logits.astype(jnp.float32))
        if key is None:
            chosen, accepted = _accept_best(processed, draft)
        else:
            chosen, accepted = _accept_drawn(processed, draft, jax.random.fold_in(key, 1))
        state = _write(job, state._replace(text=text, cache=cache), chosen, accepted, processed)
        length = state.text.end - 1
        if drafting is not None:
            drafting = drafting.rewind(jnp.where(state.ended, drafting.length, length))
        cache = cache.rewind(jnp.where(state.ended, cache.length, length))
        drafted = state.drafted + draft.offered
        return state._replace(cache=cache, drafting=drafting, drafted=drafted, step=state.step + 1)

    if first is not None:  # a prompt that was read whole, its last token as well
        processed = _process(job, text, first[:, None])
        chosen = _best(processed) if not sampled else _draw(job.step_key(jnp.int32(-1)), processed)
        state = _write(job, state, chosen, zeros, processed)
    state = loop(model, lambda state: ~state.ended.all(), step, state)
    return Result(
        rows.in_columns(state.text, whole.start),
        state.text.new.max(),
        state.text.new,
        scores=state.scores,
        log_probs=state.log_probs,
        accepted=state.accepted,
        drafted=state.drafted,
    )


def _process(job: Job, text: Text, logits: Float[Array, "R C V"]) -> Float[Array, "R C V"]:
    """The processed scores of the token behind the text, and behind each of its next tokens, which
    stand in it already."""
    behind = lambda number: text._replace(end=text.end + number)
    one = lambda number, own: rows.process_rows(job.processors, behind(number), own)
    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(jnp.arange(logits.shape[1]), logits)


def _best(scores: Float[Array, "... V"]) -> Int[Array, "..."]:
    return jnp.argmax(scores, axis=-1).astype(jnp.int32)


def _draw(key: Key, scores: Float[Array, "... V"]) -> Int[Array, "..."]:
    return jax.random.categorical(key, scores).astype(jnp.int32)


def _leading(agree: Bool[Array, "R G"], count: Int[Array, " R"]) -> Int[Array, " R"]:
    """How many of the first `count` agree before one does not."""
    offered = jnp.arange(agree.shape[1]) < count[:, None]
    return jnp.cumprod(agree & offered, axis=1).sum(axis=1).astype(jnp.int32)


def _accept_best(scores: Float[Array, "R C V"], draft: Draft) -> tuple[Array, Array]:
    """(the best tokens, how many of the draft are among them)."""
    best = _best(scores)
    return best, _leading(best[:, :-1] == draft.ids, draft.offered)


def _accept_drawn(scores: Float[Array, "R C V"], draft: Draft, key: Key) -> tuple[Array, Array]:
    """(tokens, how many of them were drafted): each draft is accepted with the probability
    min(1, p / q), and behind the last a token is drawn of what p has more than q."""
    size, (accept_key, draw_key) = draft.ids.shape[1], jax.random.split(key)
    p = jax.nn.softmax(scores, axis=-1)
    if draft.scores is None:
        q: Any = jax.nn.one_hot(draft.ids, p.shape[-1])
    else:
        q = jax.nn.softmax(draft.scores, axis=-1)
    of = lambda x: jnp.take_along_axis(x, draft.ids[..., None], axis=-1)[..., 0]
    uniform = jax.random.uniform(accept_key, draft.ids.shape)
    accepted = _leading(uniform * of(q) < of(p[:, :size]), draft.offered)
    # where nothing was offered, or all was accepted, nothing is taken off p
    q = jnp.pad(q, ((0, 0), (0, 1), (0, 0)))
    at = lambda x: rows.take(x, accepted[:, None])[:, 0]
    rest = jnp.where((accepted < draft.offered)[:, None], jnp.maximum(at(p) - at(q), 0.0), at(p))
    rest = jnp.where(rest.sum(-1, keepdims=True) > 0, rest, at(p))  # p = q, but for rounding
    rest = jnp.where(jnp.isnan(at(scores)), jnp.nan, rest)
    token = _draw(draw_key, jnp.log(rest))
    place = jnp.arange(size + 1)
    ids = jnp.pad(draft.ids, ((0, 0), (0, 1)))
    return jnp.where(place == accepted[:, None], token[:, None], ids), accepted


def _write(
    job: Job,
    state: _State,
    chosen: Int[Array, "R C"],
    accepted: Int[Array, " R"],
    scores: Float[Array, "R C V"],
) -> _State:
    """The state with the accepted tokens of each row and one more, up to its end."""
    text, place = state.text, jnp.arange(chosen.shape[1])
    likely = jnp.take_along_axis(scores, chosen[..., None], axis=-1)[..., 0]
    broken = jnp.isnan(likely)  # of ids out of range: what follows is no text
    chosen = jnp.where(broken, job.pad, chosen).astype(text.ids.dtype)
    written = text._replace(ids=rows.put(text.ids, text.end, chosen))
    stops = jax.vmap(lambda number: _stops(job, written, number), out_axes=1)(place)
    stops |= broken
    count = jnp.minimum(accepted + 1, jnp.argmax(stops, axis=1) + 1)
    count = jnp.where(stops.any(axis=1), count, accepted + 1)
    count = jnp.minimum(count, job.limit - text.new)
    count = jnp.where(state.ended, 0, count).astype(jnp.int32)
    new, row = text.new[:, None] + place, jnp.arange(len(count))[:, None]
    kept = place < count[:, None]
    end = text.end + count
    ids = jnp.where(jnp.arange(text.ids.shape[1]) < end[:, None], written.ids, job.pad)
    ended = state.ended | (stops & kept).any(axis=1) | (end - text.begin >= job.limit)

    def recorded(buffer: Array | None, values: Array) -> Array | None:
        if buffer is None:
            return None
        return buffer.at[jnp.where(kept, new, len(buffer)), row].set(values, mode="drop")

    likely = log_probs(job, scores, chosen) if job.with_log_probs else likely
    return state._replace(
        text=text._replace(ids=ids, end=end),
        ended=ended,
        accepted=state.accepted + jnp.minimum(accepted, count),
        scores=recorded(state.scores, scores),
        log_probs=recorded(state.log_probs, likely),
    )


def _stops(job: Job, text: Text, number: Int[Array, ""]) -> Bool[Array, " R"]:
    """Whether each row ends with the token `number` behind its end."""
    longer = text._replace(end=text.end + number + 1)
    one = lambda row: job.stops(rows.of_row(longer, row))[0]
    return jax.vmap(one)(jnp.arange(text.ids.shape[0]))
