"""Files read by a few threads: decoders of pictures and sound let other threads run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In, Out = TypeVar("In"), TypeVar("Out")
THREADS = 4


def in_threads(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """What the function makes of each item, in their order. An error is that of the first item
    that has one; what has not begun by then is left undone."""
    with ThreadPoolExecutor(THREADS) as pool:
        made = [pool.submit(function, item) for item in items]
        try:
            return [one.result() for one in made]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
