"""The folder of a run: which process may write into it, and which run may continue it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from transformers_jax import processes
from transformers_jax.json_files import as_json, json_or_empty
from transformers_jax.models.frozen import thaw
from transformers_jax.nn.param import flatten
from transformers_jax.publish import is_draft, publish_json, remove_drafts
from transformers_jax.spelling import nearest
from transformers_jax.training.config import TrainConfig, check_format, identity
from transformers_jax.training.json_records import plain

LOCK = ".lock"
TOKENIZER = ".tokenizer"
"""The folder in which the first of several processes hands a learned tokenizer to the others."""

SHARED = "give an --out on a disk that all processes share"


class RunFolder:
    """A folder that one process at a time writes into; the system frees it when that one ends.

    Args:
        resume: "never" refuses a folder in which there is something.
        owner: whether this process is the one; of a run of several processes it is the first, and
            the others wait until it has made the folder, and neither lock nor write.

    Raises:
        ValueError: the folder cannot be made, is in use, is not empty, or is not seen by all.
    """

    def __init__(self, path: str | Path, resume: str, *, owner: bool = True):
        self.owner = owner
        self._lock: TextIO | None = None
        self._holder = ""  # what the lock said before
        self.path = check_out(path, resume if owner else "auto")
        if not owner:
            processes.wait_for_all("folder")
            if not self.path.is_dir():
                raise ValueError(f"{self.path} is not there; {SHARED}")
            return
        self._made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {self.path}: {error.strerror}") from None
        self._had_lock = (self.path / LOCK).exists()
        while not self._acquire():
            self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, *(f for f in self.path.iterdir() if f.is_dir())):
            if folder == self.path or not (folder / LOCK).exists():  # else a run of its own
                remove_drafts(folder)
        processes.wait_for_all("folder")

    def _acquire(self) -> bool:
        """Locks the folder; whether it is still there, and not removed by the one before."""
        file = self.path / LOCK
        try:
            lock = file.open("a+")
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ValueError(
                f"cannot write into {self.path}: {error.strerror}; choose another --out"
            ) from None
        lock.seek(0)
        self._holder = lock.read()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ValueError(
                f"{self.path} is in use by process {self._holder.strip() or '?'}; wait for it or "
                "choose another --out"
            ) from None
        if not file.exists() or not os.path.samestat(os.fstat(lock.fileno()), file.stat()):
            lock.close()
            return False
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {socket.gethostname()}")
        lock.flush()
        self._lock = lock
        return True

    def is_own(self) -> bool:
        """Whether the folder is still that which this process has locked; costs microseconds."""
        if self._lock is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK).stat())
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

    def check(self) -> None:
        """Raises ValueError if the folder has been removed, moved or replaced meanwhile."""
        if not self.is_own():
            raise ValueError(
                f"{self.path} was removed or moved while the run wrote into it: nothing more can "
                "be saved there, and the run ends"
            )

    @contextlib.contextmanager
    def untouched_on_error(self) -> Iterator[None]:
        """An error inside leaves the folder as it was before this process: a start that is refused
        makes nothing. What is made inside is the lock and the tokenizer of several processes;
        other files are somebody else's."""
        try:
            yield
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._lock is None:
            return
        if self._had_lock:
            self._lock.truncate(0)
            self._lock.write(self._holder)
        shutil.rmtree(self.path / TOKENIZER, ignore_errors=True)
        if self.is_own() and not self._had_lock:
            (self.path / LOCK).unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):  # another has put something there meanwhile
                folder.rmdir()
        self.close()

    @property
    def checkpoints(self) -> Path:
        """The folder of the saved states."""
        return self.path / "checkpoints"

    def holder(self) -> str:
        """Which process of which machine holds the folder, for people; "" if none ever did."""
        lock = self.path / LOCK
        return lock.read_text() if lock.exists() else ""

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Writes a file completely or not at all, and to the disk; only the owner does."""
        if self.owner:
            publish_json(self.path / name, values)

    def close(self) -> None:
        """Releases the folder for another process."""
        if self._lock is not None:
            self._lock.close()


def check_out(out: str | Path, resume: str) -> Path:
    """The folder that `out` names, if a run may be in it; nothing is made, and a dry run asks too.

    Raises:
        ValueError: no folder can have this name, or be made there; with resume="never", one in
            which there is something.
    """
    text = os.fspath(out)
    if not text.strip() or "\0" in text:
        raise ValueError(
            f"out is {text!r}, which is no folder; name one, as in --out runs/a (. is the folder "
            "that you are in)"
        )
    try:
        path = Path(text).expanduser()
        above = next(folder for folder in (path, *path.parents) if is_there(folder))
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{above} is a file")
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{above} cannot be written into")
        files = [] if above != path else [f for f in path.iterdir() if not _left_over(f)]
    except OSError as error:
        raise ValueError(
            f"cannot make the folder {text[:100]}: {error.strerror}; choose another --out"
        ) from None
    except (RuntimeError, UnicodeError) as error:  # the home of nobody, half of a character
        raise ValueError(f"out {text[:100]!r} names no folder: {error}") from None
    if resume == "never" and files:
        raise ValueError(
            f"{path} is not empty; choose another --out, or --resume auto to continue it"
        )
    return path


def is_there(path: Path) -> bool:
    """Whether there is a file or folder of this name; unlike `exists`, raises where none can be."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _left_over(path: Path) -> bool:
    """Whether this is what a start that was killed leaves: a lock, a draft, an empty folder."""
    if path.is_dir():
        return not any(path.iterdir())
    return path.name == LOCK or is_draft(path)


