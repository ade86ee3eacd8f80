"""Timed cases: all sides of a case are started, then run in turns, and ratios are taken in pairs.

Only one side computes at a time; a round lets each side run once, in alternating order, so that
whatever slows the machine for a while slows both halves of a pair.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import module_of

ROOT = Path(__file__).parent.parent
AGREE = 2e-3  # relative: float32 on both sides, and a training step or two in between


@dataclass
class Result:
    """The results of a case.

    Attributes:
        rates: median units per second of each side.
        ratios: ours / side, of each round, per side.
        cpu: median ratio of CPU seconds, side / ours: what contention cannot touch.
        memory: highest memory of each side's process, MiB.
        failed: sides that did not run, and why.
    """

    case: str
    unit: str
    rates: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    difference: float = 0.0

    @property
    def best(self) -> str | None:
        """The fastest side of PyTorch; None where none of them ran."""
        theirs = [side for side in self.rates if side != "ours"]
        return max(theirs, key=lambda side: self.rates[side]) if theirs else None

    @property
    def ratio(self) -> float | None:
        """Ours over the best of PyTorch: the median over the pairs."""
        return None if self.best is None else statistics.median(self.ratios[self.best])


class Worker:
    """One side in its process."""

    def __init__(
        self,
        python: str,
        case: str,
        side: str,
        folder: str,
        cores: int | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.side = side
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", case, side, folder],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **(environment or {})},
            preexec_fn=None if cores is None else lambda: limit(cores),
        )

    def next_answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            RuntimeError: the process has ended; the message is its last line.
        """
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        raise RuntimeError(self.last_words())

    def last_words(self) -> str:
        """The last line of an ended process."""
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit {self.process.returncode}"

    def run(self, seconds: float) -> dict[str, list[float]]:
        """The times of some runs."""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.next_answer()

    def stop(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def limit(cores: int) -> None:
    """Limits this process to the last cores of those that it may use."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-cores:]))


def run(
    case: str,
    torch_python: str,
    rounds: int = 7,
    seconds: float = 1.5,
    cores: int | None = None,
) -> Result:
    """All sides of a case, each on so many cores (None: all)."""
    module = module_of(case)
    result = Result(case, getattr(module, "UNITS", {}).get(case, module.UNIT))
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(sys.executable, case, "prepare", folder)
        worker.stop()
        if worker.process.returncode:
            raise RuntimeError(f"{case} cannot be prepared: {worker.last_words()}")
        workers, answers, work = [], {}, 1.0
        for side in module.SIDES:
            python = sys.executable if side == "ours" else torch_python
            worker = Worker(python, case, side, folder, cores)
            try:
                ready = worker.next_answer()
            except RuntimeError as error:
                result.failed[side] = str(error)
                continue
            workers.append(worker)
            answers[side], work = ready["answer"], ready["work"]
            result.ready[side] = ready["ready"]
        result.difference = difference(answers)
        times = {worker.side: [] for worker in workers}
        for number in range(rounds):
            for worker in workers if number % 2 == 0 else reversed(workers):
                times[worker.side].append(worker.run(seconds))
        for worker in workers:
            worker.stop()
    if "ours" not in times:
        raise RuntimeError(f"{case}: our side failed: {result.failed['ours']}")
    middle = {
        side: [[statistics.median(r[kind]) for kind in ("wall", "cpu")] for r in runs]
        for side, runs in times.items()
    }
    for side, medians in middle.items():
        result.rates[side] = work / statistics.median(wall for wall, _ in medians)
        pairs = list(zip(medians, middle["ours"]))
        result.ratios[side] = [theirs[0] / ours[0] for theirs, ours in pairs]
        result.memory[side] = max(r["memory"][-1] for r in times[side])
        result.cpu[side] = statistics.median(theirs[1] / ours[1] for theirs, ours in pairs)
    return result


def difference(answers: dict[str, list[float]]) -> float:
    """The greatest difference between our answer and another, relative to the largest number.

    Raises:
        RuntimeError: the sides do not compute the same.
    """
    ours = np.array(answers.get("ours", []))
    worst, largest = 0.0, np.abs(ours).max(initial=0.0)
    for side, answer in answers.items():
        gap = np.abs(ours - answer).max(initial=0.0)
        own = float(gap / largest if largest else gap)
        if not own <= AGREE:  # NaN neither
            raise RuntimeError(f"{side} answers {answer}, ours {ours.tolist()}")
        worst = max(worst, own)
    return worst
