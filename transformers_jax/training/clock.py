"""Goodput: what the wall time of a run was spent on, and the share of it whose steps lasted."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers_jax.json_files import json_or_empty
from transformers_jax.publish import publish_json
from transformers_jax.training.provenance import now

FILE = "goodput.json"
KINDS = {
    "steps": "steps",
    "lost": "steps that had to be made again",
    "compile": "compiling",
    "input": "waiting for data",
    "evaluation": "evaluation",
    "saving": "saving",
    "restoring": "restoring",
    "sampling": "samples, export and report",
    "other": "start and all else",
}
"""Names of goodput.json, and what a report calls them."""


class Clock:
    """Every second of a process belongs to one kind; a kind inside another interrupts it.

        with clock("steps"):
            with clock("input"):
                batch = next(batches)

    Seconds outside of any `with` are "other". goodput.json is written every `every` seconds, so
    that a killed process leaves a true record of all but its last ones.

    Args:
        owner: whether this process writes; of several only one does.

    Attributes:
        announce: called with (step, kind) where a kind begins.
    """

    def __init__(self, folder: Path, every: float = 30.0, owner: bool = True):
        self.file, self.every, self.owner = folder / FILE, every, owner
        self.announce: Callable[[int, str], None] = lambda step, kind: None
        self._before = json_or_empty(self.file).get("sessions", [])
        self._seconds: Counter[str] = Counter()
        self._kind = "other"
        self._began, self._from, self._to = now(), 0, 0
        self._mark = self._saved = time.perf_counter()

    @contextlib.contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Seconds inside of `with clock(kind):` belong to it."""
        assert kind in {*KINDS} - {"lost"}, kind
        outer = self._kind
        self._switch(kind)
        self.announce(self._to, kind)
        try:
            yield
        finally:
            self._switch(outer)
            self.announce(self._to, outer)

    def _switch(self, kind: str) -> None:
        """Adds the time since the last switch to the kind until now."""
        time_now = time.perf_counter()
        self._seconds[self._kind] += time_now - self._mark  # type: ignore[assignment]
        self._kind, self._mark = kind, time_now

    def resume(self, step: int) -> None:
        """The process goes on from this step; steps that came after it before are lost."""
        self._from = self._to = step

    def step(self, number: int) -> None:
        """A step has ended."""
        self._to = number
        self.announce(number, self._kind)
        if time.perf_counter() - self._saved > self.every:
            self.save()

    def seconds(self) -> dict[str, float]:
        """Of this process, until now, by kind."""
        self._switch(self._kind)
        return dict(self._seconds)

    def summary(self) -> dict[str, Any]:
        """The content of goodput.json: of all processes of the run."""
        session = {"began": self._began, "from": self._from, "to": self._to}
        return summarise([*self._before, {**session, "seconds": self.seconds()}])

    def save(self) -> dict[str, Any]:
        """Writes goodput.json; returns its content."""
        summary = self.summary()
        if self.owner:
            publish_json(self.file, summary)
        self._saved = time.perf_counter()
        return summary


def summarise(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds by kind over the processes of a run, with `lost`, `total` and `goodput`.

    A process that goes on from a step before the last one of its predecessor makes steps again.
    What they had taken moves from "steps" to "lost", as their share of the steps of that process.
    `goodput` is the share of the total that went into steps that lasted.
    """
    seconds: dict[str, float] = {}
    lasting: list[list[float]] = []  # first, last, seconds of steps: what of each session counts
    lost = 0.0
    for session in sessions:
        for kind, value in session["seconds"].items():
            seconds[kind] = seconds.get(kind, 0.0) + value
        for part in lasting:
            first, last, spent = part
            end = max(first, min(last, session["from"]))
            if end < last:
                again = spent * (last - end) / (last - first)
                lost += again
                part[1:] = end, spent - again
        lasting.append([session["from"], session["to"], session["seconds"].get("steps", 0.0)])
    if lost:
        seconds["steps"] -= lost
        seconds["lost"] = lost
    total = sum(seconds.values())
    goodput = seconds.get("steps", 0.0) / total if total else 0.0
    return dict(goodput=goodput, total=total, seconds=seconds, sessions=list(sessions))
