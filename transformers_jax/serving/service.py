"""Requests in the slots of a model, served by a thread of its own."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers_jax.generation.pieces import Pieces, Stops
from transformers_jax.generation.slot_steps import Draw
from transformers_jax.generation.slots import Slots, Written
from transformers_jax.generation.texts import ends_of, ids_of
from transformers_jax.models.base import Model


@dataclass(frozen=True)
class Request:
    """A text to be written.

    Attributes:
        prompt: its tokens.
        most: how many new tokens at most.
        draw: how they are chosen.
        stop: strings before which the text ends.
        top: how many alternatives are told of each token.
        special: whether special tokens are part of the text.
        grammar: a state that says which tokens may come next (`mask`, `consume`, `done`).
    """

    prompt: Sequence[int]
    most: int
    draw: Draw = Draw()
    stop: tuple[str, ...] = ()
    top: int = 0
    special: bool = False
    grammar: Any = None


@dataclass(frozen=True)
class Piece:
    """What became of a request with one token.

    Attributes:
        text: that it completes; empty where a character or a stop string may still be open.
        written: the token; None where the end is told alone.
        finish: "stop" behind the last piece where the text ended by itself or at a stop string,
            "length" where it has as many tokens as asked for or fit.
        reused: how many tokens of the prompt did not have to be read.
    """

    text: str
    written: Written | None = None
    finish: Literal["stop", "length"] | None = None
    reused: int = 0


@dataclass
class Ticket:
    """A request that waits or is served. `cancel` frees what it takes."""

    request: Request
    tell: Callable[[Piece | Exception], None]
    cancelled: bool = False
    slot: int = -1
    reused: int = 0
    count: int = 0
    pieces: Any = None
    stops: Stops = field(default_factory=lambda: Stops(()))

    def cancel(self) -> None:
        """The text is not wanted any more."""
        self.cancelled = True


class Service:
    """Serves the requests of a model in its slots, in the order in which they came.

    Each step writes one token in every slot; between two steps a piece of one prompt is read, so
    that long prompts hold up no text. `with Service(...) as service:` starts the thread, and ends
    it.

    Args:
        tokenizer: of the model, which turns tokens into text.
        slots: how many texts are written at once; more requests wait.
        length: how many tokens a text may have, its prompt included.
        ends: the tokens that end a text; default those of the model.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Any,
        slots: int = 4,
        length: int = 2048,
        cache_dtype: Any = None,
        ends: Sequence[int] | None = None,
    ):
        positions = model.reading.positions
        self.length = length if positions is None else min(length, positions)
        self.slots = Slots(model, slots, self.length, cache_dtype)
        self.model, self.tokenizer = model, tokenizer
        self.ends = frozenset(ends_of(model) if ends is None else ends)
        self.error: Exception | None = None
        self._waiting: collections.deque[Ticket] = collections.deque()
        self._serving: dict[int, Ticket] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name="transformers-jax serve", daemon=True
        )

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def submit(self, request: Request, tell: Callable[[Piece | Exception], None]) -> Ticket:
        """Puts a request in line. `tell` is called with each piece, from the thread of the service;
        with an error, where the text cannot be written.

        Raises:
            ValueError: a prompt that leaves no room for a token, or with ids that there are not.
            RuntimeError: the service has failed or is closed.
        """
        self.slots.check(request.prompt, request.draw)
        ticket = Ticket(request, tell)
        ticket.pieces = Pieces(self.tokenizer, request.prompt, request.special)
        ticket.stops = Stops(request.stop)
        with self._changed:
            if self.error is not None or self._closed:
                raise RuntimeError(f"the service has stopped: {self.error or 'it was closed'}")
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt, as the model reads them."""
        return ids_of(self.model, self.tokenizer, text)

    def grammar(self, kind: str, text: Any) -> Any:
        """The state of a constraint: "json_schema" or "grammar".

        Raises:
            ValueError: a schema or grammar that is none, or the extra `grammar` is missing.
        """
        from transformers_jax.generation.grammar import Grammar

        return Grammar(self.tokenizer, self.slots.vocabulary, self.ends, **{kind: text}).start()

    def write(self, request: Request) -> list[Piece]:
        """The pieces of a text, when all are there.

        Raises:
            ValueError, RuntimeError: as `submit`, and where the service fails.
        """
        pieces: queue.SimpleQueue[Piece | Exception] = queue.SimpleQueue()
        self.submit(request, pieces.put)
        made: list[Piece] = []
        while not made or made[-1].finish is None:
            piece = pieces.get()
            if isinstance(piece, Exception):
                raise RuntimeError(f"the text could not be written: {piece}") from piece
            made.append(piece)
        return made

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._serving or self._closed)
                    if self._closed:
                        break
                self._turn()
        except Exception as error:  # told to everyone who waits, and by /health
            with self._changed:  # nobody is put in line behind it
                self.error = error
        for ticket in (*self._serving.values(), *self._waiting):
            ticket.tell(self.error or RuntimeError("the service was closed"))

    def _turn(self) -> None:
        """Texts come and go; a piece of a prompt is read; every text gets a token."""
        for slot, ticket in list(self._serving.items()):
            if ticket.cancelled:
                self._end(slot)
        while self._waiting and self.slots.available:
            ticket = self._waiting[0]  # where it fails, it still waits, and is told
            if not ticket.cancelled:
                ticket.slot, ticket.reused = self.slots.admit(
                    ticket.request.prompt, ticket.request.draw
                )
                self._serving[ticket.slot] = ticket
            self._waiting.popleft()
        self.slots.read()
        masks = self._masks()
        top = any(ticket.request.top for ticket in self._serving.values())
        for slot, written in self.slots.step(masks, top).items():
            self._tell(slot, self._serving[slot], written)

    def _masks(self) -> dict[int, Any]:
        """The tokens that may come next, of the texts that have grammars. One that cannot go on
        ends with its error; the others know nothing of it."""
        masks = {}
        for slot, ticket in list(self._serving.items()):
            if ticket.request.grammar is not None and not self.slots.reading(slot):
                try:
                    masks[slot] = ticket.request.grammar.mask()
                except ValueError as error:
                    self._end(slot)
                    ticket.tell(error)
        return masks

    def _tell(self, slot: int, ticket: Ticket, written: Written) -> None:
        request = ticket.request
        ticket.count += 1
        ended = written.token in self.ends
        if request.grammar is not None and not ended:
            request.grammar.consume(written.token)
        shown = request.special or not ended
        text, stopped = ticket.stops.add(ticket.pieces.add(written.token) if shown else "")
        full = ticket.count >= request.most or len(self.slots.text(slot)) >= self.length
        finish: Literal["stop", "length"] | None = None
        if ended or stopped:
            finish = "stop"
        elif full:
            finish = "length"
        if finish and not stopped:
            more, stopped = ticket.stops.add(ticket.pieces.rest())
            text += more
            text += "" if stopped else ticket.stops.rest()
            finish = "stop" if stopped else finish
        if finish:
            self._end(slot)
        ticket.tell(Piece(text, written, finish, ticket.reused))

    def _end(self, slot: int) -> None:
        self.slots.free(slot)
        del self._serving[slot]
