"""Batches made ahead of the loop; those of an evaluation; shorter rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Part, Position, Stream

AHEAD = 2  # batches that wait for the loop


def evaluation_batches(part: Part, where: str) -> list[Batch]:
    """All of a held-out text, in order, with the same noise each time; the last batch is filled
    with rows without labels.

    Args:
        part: the text, not shuffled.
        where: its name, for the error.

    Raises:
        ValueError: there is not one row.
    """
    if not part.pieces.count:
        raise ValueError(
            f"{where}: {len(part.pieces.tokens.ids):,} evaluation ids are fewer than one row of "
            f"{part.pieces.size}; raise --data.eval-fraction or lower --data.length"
        )
    stream = Stream([part], [1.0], part.data)
    size, limit = lambda step: part.data.batch, part.rows_of_pass(0)
    return [batch for batch, _ in _batches(stream, stream.start, size, 0, limit)]


def shorten(batch: Batch, width: int, length: int) -> Batch:
    """The same ids in shorter rows, and more of them: [B T] as [B k, T / k].

    Args:
        width: ids that a row predicts; what a row has beyond them (a first one, which is no target)
            is repeated at each cut.
        length: what a row is to predict.
    """
    count = width // length
    extra = batch["input_ids"].shape[1] - width
    columns = np.arange(count)[:, None] * length + np.arange(length + extra)
    return {name: rows[:, columns].reshape(-1, length + extra) for name, rows in batch.items()}


def fill(batch: Batch) -> float:
    """The fraction of positions in a batch that hold tokens."""
    masks = [batch[name] for name in ("attention_mask", "decoder_attention_mask") if name in batch]
    if not masks:
        return 1.0
    return float(sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks))


def prefetched(
    stream: Stream,
    position: Position,
    size: Callable[[int], int],
    *,
    first: int = 0,
    limit: int | None = None,
) -> Iterator[tuple[Batch, Position]]:
    """(batch, position after it) from a position on, made ahead of the loop by a thread.

    Args:
        size: rows of the batch of a step.
        first: the step that the position belongs to.
        limit: rows of the whole stream.
    """
    batches = _batches(stream, position, size, first, limit)
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(next, batches, None) for _ in range(AHEAD))
        while (item := ahead.popleft().result()) is not None:
            ahead.append(thread.submit(next, batches, None))
            yield item


def _batches(
    stream: Stream, position: Position, size: Callable[[int], int], step: int, limit: int | None
) -> Iterator[tuple[Batch, Position]]:
    while limit is None or sum(position.rows) < limit:
        batch, position = stream.batch(position, size(step), limit)
        yield batch, position
        step += 1
