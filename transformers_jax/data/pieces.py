"""A text, cut into the pieces that become examples.

Windows     the ids of all documents in a row, cut every so many ids, wherever that is
Crops       the same, cut at random positions
Documents   each document by itself, in as many pieces as it takes

The number of a piece says where it is, without those before it. Where `overlap` is 1 a piece begins
with the last id of the one before, so that a decoder predicts every id once.
"""

from __future__ import annotations

import numpy as np

from transformers_jax.data.tokens import Tokens
from transformers_jax.objectives import Piece


class Windows:
    """Consecutive ids; what is left at the end of the text, less than a piece, is not used.

    Attributes:
        size: the most ids of a piece.
        count: how many pieces there are in one pass over the text.
    """

    def __init__(self, tokens: Tokens, size: int, overlap: int):
        if size <= overlap:
            raise ValueError(f"pieces of {size} ids are too short; raise --data.length")
        self.tokens, self.size, self.stride = tokens, size, size - overlap
        self.count = max(len(tokens.ids) - overlap, 0) // self.stride

    @property
    def what(self) -> str:
        """How much there is, for people."""
        return f"{len(self.tokens.ids):,} training ids"

    def piece(self, number: int, generator: np.random.Generator) -> Piece:
        """The piece of a number; `generator` decides what is not decided by the number."""
        return self._cut(number * self.stride, number * self.stride + self.size)

    def other(self, number: int, generator: np.random.Generator) -> Piece:
        """A random piece of a document that piece `number` is not from."""
        raise ValueError("pairs of texts need documents: set data.rows to padded or bucketed")

    def _cut(self, start: int, stop: int) -> Piece:
        ids = np.asarray(self.tokens.ids[start:stop], np.int32)
        marks = self.tokens.sentences
        if marks is None:
            return Piece(ids, np.zeros(1, np.int64))
        first, last = np.searchsorted(marks, [start + 1, stop])
        return Piece(ids, np.concatenate([[0], np.asarray(marks[first:last]) - start]))


class Crops(Windows):
    """As many as there are windows, each starting anywhere."""

    def piece(self, number: int, generator: np.random.Generator) -> Piece:
        start = int(generator.integers(0, len(self.tokens.ids) - self.size + 1))
        return self._cut(start, start + self.size)


class Documents(Windows):
    """Documents, the long ones in several pieces."""

    def __init__(self, tokens: Tokens, size: int, overlap: int):
        super().__init__(tokens, size, overlap)
        self.starts = np.asarray(tokens.starts)
        lengths = np.diff(self.starts)
        counts = np.where(lengths > 0, np.maximum(-(-(lengths - overlap) // self.stride), 1), 0)
        self.ends = np.cumsum([0, *counts])  # pieces of all documents before each
        self.count = int(self.ends[-1])

    def _document(self, number: int) -> tuple[int, int, int]:
        """Which document a piece is from, its first piece, and the first of the next document."""
        document = int(np.searchsorted(self.ends, number, side="right")) - 1
        return document, int(self.ends[document]), int(self.ends[document + 1])

    def piece(self, number: int, generator: np.random.Generator) -> Piece:
        document, first, _ = self._document(number)
        start = int(self.starts[document]) + (number - first) * self.stride
        return self._cut(start, min(start + self.size, int(self.starts[document + 1])))

    def other(self, number: int, generator: np.random.Generator) -> Piece:
        _, first, last = self._document(number)
        own = last - first
        if own == self.count:
            raise ValueError(
                "pairs of texts need at least two documents; set data.documents to paragraph or "
                "line, or give more text"
            )
        drawn = int(generator.integers(self.count - own))
        return self.piece(drawn + own * (drawn >= first), generator)


CUTS = {"stream": Windows, "crops": Crops}
"""What cuts a text that is read as one row of ids, by `data.rows`; else documents are cut."""
