"""Pieces of text, the examples that are made of them, and what all makers of examples share.

    document -> Piece -> corruption.example(...) -> Example -> a row of a batch

A corruption is a frozen record. Its `example` is a pure function of the piece, the state of the
generator and the vocabulary, in numpy; masks and lengths depend on the record only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.graph import OWN, Mask, Same
from transformers_jax.nn.loss import IGNORED as IGNORED
from transformers_jax.objectives.vocabulary import Vocabulary
from transformers_jax.settings import Settings


class Piece(NamedTuple):
    """A part of one document."""

    ids: Int[np.ndarray, " n"]
    breaks: Int[np.ndarray, " s"]
    """where its sentences start, ascending; breaks[0] == 0"""
    turn: float | None = None
    """a number in [0, 1) for objectives that have `spread`: those of pieces that follow one another
    lie evenly there; None: one is drawn"""


@dataclass(frozen=True)
class Example:
    """What a piece becomes: one or two sides, before rows are filled; or several texts, each of
    which is read by itself and an example of its own. Arrays of sides and tags are int32, those
    of weights float32."""

    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    """first side, length n: "input_ids"; where it is predicted "labels" (-100: ignored);
    "token_type_ids" where used; "weights" of the losses of its tokens, where they differ"""
    target: dict[str, np.ndarray] = field(default_factory=dict)
    """second side, length m: "decoder_input_ids" and "labels"; {} where there is one side"""
    tags: dict[str, np.ndarray] = field(default_factory=dict)
    """tags of the first side for masks, length n: {"prefix": 0 or 1}"""
    once: dict[str, Any] = field(default_factory=dict)
    """a whole number, or an array of numbers, per example, e.g. {"next_sentence_label": 0} or
    {"pixel_values": [C H W]}: the row holds this example only"""
    parts: Mapping[str, Example] = field(default_factory=dict)
    """texts that are compared with one another, by name: {"anchor": ..., "positive": ...}; the
    example has no side of its own then"""
    size: int = 0
    """tokens that a model makes of what is in `once`, where there is no side: the patches of a
    picture, the frames of a recording"""


class Corruption(Settings):
    """What becomes of a piece of text; each record of this package is one."""

    head: ClassVar[str]
    """head of the model: causal_lm, masked_lm, pretraining, seq2seq_lm or pair"""
    loss: ClassVar[str]
    """name of the loss in losses.py"""
    sides: ClassVar[int] = 1
    """2: an encoder's side and a decoder's"""
    roles: ClassVar[tuple[str, ...]] = ()
    """special tokens that are needed"""
    sentinels: ClassVar[int] = 0
    """sentinels that a tokenizer learned for it should have"""
    modes: ClassVar[tuple[str, ...]] = ()
    """mode tokens that are needed"""
    sentences: ClassVar[bool] = False
    """whether it needs to know where sentences start"""
    single: ClassVar[bool] = False
    """whether a row holds one example always"""
    spread: ClassVar[bool] = False
    """whether pieces that follow one another are to differ evenly in what is drawn for them"""
    copies: ClassVar[int] = 1
    """how many times a model reads a row in a step"""
    readings: ClassVar[int] = 1
    """how many times held-out text is read, each time with other noise"""
    fractions: ClassVar[tuple[str, ...]] = ()
    """fields whose values lie between 0 and 1"""

    def __post_init__(self) -> None:
        super().__post_init__()
        values = {name: getattr(self, name) for name in self.fractions}
        wrong = {name: value for name, value in values.items() if not 0 <= value <= 1}
        self.expect(not wrong, "fractions between 0 and 1", **wrong)

    def expect(self, holds: bool, expected: str, **fields: Any) -> None:
        """Raises ValueError if it does not hold, with what is expected of the fields."""
        if not holds:
            came = ", ".join(f"{name}={value!r}" for name, value in fields.items())
            raise ValueError(f"{type(self).__name__}: expected {expected}, came {came}")

    def example(
        self,
        piece: Piece,
        rng: np.random.Generator,
        vocabulary: Vocabulary,
        other: Callable[[], Piece],
    ) -> Example:
        """The example of a piece; `other()` gives a random piece of another document.

        A pure function of its arguments: the same state of `rng` gives the same example.

        Raises:
            ValueError: if the piece is empty, or the vocabulary lacks what is needed.
        """
        raise NotImplementedError

    def ids(self, piece: Piece, vocabulary: Vocabulary | None = None) -> Int[np.ndarray, " n"]:
        """The ids of a piece as int32; checks that there are any, and the roles in `vocabulary`."""
        if not len(piece.ids):
            raise ValueError(
                f"{type(self).__name__}: expected a piece of at least one id, came an empty one; "
                "leave empty documents out"
            )
        if vocabulary is not None:
            vocabulary.require(type(self).__name__, roles=self.roles)
        return np.asarray(piece.ids, np.int32)

    def room(self, length: int) -> int:
        """Most ids a piece may have for its first side to fit into width(length) columns.

        Raises:
            ValueError: if not even the shortest piece fits.
        """
        raise NotImplementedError

    def remaining(self, length: int, extra: int, least: int = 1) -> int:
        """length - extra, the ids that fit with `extra` tokens; ValueError if below `least`."""
        if length - extra < least:
            raise ValueError(
                f"{type(self).__name__}: a length of {length} is too short: the shortest piece "
                f"and the tokens added to it need a length of {least + extra} or more"
            )
        return length - extra

    def width(self, length: int) -> int:
        """Columns of a row of the first side: one more where the loss shifts the labels."""
        return length + 1 if self.loss == "causal_lm" else length

    def target_width(self, length: int) -> int:
        """Columns that suffice for the second side of any piece of at most room(length) ids."""
        return 0

    def ends(self, documents: bool) -> bool:
        """Whether a token must end each document, for a decoder of whole documents."""
        return documents and self.loss == "causal_lm"

    def learned_roles(self, documents: bool) -> tuple[str, ...]:
        """Special tokens that a tokenizer learned for it gets; `documents`: rows are made of whole
        documents, and have padding."""
        eos = ["eos"] * self.ends(documents)
        pad = ["pad"] * (documents or self.loss != "causal_lm")
        return tuple(dict.fromkeys([*self.roles, *eos, *pad]))

    def mask(self, packed: bool) -> Mask | dict[str, Mask] | None:
        """The mask to build the model with; None: the family's own.

        `packed`: rows hold several documents, which the tag "document" numbers.
        """
        if not packed:
            return None
        same = Same("document")
        if self.sides == 2:
            return {"encoder": OWN & same, "decoder": OWN & same, "cross": same}
        return OWN & same


class Causal(Corruption):
    """The loss shifts the labels: a piece has one id more than the row predicts."""

    head: ClassVar[str] = "causal_lm"
    loss: ClassVar[str] = "causal_lm"

    def room(self, length: int) -> int:
        return self.remaining(length, -1, 2)


class Seq2Seq(Corruption):
    """An encoder reads the first side, a decoder writes the second."""

    head: ClassVar[str] = "seq2seq_lm"
    loss: ClassVar[str] = "seq2seq_lm"
    sides: ClassVar[int] = 2
