"""One row for the folder of a run, read only from its files, and the table of many runs.

A folder may hold a run of another version, an unfinished or broken one, one that another process
is training, or none at all: the row says which, and nothing raises.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.data.texts import digest
from transformers_jax.json_files import json_or_empty
from transformers_jax.spelling import nearest
from transformers_jax.training.folder import LOCK
from transformers_jax.training.metrics import SHOWN, newest, read, show_count
from transformers_jax.training.provenance import read_run

METRICS, CONFIG = "metrics.jsonl", "config.json"
DEEPEST = 5  # levels below a folder in which runs are searched: sweeps of sweeps


@dataclass(frozen=True)
class Summary:
    """A run in one row; None is what is not known."""

    folder: str
    name: str
    state: str
    """running, finished, stopped, failed, broken, or "not a run" """
    why: str = ""
    """of failed, stopped, broken and "not a run" """
    model: str | None = None
    objective: str | None = None
    parameters: int | None = None
    step: int = 0
    steps: int | None = None
    """of the config"""
    loss: float | None = None
    eval_loss: float | None = None
    bits_per_byte: float | None = None
    tokens_per_second: float | None = None
    tokens: float | None = None
    """trained on so far"""
    flops: float | None = None
    """spent on training: as recorded, else 6 x parameters x tokens"""
    when: str | None = None
    """of the end, or of the newest line: UTC"""
    began: str | None = None
    """when its first process began: UTC; of an older version, as `when`"""
    tokenizer: str | None = None
    """a fingerprint: losses per token are comparable where it is the same"""
    exported: int | None = None
    """the step that the model in the folder is of"""
    exported_why: str = ""


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """The runs in these folders, or these folders, if they are runs; each once, sorted in each.

    Folders that hold no run are not in the list, be they of tokens or models, and files are passed
    over: a pattern of the shell, such as runs/*, may name any.

    Raises:
        ValueError: a path that does not exist.
    """
    runs: list[Path] = []
    for path in (Path(name).expanduser() for name in paths):
        if not path.exists():
            raise ValueError(f"{path} is not a folder; give folders of runs, or one that has some")
        runs += _runs_in(path) if path.is_dir() else []
    return list(dict.fromkeys(runs))


def _runs_in(folder: Path, levels: int = DEEPEST) -> list[Path]:
    if is_run(folder):
        return [folder]
    children = _children(folder) if levels else []
    return [run for child in children for run in _runs_in(child, levels - 1)]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def is_run(folder: Path) -> bool:
    """Whether a run has been started in a folder."""
    if (folder / METRICS).exists() or (folder / "run.json").exists():
        return True
    config = json_or_empty(folder / CONFIG)  # of a run or of a model; if broken, maybe of a run
    return (folder / CONFIG).exists() and (not config or {"model", "steps"} <= set(config))


def summarise(folder: str | Path) -> Summary:
    """The row of a folder; what is wrong with it is in `state` and `why`."""
    folder = Path(folder).expanduser()
    name = folder.name or folder.resolve().name
    try:
        if is_run(folder):
            return _summarise(folder, name)
        state, why = "not a run", "no metrics.jsonl, run.json, config.json"
    except Exception as error:  # of files that no run has written
        state, why = "broken", " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return Summary(str(folder), name, state, why)


def _summarise(folder: Path, name: str) -> Summary:
    run, config = read_run(folder), json_or_empty(folder / CONFIG)
    last, evaluation = newest(folder / METRICS)
    files = [folder / file for file in (CONFIG, "run.json")]
    broken = [file.name for file in files if file.exists() and not json_or_empty(file)]
    state, why = _state(folder, run)
    if broken and state != "running":
        state, why = "broken", f"{' and '.join(broken)} cannot be read"
    parameters, step = run.get("parameters"), int(last.get("step", run.get("step", 0)))
    tokens, flops = last.get("tokens"), last.get("flops")
    if tokens is None and (per_step := tokens_per_step(run, config)) is not None:
        tokens = per_step * step
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
        when=run.get("ended") or _modified(folder),
        began=run.get("started") or _modified(folder),
        tokenizer=_part(run, "data").get("tokenizer") or _tokenizer(folder),
        exported=_part(run, "exported").get("step"),
        exported_why=_part(run, "exported").get("why", ""),
    )


def at_step(run: Summary, step: int) -> Summary:
    """The row as it was after an earlier step."""
    lines = [line for line in read(Path(run.folder) / METRICS) if line["step"] <= step]
    of = lambda name: next((line[name] for line in reversed(lines) if name in line), None)
    names = ("loss", "eval_loss", "bits_per_byte", "tokens", "flops")
    then: dict[str, Any] = {name: of(name) for name in names}
    return dataclasses.replace(run, step=step, **then)


def tokens_per_step(run: dict[str, Any], config: dict[str, Any]) -> int | None:
    """As run.json says, or else batch x length of the config."""
    data = _part(config, "data")
    return int(run.get("tokens_per_step") or data.get("batch", 0) * data.get("length", 0)) or None


def objective_of(config: dict[str, Any]) -> str | None:
    """The name of a config's objective; a config of a version without objectives is causal_lm."""
    if "objective" in config:
        return _part(config, "objective").get("kind")
    return "causal_lm" if config else None


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
    if state is None and (folder / "report.md").exists():  # the last file that a run writes
        return "finished", ""
    return "stopped", "killed" if state == "running" else str(run.get("why", ""))


def _modified(folder: Path) -> str | None:
    files = [folder / name for name in (METRICS, "run.json", CONFIG)]
    seconds = next((file.stat().st_mtime for file in files if file.exists()), None)
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _tokenizer(folder: Path) -> str | None:
    """Of a run whose version did not record it."""
    file = folder / "tokenizer.json"
    return digest(file.read_bytes()) if file.is_file() else None


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


# ---------------------------------------------------------------- as a table


FIGURES = ("loss", "eval_loss", "bits_per_byte", "tokens_per_second")

COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "name": ("name", str),
    "model": ("model", str),
    "objective": ("objective", str),
    "parameters": ("params", show_count),
    "step": ("steps", "{:,}".format),
    **{name: SHOWN[name] for name in FIGURES},
    "state": ("state", str),
    "when": ("when", lambda time: time[:16].replace("T", " ")),
}
"""field of Summary -> (heading, how its value is written)"""

LEAST = "tokens_per_second objective parameters bits_per_byte when model loss".split()
"""Columns that a narrow screen does without, in this order."""

COLOURS = {"running": "green", "failed": "red", "broken": "red", "not a run": "dim"}


def compared_by(runs: Iterable[Summary]) -> str:
    """The figure by which runs are compared: eval_loss, or bits_per_byte where tokenizers differ,
    and with them what a token is."""
    tokenizers = {run.tokenizer for run in runs} - {None}
    return "bits_per_byte" if len(tokenizers) > 1 else "eval_loss"


def sort_runs(runs: Sequence[Summary], by: str | None) -> list[Summary]:
    """By a figure, the least first and what is not known last; without one, the first begun first.

    Raises:
        ValueError: no figure of this name.
    """
    names = [field.name for field in dataclasses.fields(Summary)]
    by = by or "began"
    if by not in names:
        raise ValueError(f"cannot sort by {by!r}{nearest(by, names)}; there are {', '.join(names)}")
    unknown = lambda value: value is None or value != value  # NaN
    known = [run for run in runs if not unknown(getattr(run, by))]
    rest = [run for run in runs if unknown(getattr(run, by))]
    return sorted(known, key=lambda run: getattr(run, by)) + rest


def cells(run: Summary) -> dict[str, str]:
    """{field: text} of a run, for the fields of COLUMNS; "-" is what is not known."""
    values = {name: getattr(run, name) for name in COLUMNS}
    texts = {n: "-" if v is None else COLUMNS[n][1](v) for n, v in values.items()}
    if run.steps is not None:
        texts["step"] += f"/{run.steps:,}"
    return texts


def names(runs: Sequence[Summary]) -> list[str]:
    """What runs are called: their paths in `common_folder`, such as sweep/optimizer.peak=1e-3."""
    folder = common_folder(runs)
    if folder is None:
        return [run.folder for run in runs]
    return [Path(os.path.relpath(run.folder, folder)).as_posix() for run in runs]


def common_folder(runs: Sequence[Summary]) -> str | None:
    """The folder that all of the runs lie in, at some depth; None where there is none to name."""
    parents = [str(Path(run.folder).parent) for run in runs]
    try:
        return os.path.commonpath(parents) or "."
    except ValueError:  # no runs, or paths from here and from the root
        return None


def rows(runs: Sequence[Summary]) -> list[dict[str, str]]:
    """`cells` of several runs, under unique names."""
    return [{**cells(run), "name": label} for label, run in zip(names(runs), runs)]


def show(runs: Sequence[Summary], width: int | None = None) -> None:
    """Prints the table; what a narrow screen has no room for is said below it, as are reasons."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    screen = Console(highlight=False, width=width, soft_wrap=True)
    texts = rows(runs)
    heading = {name: label for name, (label, _) in COLUMNS.items()}
    used = [name for name in COLUMNS if any(row[name] != "-" for row in texts)]
    size = {n: max(len(heading[n]), *(len(row[n]) for row in texts)) + 3 for n in used}
    left_out: list[str] = []
    for name in LEAST:
        if (screen.is_terminal or width is not None) and sum(size[n] for n in used) > screen.width:
            used, left_out = [n for n in used if n != name], [*left_out, heading[name]]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for name in used:
        justify = "left" if name in ("name", "model", "objective", "state", "when") else "right"
        table.add_column(heading[name], justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for run, row in zip(runs, texts):
        table.add_row(*(row[name] for name in used), style=COLOURS.get(run.state, ""))
    screen.width = max(screen.width, sum(size[n] for n in used))
    screen.print(table)
    if (folder := common_folder(runs)) not in (None, "."):
        screen.print(f"names are paths in {folder}", style="dim", markup=False)
    for run, row in zip(runs, texts):
        if run.why:
            screen.print(f"{row['name']}: {run.state}: {run.why}", markup=False)
        if run.exported not in (None, run.step):
            why = (
                "" if run.exported_why == "the last" else f", {run.exported_why}"
            )  # it has gone on
            what = f"exported step {run.exported:,} of {run.step:,}{why}"
            screen.print(f"{row['name']}: {what}", markup=False)
    if left_out:
        screen.print(f"no room for {', '.join(left_out)}; --json has all", style="dim")
