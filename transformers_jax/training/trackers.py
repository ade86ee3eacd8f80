"""Where the figures of a run are kept: metrics.jsonl always; TensorBoard, W&B, trackio by name.

A tracker has four methods. Whatever one of them raises, training goes on without it: only
metrics.jsonl, which resuming and reports are made from, is allowed to stop a run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from transformers_jax.spelling import nearest
from transformers_jax.training.metrics import Line, measured, parse


class Tracker(Protocol):
    """Somewhere that figures go to."""

    def start(self, run: dict[str, Any]) -> None:
        """What the run is: the content of run.json, and the config under "config"."""

    def log(self, step: int, values: Line) -> None:
        """The figures of a step."""

    def text(self, name: str, step: int, text: str) -> None:
        """A text by name, such as a sample."""

    def finish(self) -> None:
        """Everything is where it belongs."""


class Jsonl:
    """metrics.jsonl, one object a line. A run that is continued drops the lines after its
    checkpoint: those steps are made again. `dropped` says how many there were."""

    def __init__(self, folder: Path, start: int = 0):
        self.file = folder / "metrics.jsonl"
        self.dropped = _cut(self.file, start)
        self._stream = self.file.open("a", buffering=1)

    def start(self, run: dict[str, Any]) -> None:
        pass  # run.json is beside it

    def log(self, step: int, values: Line) -> None:
        self._stream.write(json.dumps({"step": step, **values}) + "\n")

    def text(self, name: str, step: int, text: str) -> None:
        pass  # texts are files of their own

    def finish(self) -> None:
        self._stream.close()


class TensorBoard:
    """Event files in the folder of the run; what follows the step of a resume is purged."""

    extra = "train"

    def __init__(self, folder: Path, start: int = 0):
        with _Needs("tensorboardX", self.extra):
            from tensorboardX import SummaryWriter
            from tensorboardX.proto.summary_pb2 import Summary
        self._summary = Summary
        self._writer = SummaryWriter(str(folder), purge_step=start + 1, write_to_disk=True)

    def start(self, run: dict[str, Any]) -> None:
        self._writer.add_text("run", f"```json\n{json.dumps(run, indent=2, default=str)}\n```", 0)

    def log(self, step: int, values: Line) -> None:
        # One event for all figures of a step: add_scalar, one for each, takes ten times as long.
        Value = self._summary.Value
        drawn = [Value(tag=n, simple_value=v) for n, v in numbers(values).items()]
        self._writer.file_writer.add_summary(self._summary(value=drawn), step)

    def text(self, name: str, step: int, text: str) -> None:
        self._writer.add_text(name, f"```text\n{text}\n```", step)

    def finish(self) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases; the id of its run is kept in the folder, so that a resume goes on there."""

    extra = "wandb"

    def __init__(self, folder: Path, start: int = 0):
        with _Needs("wandb", self.extra):
            import wandb
        self._wandb, self.folder = wandb, folder
        self._run: Any = None
        self._id = folder / "wandb.id"

    def start(self, run: dict[str, Any]) -> None:
        known = self._id.read_text().strip() if self._id.exists() else None
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "transformers-jax"),
            name=run.get("name", self.folder.name),
            id=known,
            resume="allow",
            dir=str(self.folder),
            config=run,
        )
        self._id.write_text(f"{self._run.id}\n")
        # Services count their own steps upwards only; a resume goes back to a checkpoint.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Line) -> None:
        if self._run is not None:
            self._run.log({"step": step, **numbers(values)})

    def text(self, name: str, step: int, text: str) -> None:
        if self._run is not None:
            table = self._wandb.Table(columns=["step", "text"], data=[[step, text]])
            self._run.log({"step": step, name: table})

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()


