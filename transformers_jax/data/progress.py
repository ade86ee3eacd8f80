"""How far the encoding of a text has come."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def progress(split: str, say: Callable[[str], None]) -> Iterator[Callable[[int, int], None]]:
    """A live line of rich on a terminal, and plain lines now and then elsewhere. No bar: how many
    documents there are is known once all are read."""
    began = last = time.perf_counter()
    with contextlib.ExitStack() as stack:
        write, pause = say, PLAIN_EVERY
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console

            status = Console(stderr=True).status(f"{split} ...")
            write, pause = stack.enter_context(status).update, 0.2

        def show(documents: int, tokens: int) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last > pause:
                rate = tokens / (now - began)
                write(f"{split}: {documents:,} documents, {tokens:,} tokens, {rate:,.0f} tokens/s")
                last = now

        yield show