def check_same_run(config: TrainConfig, data: str, saved: dict[str, Any]) -> None:
    """A checkpoint is continued by the run that made it, or by none.

    Raises:
        ValueError: another model, optimizer, text or schedule, with each difference; a name in
            `allow_change` that is none.
    """
    now = _identity(config)
    before = with_added(saved["identity"], config)
    allowed = [f"{name}." for name in config.allow_change if name != "data"]
    names = sorted({*before, *now})
    for start in allowed:
        if not any(f"{name}.".startswith(start) for name in names):
            name = start[:-1]
            raise ValueError(
                f"allow_change: {name!r} is no setting that must stay{nearest(name, names)}"
            )
    allowed += ["optimizer.schedule."] if config.allow_schedule_change else []
    wrong = {
        name: text
        for name, text in differing(before, now).items()
        if not f"{name}.".startswith(tuple(allowed))
    }
    if saved["data"] != data and "data" not in config.allow_change:
        wrong["data"] = f"the text was {saved['data']} and is {data} ({config.data.path})"
    if wrong:
        raise ValueError(
            f"{config.out} holds another run: {'; '.join(wrong.values())}. Choose another --out, "
            f"or go on all the same with --allow-change {' '.join(wrong)}"
        )
    steps, saved_steps = config.schedule_steps, saved["schedule_steps"]
    if steps not in (None, saved_steps) and not config.allow_schedule_change:
        raise ValueError(
            f"the learning-rate schedule was {saved_steps} steps and is {steps}; keep "
            f"--schedule-steps {saved_steps}, or pass --allow-schedule-change"
        )


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """{"seed": "seed was 0 and is 1"} of settings by name."""
    return {
        name: f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }


def with_added(
    before: Mapping[str, Any], config: TrainConfig, names: Iterable[str] | None = None
) -> dict[str, Any]:
    """The settings of a saved run, by name; one that was added since has its default, which is what
    was before (training.config.FORMAT).

    Args:
        names: those that are compared; by default all that must stay when a run is continued.
    """
    known, filled = {*before}, dict(before)
    for name in before:
        parts = name.split(".")
        known |= {".".join(parts[:n]) for n in range(1, len(parts))}
    for name in {*(_identity(config) if names is None else names)} - known:
        record: Any = config
        for number, part in enumerate(parts := name.split("."), 1):
            if (path := ".".join(parts[:number])) not in known:
                filled |= _default(record, part, path)
                break
            record = getattr(record, part, None)
    return filled


def _default(record: Any, field: str, path: str) -> dict[str, Any]:
    """The default of a field by name; by the names of its own fields, where it is a record."""
    declared = getattr(record, "__dataclass_fields__", {}).get(field)
    if declared is None:
        return {}
    value = declared.default
    if declared.default_factory is not dataclasses.MISSING:
        value = declared.default_factory()
    if value is dataclasses.MISSING:
        return {}
    inner = as_json(flatten({field: thaw(plain(value))}))
    return {path + name.removeprefix(field): value for name, value in inner.items()}


def check_release(folder: Path) -> None:
    """Raises ValueError for the run of a later release, whose settings this one does not know."""
    check_format(json_or_empty(folder / "config.json"), folder / "config.json")


def record(config: TrainConfig, data: str, schedule_steps: int) -> dict[str, Any]:
    """What `check_same_run` compares, as a checkpoint remembers it."""
    return {
        "identity": _identity(config),
        "data": data,
        "schedule_steps": schedule_steps,
        "vocab_size": getattr(config.model, "vocab_size", None),
    }


def _identity(config: TrainConfig) -> dict[str, Any]:
    """Without where and how a text is read: it may move, and its fingerprint is compared."""
    source = ("data.path", "data.eval_path", "data.encoding")
    return {name: value for name, value in identity(config).items() if name not in source}
