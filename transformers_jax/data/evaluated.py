"""The batches of what is held out: all of it, in order, always alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Part, Position, Stream


def evaluation_batches(
    part: Part, where: str, own: Callable[[int], Sequence[int]] = range, readings: int = 1
) -> Sequence[Batch]:
    """All of a held-out text, in order, with the same noise each time; the last batch is filled
    with rows without labels. Those of pictures are made whenever they are read.

    Args:
        part: the text, not shuffled.
        where: its name, for the error.
        own: as of a `Stream`.
        readings: how many times it is read, each time with noise of its own.

    Raises:
        ValueError: there is not one row.
    """
    if not part.pieces.count:
        raise ValueError(
            f"{where}: {len(part.pieces.tokens.ids):,} evaluation ids are fewer than one row of "
            f"{part.pieces.size}; raise --data.eval-fraction or lower --data.length"
        )
    stream = Stream([part], [1.0], part.data, own)
    rows = sum(part.rows_of_pass(epoch) for epoch in range(readings))
    size = part.data.batch
    if not part.drawn:
        batches = stream.batches(stream.start, lambda step: size, 0, rows)
        return [batch for batch, _ in batches]
    starts, position = [], stream.start
    while sum(position.rows) < rows:
        starts.append(position)
        position = stream.after(position, min(size, rows - sum(position.rows)))
    return MadeBatches(stream, starts, size, rows)


@dataclass(frozen=True)
class MadeBatches(Sequence[Batch]):
    """Batches that are made when they are read.

    Attributes:
        starts: where each begins.
        size, limit: as of `Stream.batch`.
    """

    stream: Stream
    starts: Sequence[Position]
    size: int
    limit: int

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return replace(self, starts=self.starts[number])
        return self.stream.batch(self.starts[number], self.size, self.limit)[0]
