"""What slots compute on the devices: prompts that are read, tokens that are chosen."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, Int, Params, top_k
from transformers_jax.generation import rows
from transformers_jax.generation.processors.cutoffs import HEAD
from transformers_jax.graph import TEXT_POSITION
from transformers_jax.models.reading import Columns
from transformers_jax.nn.param import merge

MOST_TOP = 20
"""The alternatives that are told of a token, as in OpenAI's API."""


@dataclass(frozen=True)
class Draw:
    """How the tokens of one text are chosen.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: how many tokens may be drawn; 0: all.
        top_p: the least probability that they have together.
        min_p: the least probability of one, as a share of that of the likeliest.
        repetition_penalty: divides (or multiplies negative) scores of tokens of the text.
        presence_penalty: is taken off the scores of tokens that were written.
        frequency_penalty: the same, for each time that they were.
        bias: is added to the scores of tokens, by their ids.
        seed: the same seed draws the same text, whatever else is served.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        for name, holds, expected in (
            ("temperature", lambda x: 0 <= x <= 100, "in [0, 100]"),
            ("top_k", lambda x: 0 <= x < 2**31 and x == int(x), "a whole number (0: off)"),
            ("top_p", lambda x: 0 < x <= 1, "in (0, 1]"),
            ("min_p", lambda x: 0 <= x <= 1, "in [0, 1]"),
            ("repetition_penalty", lambda x: 0 < x <= 100, "in (0, 100]"),
            ("presence_penalty", lambda x: -2 <= x <= 2, "in [-2, 2]"),
            ("frequency_penalty", lambda x: -2 <= x <= 2, "in [-2, 2]"),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not holds(value):
                raise ValueError(f"{name} must be {expected}, got {value!r}")


NUMBERS = tuple(name for name in Draw.__dataclass_fields__ if name not in ("bias", "seed"))


class SlotState(NamedTuple):
    """The slots of a model, on its devices. N slots of W tokens."""

    cache: Any
    ids: Int[Array, "N W"]
    begin: Int[Array, " N"]
    end: Int[Array, " N"]
    numbers: dict[str, Float[Array, " N"]]
    bias: Float[Array, "N V"]
    seed: Int[Array, " N"]


@functools.partial(jax.jit, donate_argnums=0)
def admit(state: SlotState, slot, row, length, common, numbers, bias, seed) -> SlotState:
    """A prompt in a slot, of whose cache the first `common` tokens stay."""
    count = state.cache.length
    held = jnp.where(jnp.arange(len(count)) == slot, common, count)
    if bias.shape[0]:
        state = state._replace(bias=state.bias.at[slot].set(bias))
    else:
        state = state._replace(bias=state.bias.at[slot].set(0))
    return state._replace(
        cache=state.cache.rewind(held),
        ids=state.ids.at[slot].set(row),
        begin=state.begin.at[slot].set(length),
        end=state.end.at[slot].set(length),
        numbers={name: x.at[slot].set(numbers[name]) for name, x in state.numbers.items()},
        seed=state.seed.at[slot].set(seed),
    )


@functools.partial(jax.jit, donate_argnums=0)
def copy(state: SlotState, source, slot, length) -> SlotState:
    """The first `length` tokens of one slot's cache in another."""
    row = state.cache.gather(source[None]).rewind(length[None])
    return state._replace(cache=state.cache.put(slot[None], row))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def read(definition: Any, params: Params, state: SlotState, slot, ids, count) -> SlotState:
    """The next `count` tokens of a prompt, of `ids`, in a slot's cache."""
    model = merge(definition, params)
    row = state.cache.gather(slot[None])
    number = jnp.arange(ids.shape[1])[None]
    valid = number < count
    column = jnp.where(valid, row.length[:, None] + number, 0)
    _, row = model.advance(ids, _columns(model, valid, column), row)
    return state._replace(cache=state.cache.put(slot[None], row))


def _columns(model: Any, valid: Bool[Array, "B T"], column: Int[Array, "B T"]) -> Columns:
    tags = {}
    if any(TEXT_POSITION in mask.tags for mask in model.reading.masks):
        tags = {TEXT_POSITION: column}
    return Columns(valid, column, column, tags)