class Trackio:
    """trackio, W&B's interface on a local database; a resume goes on in the run of its name."""

    extra = "trackio"

    def __init__(self, folder: Path, start: int = 0):
        with _Needs("trackio", self.extra):
            import trackio
        self._trackio, self.folder, self._begun = trackio, folder, False
        self._id = folder / "trackio.id"

    def start(self, run: dict[str, Any]) -> None:
        if self._id.exists():
            name = self._id.read_text().strip()
        else:  # a name is all that trackio knows a run by: let no other run have it
            name = f"{run.get('name', self.folder.name)}-{os.urandom(3).hex()}"
        project = os.environ.get("TRACKIO_PROJECT", "transformers-jax")
        self._trackio.init(project=project, name=name, resume="allow", config=run)
        self._id.write_text(f"{name}\n")
        self._begun = True

    def log(self, step: int, values: Line) -> None:
        if self._begun:
            self._trackio.log(numbers(values), step=step)

    def text(self, name: str, step: int, text: str) -> None:
        if self._begun:
            self._trackio.log({name: text}, step=step)

    def finish(self) -> None:
        if self._begun:
            self._trackio.finish()


class Composite:
    """metrics.jsonl and others. One of the others that fails is told of, loudly, and left out.

    metrics.jsonl has every step; the others get every `every`th, the first of this process, and
    those with an evaluation.
    """

    def __init__(
        self,
        jsonl: Jsonl,
        others: Sequence[Tracker],
        every: int,
        say: Callable[[str], None] | None = None,
    ):
        self.jsonl, self.others, self.every = jsonl, list(others), every
        self.say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self._first = True

    def start(self, run: dict[str, Any]) -> None:
        self.jsonl.start(run)
        self._each("start", run)

    def log(self, step: int, values: Line) -> None:
        self.jsonl.log(step, values)
        if self.others and (self._first or step % self.every == 0 or measured(values)):
            self._each("log", step, values)
        self._first = False

    def text(self, name: str, step: int, text: str) -> None:
        self.jsonl.text(name, step, text)
        self._each("text", name, step, text)

    def finish(self) -> None:
        self._each("finish")
        self.jsonl.finish()

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.others):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                self.others.remove(tracker)
                why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self.say(
                    f"WARNING: tracker {type(tracker).__name__} failed ({method}: {why}); "
                    "training goes on without it, metrics.jsonl has every step"
                )


TRACKERS: dict[str, type] = {
    "jsonl": Jsonl,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def make_trackers(
    names: Sequence[str],
    folder: Path,
    start: int,
    every: int,
    say: Callable[[str], None] | None = None,
) -> Composite:
    """metrics.jsonl (named or not) and the trackers of these names, for a run from step `start`.

    Raises:
        ValueError: a name that is no tracker's, or a package that is not installed, with the extra
            that brings it.
    """
    wrong = [name for name in names if name not in TRACKERS]
    if wrong:
        hint = nearest(wrong[0], TRACKERS)
        raise ValueError(f"unknown tracker {wrong[0]!r}{hint}; there are {', '.join(TRACKERS)}")
    others = [TRACKERS[name](folder, start) for name in dict.fromkeys(names) if name != "jsonl"]
    return Composite(Jsonl(folder, start), others, every, say)


def numbers(values: Line) -> dict[str, float]:
    """The figures that can be drawn: no texts, no truths, not the step."""
    return {
        name: value
        for name, value in values.items()
        if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


class _Needs:
    """An import that fails says which extra brings the package."""

    def __init__(self, package: str, extra: str):
        self.package, self.extra = package, extra

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ImportError):
            raise ValueError(
                f"this tracker needs the package {self.package} ({error}); "
                f'pip install "transformers-jax[{self.extra}]", or leave it out of the trackers'
            ) from error


def _cut(file: Path, start: int) -> int:
    """Ends a metrics.jsonl behind the step `start`, in one move; returns how many lines went."""
    if not file.exists():
        return 0
    kept, lines, after = 0, 0, False
    with file.open("rb") as stream:
        for text in stream:
            line = parse(text)
            after = after or line is None or line["step"] > start or not text.endswith(b"\n")
            kept, lines = (kept, lines + 1) if after else (kept + len(text), lines)
    if after:
        os.truncate(file, kept)
    return lines
