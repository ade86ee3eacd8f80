"""Files that a run reads piece by piece, held against their checksums while it trains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers_jax.data.file_sums import file_sum, known_sum


class Expected(NamedTuple):
    """A file, the SHA-256 that it must have, and what mends it where it has another."""

    file: Path
    sha256: str
    mend: str


class Stopped(Exception):
    """Nobody waits for the result any more."""


def verify(one: Expected, read: Callable[[int], None] = lambda count: None) -> None:
    """Raises ValueError where a file is missing, cannot be read, or differs from its checksum."""
    try:
        actual = file_sum(one.file, read)
    except OSError as error:
        raise ValueError(f"{one.file} cannot be read ({error.strerror}); {one.mend}") from None
    if actual != one.sha256:
        raise ValueError(
            f"{one.file} differs from its checksum: its SHA-256 is {actual[:16]}..., and "
            f"{one.sha256[:16]}... was expected; {one.mend}"
        )


class Verification:
    """A thread that verifies files; those that were verified before and stayed as they were cost
    nothing.

    Attributes:
        size: bytes that have to be read.
        done: bytes that have been read.
    """

    def __init__(self, files: Sequence[Expected]):
        self._files = [one for one in files if known_sum(one.file) != one.sha256]
        there = [one.file for one in self._files if one.file.is_file()]
        self.size, self.done = sum(file.stat().st_size for file in there), 0
        self._stop, self._wrong = threading.Event(), ""
        self._thread = threading.Thread(target=self._verify, name="verification", daemon=True)
        self._thread.start()

    def _verify(self) -> None:
        try:
            for one in self._files:
                verify(one, self._count)
        except ValueError as error:
            self._wrong = str(error)
        except Stopped:
            pass

    def _count(self, read: int) -> None:
        self.done += read
        if self._stop.is_set():
            raise Stopped

    def check(self) -> None:
        """Raises ValueError once a file was found that is not what it was."""
        if self._wrong:
            raise ValueError(self._wrong)

    def wait(self, show: Callable[[str], None] = lambda text: None) -> None:
        """Until all files are read; `show` gets how far it is. Raises as `check`."""
        while self._thread.is_alive():
            self._thread.join(0.1)
            show(f"verifying tokens: {self.done:,} of {self.size:,} bytes")
        self.check()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()
