"""The figures of a run: how they are named, written, measured, and read back from metrics.jsonl.

A line holds the figures of a step: a dict with `step`, `loss`, `learning_rate`, ... by name. The
console (console.py) and the trackers (trackers.py) write it.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.json_files import parse_json, with_nonfinite

Line = Mapping[str, Any]

# ---------------------------------------------------------------- names and forms

HIDDEN = frozenset(
    """step loss_hex seconds flops finite first_nonfinite loss_deviation
    gradient_norm_deviation""".split()
)
"""Names that a person is not shown: they are for programs, or printed elsewhere."""

SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "loss": ("loss", "{:.4f}".format),
    "eval_loss": ("eval loss", "{:.4f}".format),
    "bits_per_byte": ("bits/byte", "{:.3f}".format),
    "accuracy": ("accuracy", "{:.1%}".format),
    "learning_rate": ("lr", "{:.2e}".format),
    "gradient_norm": ("gradient", "{:.2f}".format),
    "tokens_per_second": ("tokens/s", "{:,.0f}".format),
    "steps_per_second": ("steps/s", "{:.3g}".format),
    "mfu": ("MFU", "{:.1%}".format),
    "input_wait": ("input wait", "{:.1%}".format),
    "memory": ("memory", lambda value: show_bytes(value)),
    "epoch": ("epoch", "{:.2f}".format),
    "fill": ("fill", "{:.1%}".format),
    "tokens": ("tokens", lambda value: show_count(value)),
    "skipped": ("skipped", "{:.0f}".format),
    "spikes": ("spikes", "{:.0f}".format),
}
"""name -> (label, how its value is written), in the order in which they are shown."""


COUNTS = ("skipped", "spikes")
"""Steps so far; a line has them once there are some."""


def figures(line: Line) -> list[tuple[str, str]]:
    """(label, value) of all figures of a line that a person is shown; unknown names come last, and
    those of one name, in training and on each held-out set, are side by side."""
    names = [n for n in line if not (is_hidden(n) or (n in COUNTS and not line[n]))]
    shown = list(SHOWN)
    place = lambda name: shown.index(name) if name in SHOWN else len(shown)
    order = lambda name: (place(of_training(name)), place(name.partition("/")[0]), "/" in name)
    return [(label_of(name), form_of(name)(line[name])) for name in sorted(names, key=order)]


def label_of(name: str) -> str:
    """ "bits/byte final" of "bits_per_byte/final"."""
    figure, _, held_out = name.partition("/")
    label = SHOWN[figure][0] if figure in SHOWN else figure.replace("_", " ")
    return f"{label} {held_out}".rstrip()


def form_of(name: str) -> Callable[[Any], str]:
    """How a figure is written: on a held-out set as in training."""
    return SHOWN[of_training(name)][1] if of_training(name) in SHOWN else show_value


def of_training(name: str) -> str:
    """ "accuracy" of "eval_accuracy/final": the figure of training that is measured alike."""
    return name.partition("/")[0].removeprefix("eval_")


def is_hidden(name: str) -> bool:
    """Whether a figure is for programs only."""
    return name in HIDDEN or name.endswith("_hex") or name.partition("/")[0] == "eval_batches"


def is_loss(name: str) -> bool:
    """Whether a figure is the loss on held-out text."""
    return name == "eval_loss" or name.startswith("eval_loss/")


def is_number(value: Any) -> bool:
    """Whether a figure can be plotted."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def measured(line: Line) -> bool:
    """Whether an evaluation ended with this step."""
    return any(map(is_loss, line))


def show_value(value: Any) -> str:
    """A figure of an unknown kind."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_bytes(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def show_count(count: float) -> str:
    """124_439_808 -> "124M"; numbers below ten thousand are written out."""
    if abs(count) < 1e4:
        return f"{count:,.0f}"
    for unit in "kMGTP":
        count /= 1000
        if abs(count) < 999.5:
            return f"{count:.3g}{unit}"
    return f"{count / 1000:.3g}E"


def show_time(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03"; below an hour "2:03"."""
    whole = int(seconds)
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes.removeprefix("0")


# ---------------------------------------------------------------- measured while it runs


def thin(values: Float[np.ndarray, " n"], most: int) -> Float[np.ndarray, " m"]:
    """At most `most` values of a curve: the means of neighbours."""
    if len(values) <= most:
        return values
    edges = np.linspace(0, len(values), most + 1).astype(int)
    return np.add.reduceat(values, edges[:-1]) / np.diff(edges)


class Speed:
    """Tokens and steps a second over the last steps, and the share of time spent waiting."""

    def __init__(self, over: int = 50):
        self._ends: deque[tuple[float, float, float]] = deque(maxlen=over + 1)

    def tick(self, waited: float, tokens: float) -> dict[str, float]:
        """Call when a step has ended: its figures, or none until there are two ends.

        `waited` is how many seconds of this step were spent waiting for data; `tokens` is how many
        this step had.
        """
        self._ends.append((time.perf_counter(), waited, tokens))
        (began, *_), *ends = self._ends
        if not ends:
            return {}
        seconds = max(ends[-1][0] - began, 1e-9)
        return {
            "tokens_per_second": sum(tokens for _, _, tokens in ends) / seconds,
            "steps_per_second": len(ends) / seconds,
            "input_wait": sum(waited for _, waited, _ in ends) / seconds,
        }

    def pause(self) -> None:
        """The next step does not follow at once: there was an evaluation or a save."""
        self._ends.clear()


def memory() -> int:
    """Bytes: the peak of the fullest local device, if the backend reports it; else of this process
    now.

    Starts no backend of its own accord: call it when the run has one.
    """
    import jax

    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stat["peak_bytes_in_use"] for stat in stats if "peak_bytes_in_use" in stat]
    if peaks:
        return max(peaks)
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no procfs: what the process had at most
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---------------------------------------------------------------- read back


def read(file: str | Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a line that a killed process left unfinished is dropped."""
    if not Path(file).exists():
        return []
    with open(file, "rb") as stream:
        return [line for line in takewhile(bool, map(parse, stream)) if line]


def parse(text: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None if it is not one, or not all of one."""
    try:
        line = parse_json(text, "a line")
    except ValueError:
        return None
    known = isinstance(line, dict) and isinstance(line.get("step"), int)
    return with_nonfinite(line) if known else None


def newest(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last line of a metrics.jsonl and the last with an evaluation; {} where there is none.

    Reads from the end, so that a long run costs no more than a short one.
    """
    last: dict[str, Any] = {}
    for text in _backwards(file):
        if last and b'"eval_loss' not in text:
            continue
        line = parse(text)
        if line is not None:
            last = last or line
            if measured(line):
                return last, line
    return last, {}


def _backwards(file: Path) -> Iterator[bytes]:
    """The lines of a file, the last first."""
    if not file.exists() or not (end := file.stat().st_size):
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        while end > 0:
            start = text.rfind(b"\n", 0, end - 1) + 1
            yield text[start:end]
            end = start
