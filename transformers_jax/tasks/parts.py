"""The rows of a task as a stream reads them: in an order of each pass, and into which batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from transformers_jax.data import packing
from transformers_jax.data.config import Table
from transformers_jax.data.packing import Batch, Layout, Row
from transformers_jax.data.stream import Part
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.rows import Drawn, Rows, length_of


class TaskPart(Part):
    """The rows of a task, as a stream reads them."""

    def __init__(
        self,
        rows: Rows,
        data: Table,
        layout: Layout,
        seed: int,
        *,
        shuffle: bool = True,
    ):
        self.source, examples = rows, rows.examples
        self.drawn = isinstance(examples, Drawn)
        if isinstance(examples, Drawn) and shuffle:  # evaluations are of what is there
            self.mixing = examples.mixing
        self._read(_Pieces(rows), layout, data, seed, shuffle)

    def _make_example(self, epoch: int, index: int) -> Example:
        number, examples = self._shuffled(epoch, index), self.source.examples
        if self.shuffle and isinstance(examples, Drawn):
            return examples.draw(number, self._generator(epoch, number))
        return examples[number]

    def outline(self, epoch: int, indices: Sequence[int]) -> Row:
        examples = self.source.examples
        if isinstance(examples, Drawn):  # without what takes long to make
            return [examples.outline(self._shuffled(epoch, index)) for index in indices]
        return self.row(epoch, indices)

    def sized(self, batch: Batch, layout: Layout) -> Batch:
        examples = self.source.examples
        return examples.sized(batch, layout.width) if isinstance(examples, Drawn) else batch


class ApartPart(TaskPart):
    """The rows of a task whose batches have no text twice: with in-batch negatives, a text would be
    a negative of itself.

    A window is whole batches. Its examples come in their order, and each goes into the first batch
    that has room and none of its texts; batches that cannot be filled have empty rows.
    """

    def __init__(self, rows: Rows, data: Table, layout: Layout, seed: int, *, shuffle: bool = True):
        window = -(-data.window // data.batch) * data.batch
        data = dataclasses.replace(data, window=window)
        super().__init__(rows, data, layout, seed, shuffle=shuffle)
        self.counted = True
        self.texts = compared_in(rows)

    def _make_rows(self, epoch: int, window: int) -> list[list[int]]:
        size = self.data.batch
        batches, _ = self._batches(epoch, window)
        whole = [batch for batch in batches if len(batch) == size]
        rest = [batch for batch in batches if len(batch) < size]
        if self.shuffle:
            order = self._generator(epoch, window, kind=1)
            whole = [whole[n] for n in order.permutation(len(whole))]
        rows = lambda batch: [[n] for n in batch] + [[]] * (size - len(batch))
        return [row for batch in (*whole, *rest) for row in rows(batch)]

    def _batches(self, epoch: int, window: int) -> tuple[list[list[int]], int]:
        """(indices of each batch of a window, how many examples had to wait for another batch)."""
        first, last = window * self.size, min((window + 1) * self.size, self.pieces.count)
        order = np.arange(first, last)
        if self.data.rows == "bucketed":
            lengths = packing.lengths_of([self.example(epoch, index) for index in order])
            order = order[np.argsort(lengths.max(axis=1), kind="stable")]
        texts = [self.texts[self._shuffled(epoch, int(index))] for index in order]
        batches, moved = apart(texts, self.data.batch)
        return [[int(order[n]) for n in batch] for batch in batches], moved

    @property
    def note(self) -> str:
        """How many of the first pass had to wait, in a line; "" if none had."""
        found = [self._batches(0, window) for window in range(self.windows)]
        moved = sum(number for _, number in found)
        empty = sum(self.data.batch - len(batch) for batches, _ in found for batch in batches)
        if not moved:
            return ""
        return (
            f"{moved:,} of {self.pieces.count:,} records are moved to another batch in the first "
            f"pass, as one of their texts is in theirs already; {empty:,} rows stay empty"
        )


def compared_in(rows: Rows) -> list[frozenset[bytes]]:
    """The texts of each example, by their ids."""
    examples = rows.examples
    if isinstance(examples, Drawn):  # without what else they hold
        return [examples.compared(number) for number in range(len(examples))]
    return [texts_of(example) for example in examples]


def texts_of(example: Example) -> frozenset[bytes]:
    """The texts of an example in parts, by their ids."""
    return frozenset(part.tokens["input_ids"].tobytes() for part in example.parts.values())


def apart(texts: Sequence[frozenset[bytes]], size: int) -> tuple[list[list[int]], int]:
    """(numbers of the examples of each batch, in which no text is twice; how many could not go into
    the first that had room)."""
    batches: list[list[int]] = []
    waiting: list[tuple[list[int], set[bytes]]] = []  # those that have room
    moved = 0
    for number, own in enumerate(texts):
        fitting = next((one for one in waiting if own.isdisjoint(one[1])), None)
        moved += bool(waiting) and fitting is not waiting[0]
        if fitting is None:
            fitting = ([], set())
            batches.append(fitting[0])
            waiting.append(fitting)
        fitting[0].append(number)
        fitting[1].update(own)
        if len(fitting[0]) == size:
            waiting.remove(fitting)
    while len(batches) > -(-len(texts) // size) and _exchanged(batches, texts, size):
        pass
    return batches, moved


def _exchanged(batches: list[list[int]], texts: Sequence[frozenset[bytes]], size: int) -> bool:
    """Whether an example of the last batch has found room in another: in place of one that goes
    into a batch which is not full. Without this, a single text that is twice in the last batch of a
    window would make a batch of one row."""
    *others, last = batches
    own = texts[last[-1]]
    for short in (batch for batch in others if len(batch) < size):
        held = frozenset[bytes]().union(*(texts[n] for n in short))
        for batch in others:
            if batch is short or any(own & texts[n] for n in batch):
                continue
            for place, number in enumerate(batch):
                if texts[number].isdisjoint(held):
                    short.append(number)
                    batch[place] = last.pop()
                    if not last:
                        batches.pop()
                    return True
    return False


class _Pieces:
    """The examples of a split by number, as a part counts them."""

    def __init__(self, rows: Rows):
        self.rows, self.count = rows, len(rows)
        some = rows.examples
        self.size = some.length if isinstance(some, Drawn) else max(map(length_of, some))

    @property
    def what(self) -> str:
        """How much there is, for people."""
        return f"{len(self.rows.records):,} records"
