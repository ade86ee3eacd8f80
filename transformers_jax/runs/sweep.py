"""A sweep: the same run with each choice of some settings, one process each, in folders by name.

A sweep is its folder: what is finished there is not run again, what was interrupted goes on, and a
run that fails is reported while the others go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from transformers_jax.flags import Misuse, flag_of
from transformers_jax.json_files import json_or_empty
from transformers_jax.nn.param import flatten
from transformers_jax.printing import print_line
from transformers_jax.publish import publish, publish_json
from transformers_jax.runs import plots
from transformers_jax.runs.page import table
from transformers_jax.runs.summary import COLUMNS, cells, compared_by, summarise
from transformers_jax.training import config
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.folder import check_out, differing, with_added
from transformers_jax.training.metrics import show_time

PROGRAM = (sys.executable, "-m", "transformers_jax")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SHOWN = ("state", "step", "loss", "eval_loss", "bits_per_byte", "tokens_per_second")


@dataclass(frozen=True)
class Start:
    """The command that starts each run.

    Attributes:
        name: of the command: pretrain, finetune.
        arguments: a config, and flags that all runs share.
        configure: from arguments and the name of the program to a config.
    """

    name: str
    arguments: tuple[str, ...]
    configure: Callable[[Sequence[str], str], TrainConfig]

    def config(self, *flags: str) -> TrainConfig:
        """The config of a run with further flags."""
        return self.configure([*self.arguments, *flags], self.name)


@dataclass(frozen=True, eq=False)
class Point:
    """One run of a sweep."""

    settings: dict[str, str]
    """the value of each swept setting, by name"""
    folder: Path
    steps: int
    """of the config"""
    identity: dict[str, Any]
    """what must be the same for a run to be this one: settings of the config by name"""
    flags: tuple[str, ...]
    """those that choose the settings"""

    @property
    def label(self) -> str:
        """ "optimizer.peak=1e-4,data.batch=16" """
        return label_of(self.settings)


def run_sweep(start: Start, grid: Mapping[str, Sequence[str]], out: str, jobs: int = 1) -> int:
    """Runs a config with each choice of values, `jobs` at a time; returns the exit status.

    `grid` is {"optimizer.peak": ["1e-4", "3e-4"], ...}.
    The run of a choice is in OUT/optimizer.peak=1e-4,...; OUT/sweep.md and sweep.png sum them up
    and are written anew whenever a run ends. With one job, the run has the terminal; with several,
    each writes OUT/NAME.log. Signals are passed on to the runs, which save and stop.

    0: all finished. 1: some failed. 128 + n: signal n ended the sweep; the same command goes on.

    Raises:
        Misuse: a setting or value that the config does not take, a grid without values.
        ValueError: a folder that holds another sweep. Either comes before anything is run.
    """
    if jobs < 1:
        raise Misuse(f"--sweep-jobs ({jobs}) must be at least 1")
    folder = check_out(out, "auto")
    return Sweep(start, make_points(start, grid, folder), folder, jobs).run()


def make_points(start: Start, grid: Mapping[str, Sequence[str]], out: Path) -> list[Point]:
    """The runs of a sweep, the last setting changing fastest.

    Raises:
        ValueError: as `run_sweep`.
    """
    problems = [
        f"{name} has an empty value" for name, values in grid.items() if not all(values or [""])
    ]
    problems += ["out is the folder of the sweep, in which each run has its own"] * ("out" in grid)
    problems += [
        f"{n} has a value twice" for n, values in grid.items() if len({*values}) < len(values)
    ]
    if not grid or problems:
        problem = (problems or ["nothing is swept"])[0]
        raise Misuse(f"--sweep: {problem}; expected NAME=V1,V2, as in optimizer.peak=1e-4,3e-4")
    base, points, changed = start.config(), [], ""
    known = json_or_empty(out / "sweep.json").get("runs", {})
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values))
        try:
            flags = tuple(flag_of(base, name, value) for name, value in settings.items())
            chosen = start.config(*flags, f"--out={out}")
        except ValueError as error:
            kind = Misuse if isinstance(error, Misuse) else ValueError
            raise kind(f"--sweep {label_of(settings)}: {error}") from None
        folder, identity = out / folder_name(settings), config.identity(chosen)
        points.append(Point(settings, folder, chosen.steps, identity, flags))
        others = _changed(known.get(folder.name), chosen, folder)
        changed = changed or (f"{label_of(settings)} {others}" if others else "")
    if changed:
        raise ValueError(
            f"{out} holds a sweep of another config: {changed}; choose another --out, or the "
            "settings it was made with"
        )
    return points


def _changed(recorded: Any, chosen: TrainConfig, folder: Path) -> str:
    """By which settings a run of the sweep is another one than was recorded, "" where it is the
    same. Settings that were added since have their default, as for a run that is continued."""
    now = config.identity(chosen)
    if isinstance(recorded, str):  # a digest, of the settings that the run's config.json has
        written = flatten(json_or_empty(folder / "config.json"))
        digest, recorded = recorded, {name: now[name] for name in now if name in written}
        if written and config.fingerprint(recorded) != digest:
            return "was made with other settings"
    if not recorded:  # of this choice there is nothing yet
        return ""
    return ", ".join(differing(with_added(recorded, chosen, now), now).values())


def label_of(settings: Mapping[str, str]) -> str:
    """ "optimizer.peak=1e-4,data.batch=16" """
    return ",".join(f"{name}={value}" for name, value in settings.items())


def folder_name(settings: Mapping[str, str]) -> str:
    """The label of a choice as the name of a folder: other characters are replaced, and a digest
    distinguishes labels that are equal after that."""
    label = label_of(settings)
    safe = re.sub(r"[^\w.,=+-]", "_", label)[:150]
    return safe if safe == label else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


class Sweep:
    """The runs of a sweep and the processes in which they run."""

    def __init__(self, start: Start, points: list[Point], out: Path, jobs: int):
        self.start, self.points, self.out, self.jobs = start, points, out, jobs
        self.failed: dict[Point, str] = {}
        self.stopped_by: signal.Signals | None = None
        self._processes: dict[Point, subprocess.Popen] = {}
        self._ended, self._saying = 0, threading.Lock()

    def run(self) -> int:
        """All of them; returns the exit status."""
        self.out.mkdir(parents=True, exist_ok=True)
        known = json_or_empty(self.out / "sweep.json").get("runs", {})
        runs = known | {point.folder.name: point.identity for point in self.points}
        about = {"command": self.start.name, "arguments": list(self.start.arguments)}
        publish_json(self.out / "sweep.json", {**about, "runs": runs})
        waiting = [point for point in self.points if not self._is_done(point)]
        self._ended = len(self.points) - len(waiting)
        if self._ended:
            print_line(f"{self._ended} of {len(self.points)} runs are finished already")
        with self._forward_signals(), ThreadPoolExecutor(self.jobs) as pool:
            try:
                for future in as_completed(pool.submit(self._train, point) for point in waiting):
                    if future.result():
                        self._write()
            except BaseException:  # of this loop itself: no run goes on without it
                self._send(signal.SIGTERM)
                raise
        self._write()
        print_line(f"{self._table()}\nwrote {self.out / 'sweep.md'}")
        for point, why in self.failed.items():
            print_line(f"failed: {point.label}: {why}", error=True)
        return 128 + self.stopped_by if self.stopped_by is not None else int(bool(self.failed))

    def _is_done(self, point: Point) -> bool:
        run = summarise(point.folder)
        return run.state == "finished" and run.step >= point.steps

    def _train(self, point: Point) -> bool:
        """Whether the process of a point was run; not if the sweep was stopped before. Its end is
        said here, before the thread begins the next."""
        if self.stopped_by is not None:
            return False
        command = [*PROGRAM, self.start.name, *self.start.arguments, *point.flags]
        command.append(f"--out={point.folder}")
        environment, began = dict(os.environ), time.perf_counter()
        with contextlib.ExitStack() as stack:
            streams: dict[str, Any] = {}
            if self.jobs > 1:
                log = stack.enter_context(self._log(point).open("ab"))
                streams = dict(stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
                # JAX takes three quarters of a GPU by default.
                share = f"{0.9 / self.jobs:.3f}"
                environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
            print_line(f"--- {point.label}: {shlex.join(command)}")
            # A group of its own: Ctrl-C reaches this process, which passes it on, and once.
            process = subprocess.Popen(command, env=environment, process_group=0, **streams)
        self._processes[point] = process
        if self.stopped_by is not None:  # the signal came while it was being started
            process.send_signal(_passed_on(self.stopped_by))
        status = process.wait()
        del self._processes[point]
        with self._saying:
            self._say_end(point, status, time.perf_counter() - began)
        return True

    def _say_end(self, point: Point, status: int, seconds: float) -> None:
        """Prints how a run has ended."""
        self._ended += 1
        run = summarise(point.folder)
        how = "finished" if status == 0 else f"ended with status {status}"
        if status != 0 and not (self.stopped_by and status in _stops(self.stopped_by)):
            log = self._log(point).read_text(errors="replace") if self.jobs > 1 else ""
            self.failed[point] = how + "".join(f": {line[:300]}" for line in log.splitlines()[-1:])
        loss = "" if run.eval_loss is None else f", eval loss {run.eval_loss:.4f}"
        count = f"[{self._ended}/{len(self.points)}]"
        print_line(f"{count} {point.label}: {how}{loss}, {show_time(seconds)}")

    def _log(self, point: Point) -> Path:
        return self.out / f"{point.folder.name}.log"

    # ------------------------------------------------------------ signals

    @contextlib.contextmanager
    def _forward_signals(self) -> Iterator[None]:
        """Within this, signals are passed on to the runs."""
        in_main = threading.current_thread() is threading.main_thread()
        before = {n: signal.signal(n, self._forward) for n in FORWARDED if in_main}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGUSR1:  # which makes a run save and go on
            self.stopped_by = signal.Signals(number)
        self._send(_passed_on(number))

    def _send(self, number: int) -> None:
        for process in list(self._processes.values()):
            process.send_signal(number)

    # ------------------------------------------------------------ results

    def _write(self) -> None:
        """sweep.md and sweep.png, of the runs that have begun."""
        drawn = self._draw()
        names = list(self.points[0].settings)
        command = shlex.join(["transformers-jax", self.start.name, *self.start.arguments])
        for name in names:
            values = dict.fromkeys(point.settings[name] for point in self.points)
            command += f" --sweep {shlex.quote(name + '=' + ','.join(values))}"
        text = f"# Sweep of {', '.join(names)}\n\n```sh\n{command} --out {self.out}\n```\n\n"
        text += self._table() + ("\n\n![held-out loss](sweep.png)\n" if drawn else "\n")
        publish(self.out / "sweep.md", text)

    def _table(self) -> str:
        """A row for each run; the best is marked, in bits per byte where tokenizers differ."""
        runs = [replace(summarise(point.folder), steps=point.steps) for point in self.points]
        figure = compared_by(runs)
        figures = [value for run in runs if (value := getattr(run, figure)) is not None]
        known = [value for value in figures if math.isfinite(value)]
        rows = []
        for point, run in zip(self.points, runs):
            texts = cells(run)
            if point in self.failed:
                texts["state"] = "failed"
            elif run.state == "not a run":
                texts["state"] = "waiting"
            if known and getattr(run, figure) == min(known):
                texts[figure] += " (best)"
            rows.append([*point.settings.values()] + [texts[name] for name in SHOWN])
        return table([*self.points[0].settings, *(COLUMNS[name][0] for name in SHOWN)], rows)

    def _draw(self) -> bool:
        """Plots the held-out loss over the setting with most values; whether there was any."""
        count = lambda name: len({point.settings[name] for point in self.points})
        along = max(self.points[0].settings, key=count)
        lines: dict[str, list[tuple[str, float]]] = {}
        runs = [summarise(point.folder) for point in self.points]
        figure = compared_by(runs)
        for point, run in zip(self.points, runs):
            loss = getattr(run, figure)
            if loss is not None and math.isfinite(loss):
                label = ", ".join(f"{n}={v}" for n, v in point.settings.items() if n != along)
                lines.setdefault(label, []).append((point.settings[along], loss))
        if lines:
            plots.plot_sweep(along, lines, self.out / "sweep.png", figure)
        return bool(lines)


def _passed_on(number: int) -> int:
    """The signal that a run is sent: where a terminal closes it saves and stops, too."""
    return signal.SIGTERM if number == signal.SIGHUP else number


def _stops(by: signal.Signals) -> set[int]:
    """Statuses of a run that a signal has stopped: it saved, or had not come so far."""
    known = {signal.SIGTERM, signal.SIGINT, by}
    return {128 + number for number in known} | {-number for number in known}
