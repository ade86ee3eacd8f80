"""Processes that watch each other: one that is dead, frozen or stuck is named, and ends the run.

Each process writes a sign of life every second into the key-value store of the coordination
service: a count, and its place in the run. Process 0 reads them and gives up

- one that failed, and says so;
- one whose sign has not changed for `timeout` seconds: dead, stopped, or off the network;
- one that is behind the others and has not moved for `timeout` seconds, or for what its task is
  allowed: alive and stuck.

A step that takes long takes long in all of them: none is behind, and only the watchdog counts. The
others read the verdict; a process 0 that does not answer, or whose port is closed, is the verdict.
Every process then adds the stacks of its threads to a file and ends, the stuck one too, whose
stacks tell why.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformers_jax import processes
from transformers_jax.printing import print_line
from transformers_jax.processes import PATIENCE, PEER_TIMEOUT
from transformers_jax.training.clock import KINDS
from transformers_jax.training.watchdog import EXIT_CODE, STACKS, report

EVERY = 1.0  # seconds between signs of life
FIRST = 300.0  # seconds until the first one
GRACE = 4.0  # seconds to read the verdict
FIRST_NAME = "process 0, which all others ask,"
WAITED_FOR = {"steps": "step", "input": "the data of step"}
"""What all do at one pace, and its name; other kinds may take one of them long."""

_COMMUNICATION = re.compile(
    r"gloo|nccl|coordination|heartbeat|barrier|connection (closed|reset|refused)|broken pipe|"
    r"unavailable|deadline.exceeded|aborted",
    re.IGNORECASE,
)


class Sign(NamedTuple):
    """A sign of life.

    Attributes:
        beat: rises with every sign.
        place: (step, how many tasks it has begun since), which all processes pass alike.
        task: the words for it.
        limit: seconds that it may take while others are ahead.
        end: "" while it runs, "finished", or the error that it ends with.
    """

    beat: int
    place: tuple[int, int]
    task: str
    limit: float
    end: str = ""

    @classmethod
    def of(cls, text: str) -> Sign:
        """The inverse of `json.dumps`."""
        beat, place, task, limit, end = json.loads(text)
        return cls(beat, tuple(place), task, limit, end)


@dataclass
class Seen:
    """The last sign of a process, and since when (by the clock of the one who looks) it stands."""

    sign: Sign | None
    alive: float
    moved: float


def find_fault(seen: dict[int, Seen], now: float, timeout: float) -> str:
    """Which process is to be given up, and why; "" if none is."""
    signs = {index: each.sign for index, each in seen.items() if each.sign is not None}
    for index, sign in signs.items():
        if sign.end not in ("", "finished"):
            return f"process {index} ended with {sign.end}"
    for index, each in seen.items():
        silent = now - each.alive
        if each.sign is None and silent > max(FIRST, timeout):
            return f"process {index} has not begun within {silent:.0f} s"
        if each.sign is not None and not each.sign.end and silent > timeout:
            return (
                f"process {index} has given no sign of life for {silent:.0f} s, at "
                f"{each.sign.task}: it is dead or frozen"
            )
    furthest = max((sign.place for sign in signs.values()), default=(0, 0))
    for index, sign in sorted(signs.items(), key=lambda pair: pair[1].place):
        stood = now - seen[index].moved
        if not sign.end and sign.place < furthest and stood > sign.limit:
            return (
                f"process {index} is stuck: alive, and for {stood:.0f} s at {sign.task}, for which "
                "others wait"
            )
    return ""


class Peers:
    """Watches the processes of a run, and lets them watch this one, within `with`.

    An error that leaves the block is told to the others. Of one in the communication between
    processes another is the cause: it is waited for, and named. With one process nothing is done.

    Args:
        folder: of the run; stacks are added to stacks.txt in it (stacks-1.txt of process 1).
        timeout: seconds; 0 watches nothing.
        leave: ends the process with a code, `os._exit` by default.
    """

    def __init__(
        self,
        folder: Path,
        timeout: float = PEER_TIMEOUT,
        leave: Callable[[int], Any] = os._exit,
    ):
        self.folder, self.timeout, self._leave = folder, timeout, leave
        self.active = timeout > 0 and processes.several()
        self._beats = itertools.count(1)
        self._now: tuple[tuple[int, int], str, float] = ((0, 0), "the start", PATIENCE)
        self._end = ""
        self._answered = time.monotonic()
        self._failed = False
        self._verdict = ""
        self._ended, self._read_by_all = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._can_look = False

    def at(self, step: int, kind: str) -> None:
        """This process spends its time, after a step, on a kind of `Clock` from now on."""
        (before, number), _, _ = self._now
        place = (step, number + 1 if step == before else 0)
        if kind in WAITED_FOR:
            self._now = place, f"{WAITED_FOR[kind]} {step + 1}", self.timeout
        else:
            self._now = place, f"{KINDS[kind]} after step {step}", PATIENCE

    def __enter__(self) -> Peers:
        if self.active:
            import jax

            self.index, self.count = jax.process_index(), jax.process_count()
            self._keys = processes.fresh("peers")
            processes.delay_abort()
            # behind a proxy the port may be closed to us, and not to JAX
            self._can_look = self.index > 0 and not processes.is_closed(processes.coordinator())
            for target in (self._give_signs, self._watch):
                thread = threading.Thread(target=target, name="peers", daemon=True)
                thread.start()
                self._threads.append(thread)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not self.active:
            return
        if error is None:
            self._write("finished")
        elif _COMMUNICATION.search(str(error)) and not isinstance(error, KeyboardInterrupt):
            self.timeout = min(self.timeout, 5.0)  # one of them is gone for sure
            self._ended.wait(self.timeout + 5 * EVERY)  # the thread that watches ends the process
        self._failed = error is not None
        if error is not None:
            self._write(" ".join(f"{type(error).__name__}: {error}".split())[:500])
            if self.index == 0:  # which holds what the others read
                self._read_by_all.wait(GRACE)
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * EVERY)

    # ------------------------------------------------------------ threads

    def _give_signs(self) -> None:
        """Writes and reads; a call may hang for as long as process 0 does not answer."""
        seen = {n: Seen(None, time.monotonic(), time.monotonic()) for n in range(self.count)}
        while not self._ended.wait(EVERY):
            try:
                self._write()
                if self.index == 0:
                    self._judge(seen)
                else:
                    found = processes.store().key_value_dir_get(f"{self._keys}/verdict")
                    self._verdict = found[0][1] if found else ""
            except Exception:
                continue
            self._answered = time.monotonic()

    def _write(self, end: str = "") -> None:
        self._end = end or self._end
        sign = Sign(next(self._beats), *self._now, self._end)
        key = f"{self._keys}/signs/{self.index}"
        with contextlib.suppress(Exception):  # unreachable: `_watch` counts the seconds
            processes.store().key_value_set(key, json.dumps(sign), allow_overwrite=True)

    def _judge(self, seen: dict[int, Seen]) -> None:
        now = time.monotonic()
        for key, text in processes.store().key_value_dir_get(f"{self._keys}/signs"):
            each, sign = seen[int(key.rpartition("/")[2])], Sign.of(text)
            if each.sign is None or sign.place != each.sign.place:
                each.moved = now
            if each.sign is None or sign.beat != each.sign.beat:
                each.alive = now
            each.sign = sign
        fault = find_fault(seen, now, self.timeout)
        if fault and not self._verdict:
            processes.store().key_value_set(f"{self._keys}/verdict/0", fault)
            self._verdict = fault
        if self._verdict and all(
            n == 0 or now - s.alive > self.timeout or (s.sign and s.sign.end)
            for n, s in seen.items()
        ):  # who gives no sign does not read
            self._read_by_all.set()

    def _fault_of_first(self, silent: float) -> str:
        """Why process 0 is given up after so many seconds without an answer; "" if it is not."""
        if silent > self.timeout:
            return f"{FIRST_NAME} has not answered for {silent:.0f} s: it is dead or frozen"
        address = processes.coordinator()
        if self._can_look and silent > 2 * EVERY and processes.is_closed(address):
            return f"{FIRST_NAME} is dead: nothing listens at {address} any more"
        return ""

    def _watch(self) -> None:
        while not self._ended.wait(EVERY / 4):
            silent = time.monotonic() - self._answered
            if self.index and not self._verdict:
                self._verdict = self._fault_of_first(silent)
            if self._verdict and not self._failed:
                break
        else:
            return
        line = f"process {self.index} of {self.count} ends: {self._verdict}"
        if " ended with " in self._verdict:
            print_line(f"error: {line}", error=True)
        else:
            report(self.folder, line, processes.mine(STACKS))
        if self.index == 0:  # which holds the verdict
            self._read_by_all.wait(GRACE)
        elif not self._verdict.startswith(FIRST_NAME):
            self._write("read")
        self._leave(1 if " ended with " in self._verdict else EXIT_CODE)
