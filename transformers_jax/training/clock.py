"""Goodput: into what the wall time of a run went, and which part of it left something behind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from transformers_jax.publish import publish_json
from transformers_jax.training.provenance import now, read_json

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
"""Names of goodput.json, and how a report calls them."""


class Clock:
    """Every second of a process belongs to one kind; a kind inside another interrupts it.

        with clock("steps"):
            with clock("input"):
                batch = next(batches)

    Seconds outside of any `with` are "other". goodput.json is written every `every` seconds, so
    that a killed process leaves a true record of all but its last ones.
    """

    def __init__(self, folder: Path, every: float = 30.0):
        self.file, self.every = folder / FILE, every
        self._before = read_json(self.file).get("sessions", [])
        self._seconds: dict[str, float] = {}
        self._kinds = ["other"]
        self._began, self._from, self._to = now(), 0, 0
        self._mark = self._saved = time.perf_counter()

    def __call__(self, kind: str) -> Span:
        """Seconds inside of `with clock(kind):` belong to it."""
        assert kind in {*KINDS} - {"lost"}, kind
        return Span(self, kind)

    def resume(self, step: int) -> None:
        """The process goes on from this step; steps that came after it before are lost."""
        self._from = self._to = step

    def step(self, number: int) -> None:
        """A step has ended."""
        self._to = number
        if time.perf_counter() - self._saved > self.every:
            self.save()

    def seconds(self) -> dict[str, float]:
        """Of this process, until now, by kind."""
        self._turn()
        return dict(self._seconds)

    def summary(self) -> dict[str, Any]:
        """The content of goodput.json: of all processes of the run."""
        session = {
            "began": self._began,
            "from": self._from,
            "to": self._to,
            "seconds": self.seconds(),
        }
        return summarise([*self._before, session])

    def save(self) -> dict[str, Any]:
        """Writes goodput.json; returns its content."""
        found = self.summary()
        publish_json(self.file, found)
        self._saved = time.perf_counter()
        return found

    def _turn(self) -> None:
        """Gives the time since the last turn to the kind that ran."""
        time_now, kind = time.perf_counter(), self._kinds[-1]
        self._seconds[kind] = self._seconds.get(kind, 0.0) + time_now - self._mark
        self._mark = time_now


class Span:
    """What `with clock(kind):` enters."""

    __slots__ = ("clock", "kind")

    def __init__(self, clock: Clock, kind: str):
        self.clock, self.kind = clock, kind

    def __enter__(self) -> Span:
        self.clock._turn()
        self.clock._kinds.append(self.kind)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clock._turn()
        self.clock._kinds.pop()


def summarise(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds by kind over the processes of a run, with `lost`, `total` and `goodput`.

    A process that goes on from a step before the last one of its predecessor makes steps again.
    What they had taken moves from "steps" to "lost", as their share of the steps of that process.
    `goodput` is the share of the total that went into steps that lasted.
    """
    seconds: dict[str, float] = {}
    alive: list[list[float]] = []  # from, to, seconds of steps: what of each session still counts
    lost = 0.0
    for session in sessions:
        for kind, value in session["seconds"].items():
            seconds[kind] = seconds.get(kind, 0.0) + value
        for part in alive:
            first, last, spent = part
            kept = max(first, min(last, session["from"]))
            if kept < last:
                gone = spent * (last - kept) / (last - first)
                lost += gone
                part[1:] = kept, spent - gone
        alive.append([session["from"], session["to"], session["seconds"].get("steps", 0.0)])
    if lost:
        seconds["steps"] -= lost
        seconds["lost"] = lost
    total = sum(seconds.values())
    return {
        "goodput": seconds.get("steps", 0.0) / total if total else 0.0,
        "total": total,
        "seconds": seconds,
        "sessions": list(sessions),
    }
