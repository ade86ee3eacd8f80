"""A watchdog: a run that has stopped making steps reports where it hangs, and ends.

A dead process ends its peers through the coordination service; one that is alive and stuck, in a
collective, a driver or a disk, would hold its machines for as long as they are paid for.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformers_jax.printing import print_line

EXIT_CODE = 124
"""What `timeout` of coreutils gives, too."""

STACKS = "stacks.txt"
FACTOR = 10  # times the median step
REMEMBERED = 101  # steps that the median is over


class Watchdog:
    """A thread that ends the process when no step has been finished for too long.

    Too long is the greater of `least` seconds and ten times the median of the last steps. Before
    the first step, and within `allow`, only a limit of its own counts.

    Args:
        folder: of the run; the stacks of all threads are added to a file in it.
        least: seconds.
        first: seconds until the first step is finished, compilation included.
        leave: ends the process with a code, `os._exit` by default.
        stacks: the name of the file.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        least: float = 120.0,
        first: float = 3600.0,
        leave: Callable[[int], Any] | None = None,
        stacks: str = STACKS,
    ):
        if least <= 0 or first <= 0:
            raise ValueError(f"least ({least}) and first ({first}) must be above 0 seconds")
        self.folder, self.least, self._stacks = Path(folder), least, stacks
        self._leave = leave or os._exit
        self._durations: collections.deque[float] = collections.deque(maxlen=REMEMBERED)
        self._step: int | None = None
        self._task, self._limit = "the first step", first
        self._is_step = False  # whether the time since then is that of a step
        self._since = time.monotonic()
        self._change = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def step_finished(self, step: int) -> None:
        """Records that a step is finished; costs a few microseconds."""
        now = time.monotonic()
        with self._change:
            if self._is_step:
                self._durations.append(now - self._since)
            self._step, self._since, self._is_step = step, now, True
            self._task, self._limit = f"step {step + 1}", self.limit()

    def limit(self) -> float:
        """Seconds that a step may take now."""
        return max(self.least, FACTOR * statistics.median(self._durations or [0.0]))

    @contextlib.contextmanager
    def allow(self, task: str, seconds: float = 3600.0) -> Iterator[None]:
        """Within this, the task has a limit of its own: for compiling, evaluating and saving."""
        with self._change:
            before = self._task, self._limit
            self._task, self._limit, self._since = task, seconds, time.monotonic()
            self._is_step = False
            self._change.notify()  # this limit may be shorter than what the thread waits for
        try:
            yield
        finally:
            with self._change:
                (self._task, self._limit), self._since = before, time.monotonic()

    def __enter__(self) -> Watchdog:
        self._since = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._change:
            while not self._ended:
                left = self._since + self._limit - time.monotonic()
                if left <= 0:
                    break
                # a limit may become shorter meanwhile: from hours for the first step to seconds
                self._change.wait(min(left, self.least / 4))
            if self._ended:
                return
            task, limit = self._task, self._limit
        self._report(task, limit)
        self._leave(EXIT_CODE)

    def _report(self, task: str, limit: float) -> None:
        last = "no step" if self._step is None else f"step {self._step}"
        line = (
            f"watchdog: {task} has not ended within {limit:.1f} s ({last} was the last to be "
            f"finished)"
        )
        report(self.folder, line, self._stacks)


def report(folder: Path, line: str, stacks: str = STACKS) -> None:
    """Prints one line, and the stack of every thread; both are added to a file of the folder."""
    line = f"{line}; the process ends with {EXIT_CODE}, stacks in {folder / stacks}"
    write_stacks(folder / stacks, line)
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # without a file
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
    print_line(line, error=True)


def write_stacks(path: Path, line: str) -> None:
    """Adds the time, a line and the stacks of all threads to a file."""
    with contextlib.suppress(OSError), path.open("a") as file:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=file, flush=True)
        faulthandler.dump_traceback(file, all_threads=True)
