"""What a person reads of a run: a live panel on a terminal, plain lines in a log."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from transformers_jax import processes
from transformers_jax.printing import print_line, to_nowhere
from transformers_jax.training.metrics import Line, figures, measured, show_time, thin

PROGRESS_EVERY = 30.0  # seconds between lines of a log about something long
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", ".:-=+*%#"


def console(steps: int, start: int, every: int, title: str = "") -> Console:
    """A live panel on a terminal, plain lines elsewhere; of several processes, one has it."""
    if not processes.is_first():
        return Quiet(steps, every)
    on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: it is closed
    if on_terminal and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return Panel(steps, start, title=title)
    return Console(steps, every)


class Console:
    """Plain lines, for logs: a line every `every` steps, with the same figures as on a terminal."""

    def __init__(self, steps: int, every: int = 1):
        self.steps, self.every = steps, every
        self._first: tuple[int, float] | None = None
        self._saving: dict[int, float] = {}
        self._said = time.perf_counter()

    def say(self, text: str) -> None:
        """Prints one line."""
        print_line(text)
        self._said = time.perf_counter()

    def step(self, line: Line) -> None:
        """Call when a step has ended."""
        number, seconds = line["step"], self.seconds_left(line["step"])
        if number == 1 or number % self.every == 0 or number == self.steps or measured(line):
            left = "" if seconds is None else f"  {show_time(seconds)} left"
            self.say(f"step {number}/{self.steps}  {words(line)}{left}")

    def status(self, text: str) -> None:
        """What the run does, if it is not a step: "compiling", "evaluating"; "" ends it. A log has
        no such lines."""

    def progress(self, text: str) -> None:
        """How far it is with something long that is no step; a log has a line now and then."""
        if time.perf_counter() - self._said > PROGRESS_EVERY:
            self.say(text)

    def saving(self, step: int) -> None:
        """A checkpoint has begun to be written."""
        self._saving[step] = time.perf_counter()
        self.say(f"saving {step} ...")

    def saved(self, step: int) -> None:
        """It is complete on disk."""
        self.say(f"saved {step} in {time.perf_counter() - self._saving.pop(step):.1f} s")

    def close(self) -> None:
        """No more steps."""

    def seconds_left(self, step: int, now: float | None = None) -> float | None:
        """Seconds that the rest of the run will take, by its own pace, evaluations and saves
        included; call it after each step. None until there are two, and at the end."""
        now = time.perf_counter() if now is None else now
        if self._first is None:  # what came before it, compilation, does not come again
            self._first = step, now
        done = step - self._first[0]
        if done < 1 or step >= self.steps:
            return None
        return (self.steps - step) * (now - self._first[1]) / done


class Quiet(Console):
    """What a process that does not write for all has to say: warnings."""

    def say(self, text: str) -> None:
        """Prints a line that is a warning or an error."""
        if text.startswith(("WARNING", "error")):
            print_line(f"process {jax.process_index()}: {text}")


class Panel(Console):
    """A panel that stays at the bottom of a terminal: bar, time left, figures, a curve of the loss.

    A step only leaves its line here; a thread of rich draws, four times a second.
    """

    def __init__(self, steps: int, start: int, screen: Any = None, title: str = ""):
        from rich.console import Console as Screen
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        super().__init__(steps)
        narrow = Column(max_width=20, no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False, table_column=narrow),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,}/{task.total:,}  {task.percentage:.1f}%"),
            TextColumn("{task.fields[left]}"),
            expand=True,
        )
        self._task = self._progress.add_task(title, total=steps, completed=start, left="")
        self._line: Line = {}
        self._evaluation: dict[str, Any] = {}
        self._losses: list[float] = []
        self._status = "compiling"
        self._screen = screen or Screen()
        self._live = Live(
            get_renderable=self.render,
            console=self._screen,
            refresh_per_second=4,
            vertical_overflow="visible",
        )
        self._live.start()

    def say(self, text: str) -> None:
        try:
            self._screen.print(text, highlight=False, markup=False, soft_wrap=True)
        except OSError:  # the terminal is gone
            to_nowhere(sys.stdout)

    def step(self, line: Line) -> None:
        self._line, self._status = line, ""
        seconds = self.seconds_left(line["step"])
        left = "" if seconds is None else f"{show_time(seconds)} left"
        self._progress.update(self._task, completed=line["step"], left=left)
        if math.isfinite(line["loss"]):
            self._losses.append(line["loss"])
        if measured(line):
            names = [name for name in line if name.startswith(("eval_", "bits_per_byte"))]
            self._evaluation = {name: line[name] for name in names}
            self.say(f"step {line['step']:,}  {words({'loss': line['loss'], **self._evaluation})}")

    def status(self, text: str) -> None:
        self._status = text

    progress = status

    def saving(self, step: int) -> None:
        self._saving[step] = time.perf_counter()

    def close(self) -> None:
        self._status = ""
        self._live.stop()

    def render(self) -> Any:
        """What the panel shows now."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.text import Text

        shown = figures({**self._evaluation, **self._line})
        widest = [max((len(pair[n]) for pair in shown), default=0) for n in (0, 1)]
        texts = [
            Text.assemble((f"{label:<{widest[0]}}", "dim"), f" {value:>{widest[1]}}")
            for label, value in shown
        ]
        parts: list[Any] = [self._progress, Columns(texts, padding=(0, 3))]
        if len(self._losses) > 1:
            ends = f" {self._losses[0]:.3f} -> {self._losses[-1]:.3f}"
            blocks = ASCII_BLOCKS if self._screen.options.ascii_only else BLOCKS
            curve = sparkline(self._losses, self._screen.width - len(ends) - 7, blocks)
            parts.append(Text.assemble(("loss ", "dim"), (curve, "cyan"), (ends, "dim")))
        doing = [*(f"saving {step} ..." for step in list(self._saving)), self._status]
        if any(doing):
            parts.append(Text("  ".join(filter(None, doing)), "yellow", no_wrap=True))
        return Group(*parts)


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """A curve in one line of text, `width` characters at most, lowest value to highest."""
    means = thin(np.asarray(values), max(1, width))
    low, span = means.min(), np.ptp(means) or 1.0
    return "".join(blocks[min(7, int(8 * (mean - low) / span))] for mean in means)


def words(line: Line) -> str:
    """The figures of a line as text: "loss 2.3026  lr 1.00e-03  tokens/s 1,024  ..."."""
    return "  ".join(f"{label} {value}" for label, value in figures(line))
