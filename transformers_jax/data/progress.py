"""How far something long has come: the encoding of a text, predictions."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def live(what: str, say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A function that shows a line in place of the one before: of rich on a terminal; elsewhere a
    plain line now and then."""
    last = time.perf_counter()
    with contextlib.ExitStack() as stack:
        write, pause = say, PLAIN_EVERY
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console

            status = Console(stderr=True).status(f"{what} ...")
            write, pause = stack.enter_context(status).update, 0.2

        def show(line: str) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last > pause:
                write(line)
                last = now

        yield show


@contextlib.contextmanager
def progress(split: str, say: Callable[[str], None]) -> Iterator[Callable[[int, int], None]]:
    """`live`, of a split that is encoded. No bar: how many documents there are is known once all
    are read."""
    began = time.perf_counter()
    with live(split, say) as write:

        def show(documents: int, tokens: int) -> None:
            rate = tokens / (time.perf_counter() - began)
            write(f"{split}: {documents:,} documents, {tokens:,} tokens, {rate:,.0f} tokens/s")

        yield show
