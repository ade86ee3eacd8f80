"""Texts of a grammar: the loop asks the host which tokens may come next."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, UInt32, is_traced
from transformers_jax.generation.grammar import Grammar, GrammarState, packed
from transformers_jax.generation.options import Options
from transformers_jax.generation.processors.record import Processor, allow, record, static
from transformers_jax.generation.text import Text
from transformers_jax.processes import on_host

log = logging.getLogger(__name__)

FEW = 1000
CUT = -1e25
"""Added to the scores of a beam that is cut: below those of unused beams (`beam.NEVER`), above
those of banned tokens."""


class Run:
    """The host's side of one call: how far each row has come.

    A state is found by the text of its row, so that beams may change their places: the state of a
    text is a copy of that of the text without its last token.

    Attributes:
        number: by which a compiled program names it, so that one program serves all grammars.
        pad: what fills rows that have ended.
        first: a token that is forced in front of the text and no part of it (a language), or -1.
        limit: the most new tokens of beams, of which those that are whole win; None of one text.
    """

    def __init__(
        self, grammar: Grammar, pad: int, first: int = -1, limit: int | None = None
    ) -> None:
        self.grammar, self.pad, self.first, self.limit = grammar, pad, first, limit
        self.number = next(_NUMBERS)
        self._lock = threading.Lock()
        self._states: dict[bytes, GrammarState | None] = {}
        self._stuck: dict[bytes, str] = {}
        _RUNS[self.number] = self

    def masks(
        self, ids: Int[np.ndarray, "R N"]
    ) -> tuple[UInt32[np.ndarray, "R words"], Bool[np.ndarray, " R"]]:
        """The tokens that may follow the new tokens of each row, and the beams that are cut."""
        words, cut = np.tile(self.grammar.last, (len(ids), 1)), np.zeros(len(ids), bool)
        if self.first >= 0 and not ids.shape[1]:  # the forced token's own processor bans all others
            return ~np.zeros_like(words), cut
        at_end = self.limit is not None and ids.shape[1] + 1 >= self.limit
        with self._lock:
            states: dict[bytes, GrammarState | None] = {}
            for row, tokens in enumerate(self._texts(ids)):
                key = tokens.tobytes()
                state = states.get(key) or self._state(key, tokens)
                states[key] = state
                whole = at_end and state is not None and state.complete
                if state is not None and not whole:
                    self._mask(key, state, words[row])
                if at_end and not whole:
                    cut[row] = state is None or not _end_with(state, words[row])
            self._states = states
        return words, cut

    def complete(self, ids: Int[np.ndarray, "R N"]) -> Bool[np.ndarray, " R"]:
        """Which rows are texts of the grammar.

        Raises:
            ValueError: a row could not go on.
        """
        made = np.zeros(len(ids), bool)
        for row, tokens in enumerate(self._texts(ids)):
            ended = len(tokens) > 0 and tokens[-1] in self.grammar.ends
            text = tokens[: len(tokens) - ended]
            if (reason := self._stuck.get(text.tobytes())) is not None:
                raise ValueError(f"{reason}; row {row}, after {self.grammar.decode(text)!r}")
            filled = len(text) - int((text[::-1] != self.pad).argmax()) if len(text) else 0
            states = self._replay(tokens), self._replay(text[:filled])
            made[row] = any(state is not None and state.complete for state in states)
        return made

    def _texts(self, ids: Int[np.ndarray, "R N"]) -> list[Int[np.ndarray, " n"]]:
        """The new tokens of each row up to its first end, which is there."""
        if self.first >= 0:
            ids = ids[:, 1:]
        ended = (ids[:, :, None] == np.array(self.grammar.ends)).any(2)
        return [row[: end.argmax() + 1] if end.any() else row for row, end in zip(ids, ended)]

    def _state(self, key: bytes, tokens: Int[np.ndarray, " n"]) -> GrammarState | None:
        """The state of a text; None where it is none of the grammar's, as that of a beam that only
        fills a place."""
        if key in self._states:
            return self._states[key]
        before = tokens[:-1].tobytes()
        if not len(tokens) or before not in self._states:
            return self._replay(tokens)
        state = self._states[before]
        return state and _gone_on(state.copy(), tokens[-1:])

    def _replay(self, tokens: Int[np.ndarray, " n"]) -> GrammarState | None:
        return _gone_on(self.grammar.start(), tokens)

    def _mask(self, key: bytes, state: GrammarState, words: Any) -> None:
        """Writes what may follow a state; what cannot go on ends."""
        try:
            words[:] = state.mask()
        except ValueError as error:
            self._stuck[key] = str(error)


def _gone_on(state: GrammarState, tokens: Int[np.ndarray, " n"]) -> GrammarState | None:
    try:
        for token in tokens:
            state.consume(token)
    except ValueError:
        return None
    return state


def _end_with(state: GrammarState, words: UInt32[np.ndarray, " words"]) -> bool:
    """Whether a text can be made whole by one token, of few; then no other is left."""
    tokens = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
    tokens = tokens if len(tokens) <= FEW else tokens[:0]
    whole = [t for t in tokens if (gone := _gone_on(state.copy(), t[None])) and gone.complete]
    if whole:
        words[:] = packed(whole, len(words))
    return bool(whole)


_NUMBERS = itertools.count()
_RUNS: weakref.WeakValueDictionary[int, Run] = weakref.WeakValueDictionary()
_KEPT: list[Run] = []
"""Those that compiled programs of the caller's name, which may run at any time."""


