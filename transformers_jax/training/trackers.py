"""Where the figures of a run are written: metrics.jsonl always; TensorBoard, W&B, trackio by name.

Whatever the method of a tracker raises, training goes on without it: only metrics.jsonl, which
resuming and reports are made from, is allowed to stop a run.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from transformers_jax.json_files import finite_or_null, json_or_empty, json_text
from transformers_jax.printing import print_line
from transformers_jax.publish import publish, with_path
from transformers_jax.spelling import nearest
from transformers_jax.training.metrics import Line, is_number, measured, parse


class Tracker:
    """Where figures are written; anything with these methods is one.

    `package` is what it needs, and `extra` what brings that; "" for none.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    def start(self, run: dict[str, Any]) -> None:
        """What the run is: the content of run.json, and the config under "config"."""

    def log(self, step: int, values: Line) -> None:
        """The figures of a step."""

    def text(self, name: str, step: int, text: str) -> None:
        """A text by name, such as a sample."""

    def finish(self) -> None:
        """No more figures follow."""


class Jsonl(Tracker):
    """metrics.jsonl, one object a line. A run that is resumed drops the lines after its
    checkpoint: those steps are made again. `dropped` is their number."""

    def __init__(self, folder: Path, start: int = 0):
        self.file = folder / "metrics.jsonl"
        self.dropped = _truncate(self.file, start)
        self._stream = self.file.open("a", buffering=1)

    def log(self, step: int, values: Line) -> None:
        try:
            self._stream.write(json_text({"step": step, **finite_or_null(values)}) + "\n")
        except OSError as error:
            raise with_path(error, self.file) from None

    def finish(self) -> None:
        try:
            self._stream.close()
        except OSError as error:
            raise with_path(error, self.file) from None


class TensorBoard(Tracker):
    """Event files in the folder of the run; what follows the step of a resume is purged."""

    package, extra = "tensorboardX", "train"

    def __init__(self, folder: Path, start: int = 0):
        writer = _import(self.package, self.extra).SummaryWriter
        self._summary = importlib.import_module("tensorboardX.proto.summary_pb2").Summary
        self._writer = writer(str(folder), purge_step=start + 1, write_to_disk=True)

    def start(self, run: dict[str, Any]) -> None:
        text = json_text(run, indent=2, default=str)
        self._writer.add_text("run", f"```json\n{text}\n```", 0)

    def log(self, step: int, values: Line) -> None:
        # One event for all figures of a step: add_scalar, one for each, takes ten times as long.
        scalar = self._summary.Value
        scalars = [scalar(tag=name, simple_value=x) for name, x in numbers(values).items()]
        self._writer.file_writer.add_summary(self._summary(value=scalars), step)

    def text(self, name: str, step: int, text: str) -> None:
        self._writer.add_text(name, f"```text\n{text}\n```", step)

    def finish(self) -> None:
        self._writer.close()


class Service(Tracker):
    """A tracking service with the interface of W&B. The id of its run is written into the folder,
    so that a resumed run goes on there; the project is that of the environment.

    Beside the id stands which folder it is of: by its path, and by its inode, which it keeps when
    it is moved. In a copy it is that of another run, which must not be written over.
    """

    def __init__(self, folder: Path, start: int = 0):
        self.module, self.folder, self.begin = _import(self.package, self.extra), folder, start
        self.file = folder / f"{self.package}.id"
        self.say: Callable[[str], None] = functools.partial(print_line, error=True)

    def start(self, run: dict[str, Any]) -> None:
        project = os.environ.get(f"{self.package.upper()}_PROJECT", "transformers-jax")
        options = dict(project=project, resume="allow", config=run)
        name = self.init(self._known(), run.get("name", self.folder.name), options)
        publish(self.file, f"{json_text({'id': name, **_whose(self.folder)})}\n")

    def _known(self) -> str | None:
        """The id of this folder's run of the service; None if there is none yet."""
        text = self.file.read_text().strip() if self.file.exists() else ""
        if not text.startswith("{"):  # written before folders were noted, or by hand
            return text or None
        noted, own = json_or_empty(self.file), _whose(self.folder)
        if any(noted.get(name) == own[name] for name in own):
            return noted.get("id")
        self.say(
            f"WARNING: {self.folder} is a copy of {noted.get('folder')}, whose {self.package} run "
            f"is {noted.get('id')}: a new one is begun, whose curves start after step {self.begin} "
            f"(to go on in that one instead, write its id alone into {self.file.name})"
        )
        return None

    def init(self, known: str | None, name: str, options: dict[str, Any]) -> str:
        """Begins the service's run, or goes on with the known one; returns its id."""
        raise NotImplementedError

    def finish(self) -> None:
        self.module.finish()


