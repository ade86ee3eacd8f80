"""Batches: each a pure function of the seed and of a position in the stream.

A pass over a text is a permutation of its pieces, taken in windows. The pieces of a window become
examples, each by its own noise, and the examples become rows. A position is (pass, window, row) of
every part of a mixture: a few numbers, which a checkpoint keeps. Continuing there takes one window,
however far the run has come, and any number of processes reads the same rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import numpy as np

from transformers_jax.data import packing
from transformers_jax.data.config import Data, Table
from transformers_jax.data.mixed import Mixing, some_of, with_partners
from transformers_jax.data.packing import Batch, Layout, Row, lengths_of
from transformers_jax.data.pieces import CUTS, Documents
from transformers_jax.data.tokens import Tokens
from transformers_jax.objectives import Example, Vocabulary

CACHED = 2  # windows that stay in memory
GROUPED = ("packed", "bucketed")  # rows that are ordered by the lengths of their examples
GOLDEN = (5**0.5 - 1) / 2  # whose multiples, modulo 1, lie evenly wherever one begins and ends


class Cursor(NamedTuple):
    """The next row of one part of a mixture."""

    epoch: int = 0
    window: int = 0
    row: int = 0


@dataclass(frozen=True)
class Position:
    """The position in a stream.

    Attributes:
        parts: the next row of each part.
        rows: how many rows are from each part so far: what keeps a mixture at its shares.
    """

    parts: tuple[Cursor, ...]
    rows: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Less than a kilobyte."""
        return {"parts": [list(cursor) for cursor in self.parts], "rows": list(self.rows)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Position:
        """The inverse of `to_json`."""
        return cls(tuple(Cursor(*numbers) for numbers in values["parts"]), tuple(values["rows"]))


class Part:
    """One text of a mixture as rows.

    Args:
        objective: a record of `objectives`: what becomes of a piece.
        shuffle: whether a pass has an order of its own; evaluation reads on.

    Attributes:
        mixing: what is done with a whole batch: see `data.mixed`.
        drawn: whether examples are too large to be kept.
    """

    mixing: Mixing | None = None
    drawn: bool = False

    def __init__(
        self,
        tokens: Tokens,
        data: Data,
        objective: Any,
        words: Vocabulary,
        seed: int,
        *,
        shuffle: bool = True,
    ):
        overlap = objective.width(data.length) - data.length
        self.objective, self.words = objective, words
        pieces = CUTS.get(data.rows, Documents)(tokens, objective.room(data.length), overlap)
        self._read(pieces, packing.layout_of(data, objective, words), data, seed, shuffle)

    def _read(self, pieces: Any, layout: Layout, data: Any, seed: int, shuffle: bool) -> None:
        """Sets what rows are made of, and how."""
        self.pieces, self.layout, self.data = pieces, layout, data
        self.seed, self.shuffle, self.counted = seed, shuffle, data.rows == "packed"
        window = data.window
        if data.rows == "bucketed":  # a window is whole batches
            window = -(-window // data.batch) * data.batch
        self.size = min(window, max(self.pieces.count, 1))
        self.windows = -(-self.pieces.count // self.size)
        cached = CACHED * self.size if data.rows in GROUPED and not self.drawn else 0
        self.example = functools.lru_cache(cached)(self._make_example)
        self.rows = functools.lru_cache(CACHED)(self._make_rows)
        self.rows_in = functools.lru_cache(1024)(lambda *window: len(self.rows(*window)))

    def _make_example(self, epoch: int, index: int) -> Example:
        """`example(epoch, index)`: the one at an index in the order of a pass."""
        number = self._shuffled(epoch, index)
        noise = self._generator(epoch, number)
        piece = self.pieces.piece(number, noise)
        if self.objective.spread:
            first = self._generator(epoch, 0, kind=3).random()
            piece = piece._replace(turn=(first + index * GOLDEN) % 1)
        example = self.objective.example(
            piece, noise, self.words, lambda: self.pieces.other(number, noise)
        )
        packing.check_fits(example, self.layout)
        return example

    def sized(self, batch: Batch, layout: Layout) -> Batch:
        """A batch whose arrays beside its sides are as wide as a layout says."""
        return batch

    def row(self, epoch: int, indices: Sequence[int]) -> Row:
        """The examples at these indices of a pass, which are those of one row."""
        return [self.example(epoch, index) for index in indices]

    outline = row  # what says how long its examples are: themselves, or less of them

    def take(self, cursor: Cursor, count: int) -> tuple[list[tuple[int, list[int]]], Cursor]:
        """(pass, indices) of the next rows, as `row` takes them, and the position after them."""
        taken: list[tuple[int, list[int]]] = []
        epoch, window, row = cursor
        while len(taken) < count:
            rows = self.rows(epoch, window)
            self.rows_in(epoch, window)  # counted while they are here, for `done`
            more = rows[row : row + count - len(taken)]
            taken += [(epoch, indices) for indices in more]
            row += len(more)
            if row == len(rows):
                window, row = window + 1, 0
            if window == self.windows:
                epoch, window = epoch + 1, 0
        return taken, Cursor(epoch, window, row)

    def rows_of_pass(self, epoch: int) -> int:
        """How many rows a pass has; packed ones are counted by packing them."""
        if self.counted:
            return sum(len(self._make_rows(epoch, window)) for window in range(self.windows))
        return self.pieces.count

    def done(self, cursor: Cursor) -> float:
        """The fraction of a pass before a position."""
        first, count, done = cursor.window * self.size, self.pieces.count, float(cursor.row)
        if done and self.counted:  # the share of the window's rows, in pieces
            done *= min(self.size, count - first) / self.rows_in(cursor.epoch, cursor.window)
        return min((first + done) / max(count, 1), 1.0)

    def _make_rows(self, epoch: int, window: int) -> list[list[int]]:
        """`rows(epoch, window)`: the indices of the examples of each row of a window, in order."""
        first, last = window * self.size, min((window + 1) * self.size, self.pieces.count)
        if self.data.rows not in GROUPED:
            return [[index] for index in range(first, last)]
        lengths = lengths_of(self.outline(epoch, range(first, last)))
        order = self._generator(epoch, window, kind=1)
        if self.data.rows == "packed":
            rows = packing.first_fit(lengths, (self.layout.width, self.layout.target))
            if self.shuffle:  # the first ones hold the longest documents
                rows = [rows[n] for n in order.permutation(len(rows))]
            return [[first + n for n in row] for row in rows]
        by_length = np.argsort(lengths.max(axis=1), kind="stable").tolist()
        size = self.data.batch
        batches = [by_length[n : n + size] for n in range(0, len(by_length), size)]
        if self.shuffle:  # a batch that is not whole stays the last
            whole = len(by_length) // size
            batches = [batches[n] for n in order.permutation(whole)] + batches[whole:]
        return [[first + n] for batch in batches for n in batch]

    def _shuffled(self, epoch: int, index: int) -> int:
        """The number of the piece at an index in the order of a pass."""
        if not self.shuffle:
            return index
        seed = (self.seed * 2654435761 + epoch * 40503 + 1) % 2**32  # another order every pass
        last = self.pieces.count - 1
        return grain.experimental.index_shuffle(index, max_index=last, seed=seed, rounds=4)

    def _generator(self, epoch: int, number: int, kind: int = 0) -> np.random.Generator:
        """The noise of one piece (or window) in one pass: counters, so that none needs another."""
        # of a list with a number of 64 bits, NumPy would make floats: one noise for many seeds
        key = np.array([self.seed % 2**64, kind], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, epoch, number]))


class Stream:
    """The batches of a mixture.

    Args:
        parts: the texts as rows.
        shares: how much of the rows each gives; they sum to 1.
        own: from the rows of a batch to the numbers of those that are made, ascending; all of them
            by default. A process of several makes those that its devices hold.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        shares: Sequence[float],
        data: Data | Table,
        own: Callable[[int], Sequence[int]] = range,
    ):
        self.parts, self.data, self.own = tuple(parts), data, own
        self.shares = np.asarray(shares, np.float64)
        self.layout = self.parts[0].layout

    @property
    def start(self) -> Position:
        """Where a run begins."""
        return Position((Cursor(),) * len(self.parts), (0,) * len(self.parts))

    def batch(
        self, position: Position, size: int, limit: int | None = None
    ) -> tuple[Batch, Position]:
        """The batch at a position (of its rows, those that are this process's own), and the
        position after it.

        Args:
            size: rows of the batch.
            limit: rows of the whole stream; a batch beyond them is filled with empty rows.
        """
        done = sum(position.rows)
        left = size if limit is None else min(size, max(limit - done, 0))
        taken, position = self._rows(position, left)
        row = lambda part, epoch, indices: part.row(epoch, indices)
        layout = self.layout
        if self.data.rows == "bucketed":
            layout = packing.bucket([part.outline(n, some) for part, n, some in taken], layout)
        first, own = self.parts[0], self.own(size)
        numbers = own if first.mixing is None else with_partners(own, len(taken))
        rows = [row(*taken[number]) if number < len(taken) else [] for number in numbers]
        like = next(filter(None, rows), None) or row(first, 0, first.rows(0, 0)[0])
        batch = first.sized(packing.assemble(rows, layout, like), layout)
        if first.mixing is not None:
            batch = first.mixing(batch, sum(map(bool, rows)), first._generator(0, done, kind=2))
            batch = some_of(batch, numbers, own)
        return batch, position

    def empty(self, size: int) -> Batch:
        """A batch of so many rows without a token, of the widest that the stream has."""
        first = self.parts[0]
        like = first.row(0, first.rows(0, 0)[0])
        batch = first.sized(packing.assemble([[]] * size, self.layout, like), self.layout)
        mixing = first.mixing
        return batch if mixing is None else mixing(batch, 0, first._generator(0, 0, kind=2))

    def after(self, position: Position, count: int) -> Position:
        """The position so many rows after another."""
        return self._rows(position, count)[1]

    def batches(
        self, position: Position, size: Callable[[int], int], step: int, limit: int | None
    ) -> Iterator[tuple[Batch, Position]]:
        """(batch, position after it) from a position on; arguments as in `prefetch.prefetched`."""
        while limit is None or sum(position.rows) < limit:
            batch, position = self.batch(position, size(step), limit)
            yield batch, position
            step += 1

    def _rows(
        self, position: Position, count: int
    ) -> tuple[list[tuple[Part, int, list[int]]], Position]:
        """(part, pass, indices) of the next rows, and the position after them."""
        counts, cursors = list(position.rows), list(position.parts)
        numbers = self._parts_of(counts, count)
        taken = []
        for number, part in enumerate(self.parts):
            cursor, share = cursors[number], numbers.count(number)
            if self.data.rows == "bucketed":  # a batch of one bucket ends with its window
                share = min(share, len(part.rows(cursor.epoch, cursor.window)) - cursor.row)
            rows, cursors[number] = part.take(cursor, share)
            counts[number] += len(rows)
            taken.append(iter([(part, *row) for row in rows]))
        rows = [row for number in numbers if (row := next(taken[number], None)) is not None]
        return rows, Position(tuple(cursors), tuple(counts))

    def _parts_of(self, counts: list[int], count: int) -> list[int]:
        """Which part each of the next rows is from: always the one furthest behind its share, so
        that after any number of rows no part is more than a row or two away from it."""
        drawn, numbers = np.array(counts, np.float64), list[int]()
        total = drawn.sum()
        if self.data.rows == "bucketed":  # rows of a batch are from one part
            return [int(np.argmax(self.shares * (total + count) - drawn))] * count
        for step in range(1, count + 1):
            numbers.append(int(np.argmax(self.shares * (total + step) - drawn)))
            drawn[numbers[-1]] += 1
        return numbers

    def groups_of(self, epochs: int) -> list[int]:
        """Rows of so many passes, in groups that no batch crosses: all, or each bucketed window.

        Raises:
            ValueError: a mixture, whose parts end at different times.
        """
        if len(self.parts) > 1:
            raise ValueError("a mixture has no passes; give --steps instead of --epochs")
        if (part := self.parts[0]).counted:  # else all passes have as many
            return [sum(part.rows_of_pass(epoch) for epoch in range(epochs))]
        if self.data.rows == "bucketed":
            ends = [*range(0, part.pieces.count, part.size), part.pieces.count]
            return np.diff(ends).tolist() * epochs
        return [epochs * part.rows_of_pass(0)]

    def epoch(self, position: Position) -> float:
        """Passes over the text so far, of the part that is read most often."""
        return max(one.epoch + part.done(one) for part, one in zip(self.parts, position.parts))

    def check(self, batch: int) -> None:
        """There is enough text for a batch.

        Raises:
            ValueError: there is not, with what there is.
        """
        one = len(self.parts) == 1
        needed = batch if one and self.data.rows != "packed" else 1
        for part in self.parts:
            if part.pieces.count < needed:
                raise ValueError(
                    f"{self.data.path if one else 'a part of the mixture'}: {part.pieces.what} "
                    f"make {part.pieces.count} rows of {part.pieces.size}, fewer than one batch of "
                    f"{needed}; lower --data.batch or --data.length, or give more text"
                )
