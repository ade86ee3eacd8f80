"""A sweep: the same run with each choice of some settings, one process each, in folders by name.

A sweep is its folder: what is finished there is not run again, what was interrupted goes on, and
what fails is told of while the rest goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from transformers_jax.publish import publish, publish_json
from transformers_jax.runs import plots
from transformers_jax.runs.compare import grid as markdown_table
from transformers_jax.training.metrics import show_time
from transformers_jax.training.provenance import read_json
from transformers_jax.runs.summary import Summary, summarise

PROGRAM = (sys.executable, "-m", "transformers_jax", "pretrain")
POLL = 0.1  # seconds between looks at the processes
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    settings: tuple[tuple[str, str], ...]
    """(flag, value) of what is swept"""
    folder: Path
    steps: int
    """how many are wanted"""
    fingerprint: str
    """of the config: what must be the same for a run to be this one"""

    @property
    def label(self) -> str:
        """ "optimizer.peak=1e-4,data.batch=16" """
        return ",".join(f"{name}={value}" for name, value in self.settings)


def run_sweep(
    config_path: str,
    arguments: Sequence[str],
    grid: Mapping[str, Sequence[str]],
    out: str,
    jobs: int = 1,
) -> int:
    """Runs a config with each choice of values, `jobs` at a time; returns the exit status.

    `grid` is {"optimizer.peak": ["1e-4", "3e-4"], ...}; `arguments` are flags that all runs share.
    The run of a choice is in OUT/optimizer.peak=1e-4,...; OUT/sweep.md and sweep.png sum them up
    and are written anew whenever a run ends. With one job, the run has the terminal; with several,
    each writes OUT/NAME.log. Signals are passed on to the runs, which save and stop.

    0: all finished. 1: some failed. 128 + n: signal n ended the sweep; the same command goes on.

    Raises:
        ValueError: a setting or value that the config does not take, a grid without values, or a
            folder that holds another sweep; before anything is run.
    """
    if jobs < 1:
        raise ValueError(f"--sweep-jobs ({jobs}) must be at least 1")
    points = make_points(config_path, arguments, grid, Path(out).expanduser())
    sweep = Sweep(config_path, arguments, points, Path(out).expanduser(), jobs)
    return sweep.run()


def make_points(
    config_path: str, arguments: Sequence[str], grid: Mapping[str, Sequence[str]], out: Path
) -> list[Point]:
    """The runs of a sweep, the last setting changing fastest.

    Raises:
        ValueError: as `run_sweep`.
    """
    from transformers_jax.runs import flags
    from transformers_jax.training import config

    empty = [name for name, values in grid.items() if not values or not all(values)]
    twice = [name for name, values in grid.items() if len(set(values)) < len(values)]
    if not grid or empty or twice:
        what = f"{empty[0]} has an empty value" if empty else f"{(twice or ['nothing'])[0]}"
        what += "" if empty else " has a value twice" if twice else " is swept"
        raise ValueError(f"--sweep: {what}; expected NAME=V1,V2, as in optimizer.peak=1e-4,3e-4")
    base, points = config.load(config_path), []
    for values in itertools.product(*grid.values()):
        settings = tuple(zip(grid, values))
        try:
            chosen = flags.override(base, [*arguments, *_flags(settings)], "pretrain")
        except ValueError as error:
            label = ",".join(f"{name}={value}" for name, value in settings)
            raise ValueError(f"--sweep {label}: {error}") from None
        folder = out / folder_name(settings)
        points.append(Point(settings, folder, chosen.steps, config.fingerprint(chosen)))
    known = read_json(out / "sweep.json").get("runs", {})
    changed = [p.label for p in points if known.get(p.folder.name, p.fingerprint) != p.fingerprint]
    if changed:
        raise ValueError(
            f"{out} holds a sweep of another config: {changed[0]} was made with other settings; "
            "choose another --out, or the settings it was made with"
        )
    return points


def folder_name(settings: Sequence[tuple[str, str]]) -> str:
    """The folder of a choice; what no folder may be called is replaced, and told apart by a sum."""
    label = ",".join(f"{name}={value}" for name, value in settings)
    safe = re.sub(r"[^\w.,=+-]", "_", label)[:150]
    return safe if safe == label else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


class Sweep:
    """The runs of a sweep and the processes in which they run."""

    def __init__(
        self,
        config_path: str,
        arguments: Sequence[str],
        points: Sequence[Point],
        out: Path,
        jobs: int,
    ):
        self.config_path, self.arguments = config_path, list(arguments)
        self.points, self.out, self.jobs = list(points), out, jobs
        self.failed: dict[Point, str] = {}
        self.stopped_by: signal.Signals | None = None
        self._running: dict[Point, tuple[subprocess.Popen, float]] = {}
        self._ended = 0

    def run(self) -> int:
        """All of them; returns the exit status."""
        self.out.mkdir(parents=True, exist_ok=True)
        known = read_json(self.out / "sweep.json").get("runs", {})
        made = {point.folder.name: point.fingerprint for point in self.points}
        publish_json(self.out / "sweep.json", {"config": self.config_path, "runs": known | made})
        waiting = [point for point in self.points if not self._is_done(point)]
        self._ended = len(self.points) - len(waiting)
        if self._ended:
            print(f"{self._ended} of {len(self.points)} runs are finished already", flush=True)
        before = self._listen()
        try:
            while self._running or (waiting and self.stopped_by is None):
                while waiting and len(self._running) < self.jobs and self.stopped_by is None:
                    self._start(waiting.pop(0))
                self._reap()
                time.sleep(POLL)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for process, _ in self._running.values():  # only if this loop itself has failed
                process.terminate()
        self._write()
        print(self._table(), flush=True)
        print(f"wrote {self.out / 'sweep.md'}", flush=True)
        for point, why in self.failed.items():
            print(f"failed: {point.label}: {why}", file=sys.stderr, flush=True)
        if self.stopped_by is not None:
            return 128 + int(self.stopped_by)
        return 1 if self.failed else 0

    def _is_done(self, point: Point) -> bool:
        run = summarise(point.folder)
        return run.state == "finished" and run.step >= point.steps

    def _start(self, point: Point) -> None:
        swept = [*_flags(point.settings), f"--out={point.folder}"]
        command = [*PROGRAM, self.config_path, *self.arguments, *swept]
        environment = dict(os.environ)
        said: dict[str, Any] = {}
        if self.jobs > 1:
            log = (self.out / f"{point.folder.name}.log").open("ab")
            said = {"stdout": log, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
            # JAX takes three quarters of a GPU for itself, unless told how much.
            share = f"{0.9 / self.jobs:.3f}"
            environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
        print(f"--- {point.label}: {shlex.join(command)}", flush=True)
        # A group of its own: Ctrl-C reaches this process, which passes it on, and once.
        process = subprocess.Popen(command, env=environment, process_group=0, **said)
        if self.jobs > 1:
            log.close()
        self._running[point] = process, time.perf_counter()
        if self.stopped_by is not None:  # the signal came while it was being started
            process.send_signal(self.stopped_by)

    def _reap(self) -> None:
        """Takes note of the processes that have ended."""
        for point, (process, began) in list(self._running.items()):
            status = process.poll()
            if status is None:
                continue
            del self._running[point]
            self._ended += 1
            run = summarise(point.folder)
            how = "finished" if status == 0 else f"ended with status {status}"
            if status != 0 and not (self.stopped_by and status in _stops(self.stopped_by)):
                self.failed[point] = f"{how}{self._last_words(point)}"
            loss = "" if run.eval_loss is None else f", eval loss {run.eval_loss:.4f}"
            took = show_time(time.perf_counter() - began)
            count = f"[{self._ended}/{len(self.points)}]"
            print(f"{count} {point.label}: {how}{loss}, {took}", flush=True)
            self._write()

    def _last_words(self, point: Point) -> str:
        log = self.out / f"{point.folder.name}.log"
        lines = log.read_text(errors="replace").splitlines() if self.jobs > 1 else []
        return f": {lines[-1][:300]}" if lines else ""

    def _listen(self) -> dict[signal.Signals, Any]:
        """Passes signals on from now; returns what was done with them before."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._forward) for number in FORWARDED}

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGUSR1:  # which asks to save and to go on
            self.stopped_by = signal.Signals(number)
        passed = signal.SIGTERM if number == signal.SIGHUP else number
        for process, _ in list(self._running.values()):
            process.send_signal(passed)

    # ------------------------------------------------------------ what came out

    def _write(self) -> None:
        """sweep.md and sweep.png, of what there is."""
        found = {point: summarise(point.folder) for point in self.points}
        drawn = _draw(found, self.out / "sweep.png")
        names = [name for name, _ in self.points[0].settings]
        command = shlex.join(["transformers-jax", "pretrain", self.config_path, *self.arguments])
        for name in names:
            values = dict.fromkeys(dict(point.settings)[name] for point in self.points)
            command += f" --sweep {shlex.quote(name + '=' + ','.join(values))}"
        text = f"# Sweep of {', '.join(names)}\n\n```sh\n{command} --out {self.out}\n```\n\n"
        text += self._table() + ("\n\n![held-out loss](sweep.png)\n" if drawn else "\n")
        publish(self.out / "sweep.md", text)

    def _table(self) -> str:
        """A row for each run; the best is marked."""
        found = {point: summarise(point.folder) for point in self.points}
        losses = [run.eval_loss for run in found.values() if run.eval_loss is not None]
        number = lambda value, form: "-" if value is None else form.format(value)
        rows = []
        for point, run in found.items():
            state = (
                "waiting" if run.state == "not a run" or not point.folder.exists() else run.state
            )
            state = "failed" if point in self.failed else state
            best = " (best)" if losses and run.eval_loss == min(losses) else ""
            loss = number(run.eval_loss, "{:.4f}") + best
            figures = [number(run.loss, "{:.4f}"), loss, number(run.bits_per_byte, "{:.4f}")]
            speed = number(run.tokens_per_second, "{:,.0f}")
            values = [value for _, value in point.settings]
            rows.append([*values, state, f"{run.step:,}/{point.steps:,}", *figures, speed])
        names = [name for name, _ in self.points[0].settings]
        head = ["state", "steps", "loss", "eval loss", "bits/byte", "tokens/s"]
        return markdown_table([*names, *head], rows)


def _draw(found: Mapping[Point, Summary], file: Path) -> bool:
    """The held-out loss over the setting with most values; whether there was anything to draw."""
    names = [name for name, _ in next(iter(found)).settings]
    values = {name: {dict(point.settings)[name] for point in found} for name in names}
    along = max(names, key=lambda name: len(values[name]))
    lines: dict[str, list[tuple[str, float]]] = {}
    for point, run in found.items():
        if run.eval_loss is not None:
            label = ", ".join(f"{n}={v}" for n, v in point.settings if n != along)
            lines.setdefault(label, []).append((dict(point.settings)[along], run.eval_loss))
    if lines:
        plots.plot_sweep(along, lines, file)
    return bool(lines)


def _flags(settings: Sequence[tuple[str, str]]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings]


def _stops(by: signal.Signals) -> set[int]:
    """Statuses of a run that was asked to stop: it saved, or had not come so far."""
    known = {signal.SIGTERM, signal.SIGINT, by}
    return {128 + int(number) for number in known} | {-int(number) for number in known}
