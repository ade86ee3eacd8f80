"""Batches that are made before the loop asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Position, Stream

AHEAD = 2  # batches that wait for the loop


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
        first: the step that the position belongs to; `limit` is in rows of the whole stream.
    """
    batches = stream.batches(position, size, first, limit)
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(next, batches, None) for _ in range(AHEAD))
        while (item := ahead.popleft().result()) is not None:
            ahead.append(thread.submit(next, batches, None))
            yield item