class Wandb(Service):
    """Weights & Biases."""

    package = extra = "wandb"

    def init(self, known: str | None, name: str, options: dict[str, Any]) -> str:
        run = self.module.init(id=known, name=name, dir=str(self.folder), **options)
        # Services count their own steps upwards only; a resume goes back to a checkpoint.
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        return run.id

    def log(self, step: int, values: Line) -> None:
        self.module.log({"step": step, **numbers(values)})

    def text(self, name: str, step: int, text: str) -> None:
        table = self.module.Table(columns=["step", "text"], data=[[step, text]])
        self.module.log({"step": step, name: table})


class Trackio(Service):
    """trackio, which writes to a local database."""

    package = extra = "trackio"

    def init(self, known: str | None, name: str, options: dict[str, Any]) -> str:
        # trackio identifies a run only by its name, so that no other run may have it
        name = known or f"{name}-{os.urandom(3).hex()}"
        self.module.init(name=name, **options)
        return name

    def log(self, step: int, values: Line) -> None:
        self.module.log(numbers(values), step=step)

    def text(self, name: str, step: int, text: str) -> None:
        self.module.log({name: text}, step=step)


class Composite(Tracker):
    """metrics.jsonl and others. One of the others that fails is reported and left out.

    metrics.jsonl has every step; the others get every `every`th, the first of this process, and
    those with an evaluation.
    """

    def __init__(
        self,
        jsonl: Tracker,
        others: Sequence[Tracker],
        every: int,
        say: Callable[[str], None] | None = None,
    ):
        self.jsonl, self.others, self.every = jsonl, list(others), every
        self.say = say or functools.partial(print_line, error=True)
        self._first = True
        for tracker in self.others:
            if isinstance(tracker, Service):
                tracker.say = self.say

    def start(self, run: dict[str, Any]) -> None:
        self._each("start", run)

    def log(self, step: int, values: Line) -> None:
        self.jsonl.log(step, values)
        if self._first or step % self.every == 0 or measured(values):
            self._each("log", step, values)
        self._first = False

    def text(self, name: str, step: int, text: str) -> None:
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


TRACKERS: dict[str, Any] = {
    "jsonl": Jsonl,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


ALWAYS = ("tensorboard",)
"""The trackers of every run, beside metrics.jsonl."""


def check_installed(names: Sequence[str]) -> None:
    """Raises ValueError for trackers whose package is not installed, with the extra that brings
    it."""
    for tracker in (TRACKERS[name] for name in (*ALWAYS, *names)):
        if tracker.package:
            _import(tracker.package, tracker.extra)


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
    """The figures that can be plotted: no texts, no truth values, not the step."""
    return {name: x for name, x in values.items() if name != "step" and is_number(x)}


def _whose(folder: Path) -> dict[str, Any]:
    """What tells a folder from its copies."""
    return {"folder": str(folder.resolve()), "inode": folder.stat().st_ino}


def _import(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"this tracker needs the package {package} ({error}); "
            f'pip install "transformers-jax[{extra}]", or leave it out of the trackers'
        ) from error


def _truncate(file: Path, start: int) -> int:
    """Ends a metrics.jsonl after the step `start`; returns the number of lines removed."""

    def lasts(text: bytes) -> bool:
        line = parse(text)
        return line is not None and line["step"] <= start and text.endswith(b"\n")

    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    lasting = list(takewhile(lasts, lines))
    if len(lasting) < len(lines):
        os.truncate(file, sum(map(len, lasting)))
    return len(lines) - len(lasting)
