"""Batches whose rows are mixed with one another, as mixup does: each with its partner.

The partner of a row is that at the same place from the end of the batch, of the rows that there
are. A process of several makes the partners of its rows, too, and then has the same numbers as a
single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mixing = Callable[[dict[str, Any], int, np.random.Generator], dict[str, Any]]
"""(batch, how many of its rows there are, noise of the whole batch) -> batch. Of these rows the
n-th from the beginning is the partner of the n-th from the end."""


def with_partners(own: Sequence[int], count: int) -> list[int]:
    """The numbers of these rows of a batch, and of their partners, ascending.

    Args:
        count: rows that there are; those behind them are empty.
    """
    return sorted({*own, *(count - 1 - number for number in own if number < count)})


def some_of(batch: dict[str, Any], made: Sequence[int], own: Sequence[int]) -> dict[str, Any]:
    """The rows of a process, of those that it made."""
    if len(made) == len(own):
        return batch
    kept = np.searchsorted(made, own)
    return {name: array[kept] for name, array in batch.items()}
