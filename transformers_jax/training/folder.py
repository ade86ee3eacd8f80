"""The folder of a run: which process may write into it, and which run may continue it."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Any, TextIO

from transformers_jax.publish import publish_json
from transformers_jax.training.config import TrainConfig, identity

LOCK = ".lock"


class RunFolder:
    """A folder that one process at a time writes into; the system frees it when that one ends.

    Args:
        resume: "never" refuses a folder in which there is something.
        owner: whether this process is the one; of a run of several processes it is the first, and
            the others neither lock nor write.

    Raises:
        ValueError: the folder cannot be made, is in use, or is not empty.
    """

    def __init__(self, path: str | Path, resume: str, *, owner: bool = True):
        self.owner = owner
        self._lock: TextIO | None = None
        self.path = Path(path).expanduser()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {self.path}: {error.strerror}") from None
        if not owner:
            return
        # a start that failed leaves a lock and empty folders
        files = [f for f in self.path.iterdir() if f.is_file() or any(f.iterdir())]
        if resume == "never" and any(file.name != LOCK for file in files):
            raise ValueError(
                f"{self.path} is not empty; choose another --out, or --resume auto to continue it"
            )
        self._acquire()

    def _acquire(self) -> None:
        try:
            lock = (self.path / LOCK).open("a+")
        except OSError as error:
            raise ValueError(
                f"cannot write into {self.path}: {error.strerror}; choose another --out"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "?"
            lock.close()
            raise ValueError(
                f"{self.path} is in use by process {holder}; wait for it or choose another --out"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {socket.gethostname()}")
        lock.flush()
        self._lock = lock

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


def check_same_run(config: TrainConfig, data: str, saved: dict[str, Any]) -> None:
    """A checkpoint is continued by the run that made it, or by none.

    Raises:
        ValueError: another model, optimizer, text or schedule, with each difference.
    """
    before, now = saved["identity"], _identity(config)
    allowed = [f"{name}." for name in config.allow_change if name != "data"]
    allowed += ["optimizer.schedule."] if config.allow_schedule_change else []
    wrong = {
        name: f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and not f"{name}.".startswith(tuple(allowed))
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