@record
class GrammarLogitsProcessor(Processor):
    """Only the tokens with which the text stays one of a grammar.

    Attributes:
        number: of the `Run`.
        num_beams: how many rows a prompt has.
    """

    number: Any
    num_beams: int = static()

    def of_row(self, row: Int[Array, ""], count: int) -> Processor:
        raise ValueError(
            "grammar and json_schema ask the host after each token of whole batches: they do not "
            "go with assisted decoding; leave assistant_model and the like out"
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        rows, size = scores.shape
        words = jax.ShapeDtypeStruct((rows, -(-size // 32)), jnp.uint32)
        shapes = words, jax.ShapeDtypeStruct((rows,), bool)
        given = self.number, text.ids, jnp.int32(text.begin), text.end
        words, cut = jax.pure_callback(_masks, shapes, *given, vmap_method="sequential")
        scores = jnp.where(cut[:, None], jnp.minimum(scores, 0) + CUT, scores)
        bits = words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32) & 1
        allowed = bits.reshape(rows, -1)[:, :size].astype(bool)
        return allow(allowed, scores, self.num_beams)


def _masks(number: Any, ids: Any, begin: Any, end: Any) -> tuple[np.ndarray, np.ndarray]:
    return _RUNS[int(number)].masks(np.asarray(ids)[:, int(begin) : int(end)])


def run_of(grammar: Grammar | None, options: Options, columns: int, new: int) -> Run | None:
    """The host's side of a call with these options, whose prompt has so many columns, and which
    writes so many tokens at most."""
    if grammar is None:
        return None
    forced = options.forced_bos_token_id  # it comes behind a prompt of one token alone
    first = -1 if forced is None or columns > 1 else forced
    limit = new if options.num_beams > 1 else None
    return Run(grammar, options.pad_token_id or 0, first, limit)


def completion(run: Run | None, ids: Int[Array | np.ndarray, "R N"]) -> dict[str, Any]:
    """{"complete": Bool[R]}: which rows of new tokens are texts of the grammar. One warning names
    the others, unless a program of the caller's is being compiled.

    Raises:
        ValueError: a row could not go on.
    """
    if run is None:
        return {}
    if is_traced(ids):
        _KEPT.append(run)  # the program names it by its number
        shape = jax.ShapeDtypeStruct(ids.shape[:1], bool)
        host = lambda ids: run.complete(np.asarray(ids))
        return {"complete": jax.pure_callback(host, shape, ids, vmap_method="sequential")}
    made = run.complete(on_host(ids))
    if not made.all():
        log.warning(
            "%s: the text was cut before it was whole in row(s) %s; pass a larger max_new_tokens, "
            "or bounds (maxLength, maxItems, {0,20}) in the grammar",
            run.grammar.name,
            ", ".join(map(str, np.flatnonzero(~made))),
        )
    return {"complete": jnp.asarray(made)}
