"""Slots: rows of one cache that are filled, continued and freed each for itself, so that prompts of
any length are served together as they come (continuous batching; Yu et al. 2022, section 3).

A slot keeps its keys and values when it is freed: a prompt that begins as the text of a slot does
is read from there on (prefix reuse). The host is asked between steps, which is where texts end,
stream, and are constrained by grammars. What is written in a slot does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.generation import slot_steps as steps
from transformers_jax.generation.inputs import check_head
from transformers_jax.generation.padding import check_ids
from transformers_jax.generation.slot_steps import NUMBERS, Draw, SlotState
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.causal import as_writer
from transformers_jax.nn.param import split

CHUNKS = (16, 64, 256)
"""Prompts are read in pieces of so many tokens: one program for each."""


class Written(NamedTuple):
    """A token of a slot.

    Attributes:
        token: its id.
        log_prob: of the token, among the model's own scores.
        top: the likeliest tokens and their log-probabilities, best first, where asked for.
    """

    token: int
    log_prob: float
    top: list[tuple[int, float]]


class Slots:
    """The slots of a model, and what each holds.

        slots = Slots(model, count=4, length=512)
        slot = slots.admit([5, 17, 3])
        while slots.reading(slot):
            slots.read()
        token = slots.step()[slot].token
        slots.free(slot)

    Args:
        count: how many texts are written at once.
        length: how many tokens a text may have, its prompt included.
        cache_dtype: of keys and values, "int8" too; default that of the model.
        spare: how many of the last tokens a slot can take back where layers have windows.

    Raises:
        ValueError: a model that does not continue text, or whose cache has no rows.
    """

    def __init__(
        self, model: Model, count: int, length: int, cache_dtype: Any = None, spare: int = 0
    ):
        check_model(model, "Slots")
        check_head(model)
        _check_served(model)
        most = model.reading.positions
        if most is not None and length > most:
            raise ValueError(
                f"a slot of {length} tokens is longer than the model's {most} positions; pass "
                f"length={most} or less"
            )
        for name, value in (("count", count), ("length", length)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Slots: {name} must be a whole number, at least 1, got {value!r}")
        assert model.reading.vocabulary is not None  # of a head that scores tokens
        self.vocabulary = model.reading.vocabulary
        self.length, self.spare = length, spare
        model = as_writer(model)
        self._definition, self._params = split(model)
        options: dict[str, Any] = dict(per_row=True, spare=spare, dtype=cache_dtype)
        cache = model.begin(count, length, {}, **options)
        self.windowed = any(int(name) < length for name in cache.nodes)
        zeros = lambda *sizes: jnp.zeros((count, *sizes), jnp.int32)  # each an array of its own
        self._state = SlotState(
            cache=cache,
            ids=zeros(length),
            begin=zeros(),
            end=zeros(),
            numbers={name: jnp.zeros(count) for name in NUMBERS},
            bias=jnp.zeros((count, self.vocabulary)),
            seed=zeros(),
        )
        self._held: list[list[int]] = [[] for _ in range(count)]  # tokens whose keys are cached
        self._texts: list[list[int]] = [[] for _ in range(count)]
        self._free, self._used = list(range(count)), [0] * count
        self._biased, self._clock = [False] * count, 0

    # ------------------------------------------------------------ what is where

    @property
    def available(self) -> int:
        """How many slots are free."""
        return len(self._free)

    @property
    def busy(self) -> list[int]:
        """The slots in which texts are written or prompts read."""
        return [slot for slot in range(len(self._held)) if slot not in self._free]

    def reading(self, slot: int) -> bool:
        """Whether a part of the prompt has not been read."""
        return len(self._held[slot]) < len(self._texts[slot]) - 1

    def text(self, slot: int) -> list[int]:
        """The prompt of a slot and what was written."""
        return list(self._texts[slot])

    # ------------------------------------------------------------ texts come and go

    def admit(self, prompt: Sequence[int], draw: Draw = Draw()) -> tuple[int, int]:
        """(a free slot for this prompt, how many of its tokens need not be read, as a slot holds
        them).

        Raises:
            ValueError: an empty prompt, ids outside the vocabulary, a prompt that fills the slot,
                or a bias of tokens that there are not.
            RuntimeError: no slot is free.
        """
        ids = self.check(prompt, draw)
        if not self._free:
            raise RuntimeError("no slot is free: wait for a text to end")
        source, common = self._longest(ids)
        slot = source if source in self._free else min(self._free, key=self._used.__getitem__)
        self._free.remove(slot)
        self._clock += 1
        self._used[slot] = self._clock
        if common and slot != source:
            places = np.int32(source), np.int32(slot), np.int32(common)
            self._state = steps.copy(self._state, *places)
        self._held[slot], self._texts[slot] = ids[:common], ids
        self._biased[slot] = bool(draw.bias)
        bias = np.zeros(self.vocabulary if draw.bias else 0, np.float32)
        for token, value in draw.bias.items():
            bias[token] = value
        row = np.zeros(self.length, np.int32)
        row[: len(ids)] = ids
        numbers = {name: np.float32(getattr(draw, name)) for name in NUMBERS}
        seed = np.int32(draw.seed % 2**31)
        place = np.int32(slot), row, np.int32(len(ids)), np.int32(common)
        self._state = steps.admit(self._state, *place, numbers, bias, seed)
        return slot, common

    def check(self, prompt: Sequence[int], draw: Draw = Draw()) -> list[int]:
        """The ids of a prompt.

        Raises:
            ValueError: as `admit`.
        """
        ids = check_ids("prompt", np.atleast_2d(np.asarray(prompt)), self.vocabulary)[0].tolist()
        if len(ids) >= self.length:
            raise ValueError(
                f"the prompt has {len(ids)} tokens, and a slot holds {self.length}, the new ones "
                "included; shorten it, or make slots of a greater length"
            )
        if wrong := [t for t in draw.bias if not 0 <= t < self.vocabulary]:
            raise ValueError(
                f"bias of the token {wrong[0]}, outside the vocabulary [0, {self.vocabulary})"
            )
        return ids

    def free(self, slot: int) -> None:
        """The text of a slot has ended. Its keys stay until another text takes the slot."""
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.append(slot)

    def _longest(self, ids: list[int]) -> tuple[int, int]:
        """(the slot that holds most of the beginning of a prompt, how many tokens): all but the
        last are of use, whose scores are needed."""
        best, most = -1, 0
        for slot, held in enumerate(self._held):
            common = _common(held, ids[:-1])
            if self.windowed and len(held) - common > self.spare:
                continue  # what the window needs is overwritten
            if common > most:
                best, most = slot, common
        return best, most

    # ------------------------------------------------------------ steps

    def read(self) -> int | None:
        """Reads the next piece of a prompt, of the slot that has waited longest; which, or None if
        all have been read."""
        waiting = [slot for slot in self.busy if self.reading(slot)]
        if not waiting:
            return None
        slot = min(waiting, key=self._used.__getitem__)
        held = len(self._held[slot])
        rest = self._texts[slot][held:-1]
        size = next((size for size in CHUNKS if size >= len(rest)), CHUNKS[-1])
        piece = rest[:size]
        ids = np.zeros((1, size), np.int32)
        ids[0, : len(piece)] = piece
        self._state = steps.read(
            self._definition, self._params, self._state, np.int32(slot), ids, np.int32(len(piece))
        )
        self._held[slot] = self._texts[slot][: held + len(piece)]
        return slot

    def step(
        self, masks: Mapping[int, np.ndarray] | None = None, top: bool = False
    ) -> dict[int, Written]:
        """Writes one token in every slot whose prompt has been read.

        Args:
            masks: the tokens that may come next in a slot, as bits of UInt32[ceil(V / 32)].
            top: whether the likeliest tokens are told.
        """
        ready = [slot for slot in self.busy if not self.reading(slot)]
        if not ready:
            return {}
        if full := [slot for slot in ready if len(self._texts[slot]) >= self.length]:
            raise ValueError(f"the slots {full} are full: free them")
        active = np.zeros(len(self._held), bool)
        active[ready] = True
        allowed = None
        if masks:
            words = -(-self.vocabulary // 32)
            allowed = np.full((len(self._held), words), 0xFFFFFFFF, np.uint32)
            for slot, mask in masks.items():
                allowed[slot] = mask[:words]
        biased = any(self._biased[slot] for slot in ready)
        self._state, made = steps.step(
            self._definition, self._params, self._state, active, allowed, biased, top
        )
        tokens, log_probs, best, best_log_probs = map(np.asarray, made)
        written = {}
        for slot in ready:
            self._held[slot] = self._texts[slot]
            self._texts[slot] = [*self._texts[slot], int(tokens[slot])]
            pairs = list(zip(best[slot].tolist(), best_log_probs[slot].tolist())) if top else []
            written[slot] = Written(int(tokens[slot]), float(log_probs[slot]), pairs)
        return written


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    most = min(len(a), len(b))
    differ = np.flatnonzero(np.asarray(a[:most]) != np.asarray(b[:most]))
    return int(differ[0]) if len(differ) else most


def _check_served(model: Model) -> None:
    reading = model.reading
    why = None
    if model.is_encoder_decoder:
        why = "is an encoder-decoder, whose sources have caches of several widths"
    elif reading.looks_ahead:
        why = "reads a prompt in both directions, in one piece"
    elif reading.by_length:
        why = "rotates tokens by how many the longest text of a batch has"
    elif reading.virtual or not reading.rewinds:
        why = "keeps a cache of which no tokens can be taken back"
    if why:
        raise ValueError(
            f"slots continue the texts of decoders, and this {model.config.model_type} {why}; use "
            "tj.generate"
        )
