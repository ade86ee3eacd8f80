"""What a run says while it runs: metrics.jsonl, TensorBoard events, and lines or a bar."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol


class Recorder:
    """metrics.jsonl, one object a step, and TensorBoard events beside it.

    A run that is continued drops the lines after its checkpoint: those steps are made again.
    """

    def __init__(self, folder: Path, start: int, every: int):
        from tensorboardX import SummaryWriter

        self.file = folder / "metrics.jsonl"
        kept = [line for line in read(self.file) if line["step"] <= start]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._lines = self.file.open("a", buffering=1)
        self._events = SummaryWriter(str(folder), purge_step=start + 1, write_to_disk=True)
        self._every = every

    def write(self, line: dict[str, Any]) -> None:
        """Records one step; TensorBoard gets every `log_every`th and all evaluations."""
        self._lines.write(json.dumps(line) + "\n")
        if line["step"] % self._every == 0 or "eval_loss" in line:
            for name, value in line.items():
                if name != "step" and isinstance(value, (int, float)):
                    self._events.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Everything is on disk."""
        self._lines.close()
        self._events.close()


def read(file: str | Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a line that a killed process left unfinished is dropped."""
    lines = []
    for text in Path(file).read_text().splitlines() if Path(file).exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


class Speed:
    """Tokens a second over the last steps."""

    def __init__(self, tokens: int, over: int = 50):
        self.tokens = tokens
        self._times: deque[float] = deque(maxlen=over + 1)

    def tick(self) -> float | None:
        """Call when a step has ended; None until there are two."""
        self._times.append(time.perf_counter())
        if len(self._times) < 2:
            return None
        return self.tokens * (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def pause(self) -> None:
        """The next step does not follow at once: there was an evaluation or a save."""
        self._times.clear()


class Console(Protocol):
    """Where a person reads along."""

    def say(self, text: str) -> None:
        """One line."""

    def step(self, line: dict[str, Any]) -> None:
        """A step has ended."""

    def close(self) -> None:
        """No more steps."""


def console(steps: int, start: int, every: int) -> Console:
    """A live bar on a terminal, plain lines elsewhere."""
    return Bar(steps, start) if sys.stdout.isatty() else Lines(steps, every)


class Lines:
    """One line every `every` steps."""

    def __init__(self, steps: int, every: int):
        self.steps, self.every = steps, every

    def say(self, text: str) -> None:
        print(text, flush=True)

    def step(self, line: dict[str, Any]) -> None:
        number = line["step"]
        if number == 1 or number % self.every == 0 or number == self.steps or "eval_loss" in line:
            left = _left(line, self.steps)
            self.say(f"step {number}/{self.steps}  {_words(line)}{left}")

    def close(self) -> None:
        pass


class Bar:
    """rich's progress bar, with the figures beside it; other lines scroll above."""

    def __init__(self, steps: int, start: int):
        from rich.console import Console as Screen
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Left

        columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.description}"), Left())
        self._progress = Progress(*columns, console=Screen(), refresh_per_second=5)
        self._task = self._progress.add_task("compiling", total=steps, completed=start)
        self._progress.start()

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def step(self, line: dict[str, Any]) -> None:
        if "eval_loss" in line:
            self.say(f"step {line['step']}  {_words(line)}")
        shown = {k: v for k, v in line.items() if k not in ("eval_loss", "bits_per_byte")}
        self._progress.update(self._task, completed=line["step"], description=_words(shown))

    def close(self) -> None:
        self._progress.stop()


def _words(line: dict[str, Any]) -> str:
    forms = (
        ("loss", "loss {:.4f}"),
        ("learning_rate", "lr {:.2e}"),
        ("gradient_norm", "gradient {:.2f}"),
        ("tokens_per_second", "{:,.0f} tokens/s"),
        ("eval_loss", "eval loss {:.4f}"),
        ("bits_per_byte", "{:.3f} bits/byte"),
    )
    return "  ".join(form.format(line[name]) for name, form in forms if name in line)


def _left(line: dict[str, Any], steps: int) -> str:
    if not line.get("steps_per_second") or line["step"] >= steps:
        return ""
    seconds = int((steps - line["step"]) / line["steps_per_second"])
    return f"  {seconds // 60}:{seconds % 60:02d} left"