@functools.partial(jax.jit, static_argnums=(0, 5, 6), donate_argnums=2)
def step(
    definition: Any,
    params: Params,
    state: SlotState,
    active: Bool[Array, " N"],
    allowed: Int[Array, "N words"] | None,
    biased: bool,
    top: bool,
) -> tuple[SlotState, tuple[Array, Array, Array, Array]]:
    """(the slots with one token more where `active`, what was written)."""
    model = merge(definition, params)
    last = state.end - 1
    column = jnp.where(active, last, 0)[:, None]
    ids = rows.take(state.ids, column)
    logits, cache = model.advance(ids, _columns(model, active[:, None], column), state.cache)
    logits = logits[:, 0].astype(jnp.float32)
    scores = penalised(logits, state, biased)
    if allowed is not None:
        scores = jnp.where(_bits(allowed, scores.shape[1]), scores, MASKED)
    token = draw(scores, state)
    likely = jax.nn.log_softmax(logits, axis=-1)
    log_prob = jnp.take_along_axis(likely, token[:, None], axis=1)[:, 0]
    best = top_k(likely, min(MOST_TOP, likely.shape[1])) if top else (likely[:, :0],) * 2
    kept = jnp.where(active, state.end, state.ids.shape[1])  # behind the last column: dropped
    ids = rows.put(state.ids, kept, token[:, None])
    state = state._replace(cache=cache, ids=ids, end=state.end + active)
    return state, (token, log_prob, best[1], best[0])


def penalised(scores: Float[Array, "N V"], state: SlotState, biased: bool) -> Float[Array, "N V"]:
    """The scores with bias and penalties."""
    (count, vocabulary), numbers = scores.shape, state.numbers
    of = lambda name: numbers[name][:, None]
    if biased:
        scores = scores + state.bias

    def penalise(scores):
        column = jnp.arange(state.ids.shape[1])
        row = jnp.arange(count)[:, None]
        times = lambda kept: (
            jnp.zeros((count, vocabulary), jnp.int32).at[row, state.ids].add(kept.astype(jnp.int32))
        )
        text = column < state.end[:, None]
        new = times(text & (column >= state.begin[:, None]))
        scores -= of("presence_penalty") * (new > 0) + of("frequency_penalty") * new
        penalty = of("repetition_penalty")
        repeated = jnp.where(scores < 0, scores * penalty, scores / penalty)
        return jnp.where(times(text) > 0, repeated, scores)

    needed = (numbers["presence_penalty"] != 0) | (numbers["frequency_penalty"] != 0)
    needed |= (numbers["repetition_penalty"] != 1) & (numbers["repetition_penalty"] != 0)
    return jax.lax.cond(needed.any(), penalise, lambda scores: scores, scores)


def draw(scores: Float[Array, "N V"], state: SlotState) -> Int[Array, " N"]:
    """The likeliest token of each slot, or one that is drawn."""
    numbers = state.numbers
    temperature = numbers["temperature"][:, None]

    def drawn(scores):
        scores = scores / jnp.where(temperature > 0, temperature, 1)
        limited = (numbers["top_k"] > 0) | (numbers["top_p"] < 1) | (numbers["min_p"] > 0)
        scores = jax.lax.cond(limited.any(), lambda x: cut(x, numbers), lambda x: x, scores)

        def one(scores, seed, number):
            key = jax.random.fold_in(jax.random.key(seed), number)
            return jax.random.categorical(key, scores)

        return jax.vmap(one)(scores, state.seed, state.end - state.begin)

    best = jnp.argmax(scores, axis=-1)
    sampled = (numbers["temperature"] > 0).any()
    token = jax.lax.cond(sampled, drawn, lambda _: best, scores)
    return jnp.where(temperature[:, 0] > 0, token, best).astype(jnp.int32)


def cut(scores: Float[Array, "N V"], numbers: dict[str, Array]) -> Float[Array, "N V"]:
    """The scores without those that top_k, top_p and min_p leave out, in this order."""
    count, top_p, min_p = (numbers[name][:, None] for name in ("top_k", "top_p", "min_p"))
    whole = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    cuts = (count > 0) | (top_p < 1) | (min_p > 0)

    def least(best: Float[Array, "N C"]) -> tuple[Float[Array, "N 1"], Bool[Array, ""]]:
        """The least score of each row that is kept, from the best ones, and whether no other can
        be it."""
        ordered = jnp.where((count > 0) & (jnp.arange(best.shape[1]) >= count), MASKED, best)
        few = jax.nn.logsumexp(ordered, axis=-1, keepdims=True)
        chance = jnp.exp(ordered - jnp.where(count > 0, few, whole))
        kept = jnp.cumsum(chance, axis=-1) - chance < top_p
        kept &= chance >= min_p * chance[:, :1]
        kept &= ordered > MASKED
        known = ~cuts | (~kept[:, -1:] & (count <= best.shape[1]))
        last = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
        return jnp.where(cuts, last, -jnp.inf), known.all()

    last, known = least(top_k(scores, min(HEAD, scores.shape[1]))[0])
    if scores.shape[1] > HEAD:
        in_order = lambda: least(jnp.sort(scores, axis=-1, descending=True))[0]
        last = jax.lax.cond(known, lambda: last, in_order)
    return jnp.where(scores >= last, scores, MASKED)


def _bits(words: Int[Array, "N words"], count: int) -> Bool[Array, "N V"]:
    """The bits of words, the lowest first."""
    bits = (words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return bits.reshape(len(words), -1)[:, :count] > 0
