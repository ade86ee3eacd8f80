"""What there is to say of the folders of runs, read from their files only; no folder is too broken.

A run may be of another version, unfinished, running in another process, or no run at all: each is
said of it, and none stops the list.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.spelling import nearest
from transformers_jax.training.metrics import newest, show_count
from transformers_jax.training.provenance import read_json, read_run

LOCK, METRICS, CONFIG = ".lock", "metrics.jsonl", "config.json"
DEEPEST = 4  # levels below a folder in which runs are looked for: sweeps of sweeps


@dataclass(frozen=True)
class Summary:
    """A run in one row; None is what is not known."""

    folder: str
    name: str
    state: str
    """running, finished, stopped, failed, broken, or "not a run" """
    why: str = ""
    """of failed, broken and "not a run" """
    model: str | None = None
    objective: str | None = None
    parameters: int | None = None
    step: int = 0
    steps: int | None = None
    """how many are wanted"""
    loss: float | None = None
    eval_loss: float | None = None
    bits_per_byte: float | None = None
    tokens_per_second: float | None = None
    tokens: float | None = None
    """that the model has seen"""
    flops: float | None = None
    """spent on training: as recorded, else 6 x parameters x tokens"""
    when: str | None = None
    """of the end, or of the newest line: UTC"""


def find_runs(folders: Iterable[str | Path]) -> list[Path]:
    """The runs in these folders, or these folders, if they are runs; sorted, each once.

    A folder directly inside of a named one that holds no run is in the list too: its summary says
    what it is.

    Raises:
        ValueError: a folder that does not exist.
    """
    found: dict[Path, None] = {}
    for name in folders:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"{folder} is not a folder; give folders of runs, or one that has some"
            )
        if is_run(folder):
            found[folder] = None
            continue
        for child in sorted(path for path in folder.iterdir() if _is_folder(path)):
            found.update(dict.fromkeys(_inside(child, DEEPEST) or [child]))
    return list(found)


def is_run(folder: Path) -> bool:
    """Whether a run has been started in a folder."""
    return (folder / METRICS).exists() or (folder / "run.json").exists() or _has_config(folder)


def summarise(folder: str | Path) -> Summary:
    """The row of a folder; what is wrong with it is in `state` and `why`."""
    folder = Path(folder).expanduser()
    name = folder.name or folder.resolve().name
    try:
        if not is_run(folder):
            return Summary(
                str(folder), name, "not a run", "no metrics.jsonl, run.json, config.json"
            )
        return _summarise(folder, name)
    except Exception as error:  # whatever a file may hold that was not written by a run
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Summary(str(folder), name, "broken", why)


def _summarise(folder: Path, name: str) -> Summary:
    run, config = read_run(folder), read_json(folder / CONFIG)
    last, evaluation = newest(folder / METRICS)
    broken = [
        file
        for file in (CONFIG, "run.json")
        if (folder / file).exists() and not read_json(folder / file)
    ]
    state, why = _state(folder, run)
    if broken and state != "running":
        state, why = "broken", f"{' and '.join(broken)} cannot be read"
    parameters, step = run.get("parameters"), int(last.get("step", run.get("step", 0)))
    tokens = last.get("tokens")
    if tokens is None and (each := tokens_per_step(run, config)) is not None:
        tokens = each * step
    flops = last.get("flops")
    if flops is None and parameters is not None and tokens is not None:
        flops = 6.0 * parameters * tokens  # Kaplan et al. 2020, section 2.1
    return Summary(
        folder=str(folder),
        name=name,
        state=state,
        why=why,
        model=run.get("model_type") or _part(config, "model").get("model_type"),
        objective=run.get("objective") or objective_of(config),
        parameters=parameters,
        step=step,
        steps=run.get("steps", config.get("steps")),
        loss=last.get("loss"),
        eval_loss=evaluation.get("eval_loss"),
        bits_per_byte=evaluation.get("bits_per_byte"),
        tokens_per_second=last.get("tokens_per_second"),
        tokens=tokens,
        flops=flops,
        when=run.get("ended") or _touched(folder),
    )


def tokens_per_step(run: dict[str, Any], config: dict[str, Any]) -> int | None:
    """As run.json says, or else batch x length of the config."""
    data = _part(config, "data")
    if run.get("tokens_per_step"):
        return int(run["tokens_per_step"])
    if data.get("batch") and data.get("length"):
        return int(data["batch"] * data["length"])
    return None


def objective_of(config: dict[str, Any]) -> str | None:
    """The name of what a config trains for; a config without a choice of it trains causal_lm."""
    chosen = config.get("objective")
    if isinstance(chosen, dict):
        names = [chosen.get(key) for key in ("name", "kind", "type", "class", "objective")]
        return next((name for name in names if isinstance(name, str)), None)
    return str(chosen) if chosen else ("causal_lm" if config else None)


def running(folder: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, or a file system without locks
        return False
    return False


def _state(folder: Path, run: dict[str, Any]) -> tuple[str, str]:
    state = run.get("state")
    if state in (None, "running") and running(folder):  # a run that writes its report has ended
        return "running", ""
    if state in ("finished", "failed"):
        return state, str(run.get("why", ""))
    if state is None and (folder / "report.md").exists():  # the last thing that a run writes
        return "finished", ""
    return "stopped", "killed" if state == "running" else ""


def _touched(folder: Path) -> str | None:
    for name in (METRICS, "run.json", CONFIG):
        if (folder / name).exists():
            seconds = (folder / name).stat().st_mtime
            return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(
                timespec="seconds"
            )
    return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _has_config(folder: Path) -> bool:
    """Whether config.json is that of a run, not that of a model; one that is broken may be."""
    file = folder / CONFIG
    if not file.exists():
        return False
    config = read_json(file)
    return not config or ("model" in config and "steps" in config)


def _inside(folder: Path, levels: int) -> list[Path]:
    if is_run(folder):
        return [folder]
    if not levels:
        return []
    try:
        children = sorted(path for path in folder.iterdir() if _is_folder(path))
    except OSError:
        return []
    return [run for child in children for run in _inside(child, levels - 1)]


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


# ---------------------------------------------------------------- as a table


COLUMNS = {
    "name": "name",
    "model": "model",
    "objective": "objective",
    "parameters": "params",
    "step": "steps",
    "loss": "loss",
    "eval_loss": "eval loss",
    "bits_per_byte": "bits/byte",
    "tokens_per_second": "tokens/s",
    "state": "state",
    "when": "when",
}


def sort_runs(found: Sequence[Summary], by: str | None) -> list[Summary]:
    """By a figure, the least first and what is not known last; without one, the oldest first.

    Raises:
        ValueError: no figure of this name.
    """
    names = [field.name for field in dataclasses.fields(Summary)]
    by = by or "when"
    if by not in names:
        raise ValueError(f"cannot sort by {by!r}{nearest(by, names)}; there are {', '.join(names)}")
    known = [run for run in found if getattr(run, by) is not None]
    return sorted(known, key=lambda run: getattr(run, by)) + [r for r in found if r not in known]


def cells(run: Summary) -> list[str]:
    """The row of a run, in the order of COLUMNS."""
    number = lambda value, form: "-" if value is None else form.format(value)
    return [
        run.name,
        run.model or "-",
        run.objective or "-",
        "-" if run.parameters is None else show_count(run.parameters),
        f"{run.step:,}" + ("" if run.steps is None else f"/{run.steps:,}"),
        number(run.loss, "{:.4f}"),
        number(run.eval_loss, "{:.4f}"),
        number(run.bits_per_byte, "{:.3f}"),
        number(run.tokens_per_second, "{:,.0f}"),
        run.state,
        "-" if run.when is None else run.when[:16].replace("T", " "),
    ]


def names(found: Sequence[Summary]) -> list[str]:
    """The names of runs; their folders, where names are not enough to tell them apart."""
    short = [run.name for run in found]
    return [run.folder if short.count(run.name) > 1 else run.name for run in found]


LEAST = "tokens_per_second objective parameters bits_per_byte when model loss".split()
"""Columns that a narrow screen does without, in this order."""


def show(found: Sequence[Summary], width: int | None = None) -> None:
    """Prints the table; what a narrow screen has no room for is said below it, as are reasons."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    screen = Console(highlight=False, width=width, soft_wrap=True)
    labels = names(found)
    rows = [dict(zip(COLUMNS, [label, *cells(run)[1:]])) for label, run in zip(labels, found)]
    used = [name for name in COLUMNS if any(row[name] != "-" for row in rows)]
    size = {n: max(len(COLUMNS[n]), *(len(row[n]) for row in rows)) + 3 for n in used}
    left_out: list[str] = []
    for name in LEAST:
        if (screen.is_terminal or width is not None) and sum(size[n] for n in used) > screen.width:
            used, left_out = [n for n in used if n != name], [*left_out, COLUMNS[name]]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for name in used:
        text = name in ("name", "model", "objective", "state", "when")
        table.add_column(COLUMNS[name], justify="left" if text else "right", no_wrap=True)
    colours = {"running": "green", "failed": "red", "broken": "red", "not a run": "dim"}
    for run, row in zip(found, rows):
        table.add_row(*(row[name] for name in used), style=colours.get(run.state, ""))
    screen.width = max(screen.width, sum(size[n] for n in used))
    screen.print(table)
    for label, run in zip(labels, found):
        if run.why:
            screen.print(f"{label}: {run.state}: {run.why}", markup=False)
    if left_out:
        screen.print(f"no room for {', '.join(left_out)}; --json has all", style="dim")
