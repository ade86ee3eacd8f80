"""Saved states: written by orbax in the background, verified leaf by leaf when they are read.

    checkpoints/
        6/                              a step, complete: its folder got this name by a rename
        8.orbax-checkpoint-tmp/         a step being written; what a killed process left of one is
                                        removed by the next start and is never read
        4.damaged/                      a damaged step, which is left for examination

Orbax reads a flipped bit in a saved array back without an error. So each step records a checksum of
every leaf, and one of the record itself. Which steps stay is decided here, not by Orbax's
CheckpointManager: it removes old steps before the new one is synced, and lists damaged ones.

Format. 1: no digest of the record, no `skipped` in the state. 2: both, and the shapes of leaves.
Every older one is read: fields that TrainState has gained since keep their initial values. A later
one is refused by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from transformers_jax import processes
from transformers_jax.printing import print_line
from transformers_jax.training import disk, snapshot
from transformers_jax.training.checksums import checksums, measured
from transformers_jax.training.recorded import (
    FORMAT,
    UNFINISHED,
    Damaged,
    is_step,
    read_record,
    read_verified,
)
from transformers_jax.training.state import TrainState

REMOVED, DAMAGED = ".removed", ".damaged"


class SaveFailed(ValueError):
    """A step could not be written; those before it are intact."""


class Checkpoints:
    """The checkpoints of a run: the newest `keep` (at least 2), and with `best` also the best one.

    `save` copies the state to the host and returns; a thread writes. An error of that thread is
    raised by the next `check`, `save` or `wait`. No other run may use the folder (RunFolder).

    Args:
        best: keep the step whose metric is the lowest, too.
        say: prints a line, about each attempt to write that is repeated.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 3,
        *,
        best: bool = False,
        say: Callable[[str], None] = functools.partial(print_line, error=True),
    ):
        import orbax.checkpoint as ocp

        for name in ("absl", "asyncio"):  # orbax logs each error several times
            logging.getLogger(name).setLevel(logging.CRITICAL)
        disk.drop_late_errors()
        self.folder = Path(folder).absolute()
        self.keep = max(keep, 2)  # a damaged newest one must not be the only one
        self.best, self.say = best, say
        self.saving: int | None = None
        """the step that is being written"""
        self.saved: int | None = None
        """the last step that was written completely by this process"""
        self._args, self._ocp = ocp.args, ocp
        self._plain = disk.without_patterns(self.folder)
        self._first = processes.is_first()
        alone = ocp.options.MultiprocessingOptions(  # each reads its own, and waits for nobody
            primary_host=jax.process_index(), active_processes={jax.process_index()}
        )
        options = dict(multiprocessing_options=alone) if processes.several() else {}
        self._handler = ocp.Checkpointer(ocp.CompositeCheckpointHandler(), **options)
        self._async_handler: Any = None  # of several processes
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        if self._plain != self.folder and processes.several():
            raise ValueError(
                f"{self.folder}: several processes need a folder without * ? [ ] and \\ in its name"
            )

    def steps(self) -> list[int]:
        """The steps that are saved completely, the oldest first; one in writing is not."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if is_step(path))

    def best_steps(self) -> list[int]:
        """The saved steps that have a metric, from the lowest on, the later of equals first."""
        metrics = {}
        for step in self.steps():
            with contextlib.suppress(ValueError):
                metrics[step] = self.meta(step).get("metric")
        return [-step for _, step in sorted((m, -n) for n, m in metrics.items() if m is not None)]

    # ------------------------------------------------------------ writing

    def save(self, state: TrainState, meta: dict[str, Any], metric: float | None = None) -> None:
        """Begins to save; returns when the state has been copied to the host.

        Args:
            meta: what else a later run must know, as JSON.
            metric: by which `best` is chosen, lower is better.

        Raises:
            ValueError: a leaf that is no array, a metric that is not finite, a step that is saved
                already with another content, or (SaveFailed) the error of the save before.
        """
        self.wait()
        if self.saved is None:  # later, a folder that is gone has been removed
            self.folder.mkdir(parents=True, exist_ok=True)
        tree = snapshot.plain(state)
        snapshot.check_leaves(tree)
        if metric is not None and not math.isfinite(metric):
            raise ValueError(f"metric ({metric}) of a checkpoint must be finite; pass None")
        step, sums = int(state.step), measured(jax.tree.leaves(tree))
        record = {**meta, "format": FORMAT, "step": step, "arrays": snapshot.spelled(tree)}
        record |= {} if metric is None else {"metric": float(metric)}
        if not processes.several():
            copies = snapshot.on_host(tree)
            write = lambda: self._write(step, copies, snapshot.completed(record, sums))
        else:  # each process writes its own shards, and orbax synchronizes them
            write = self._begin_async(step, tree, snapshot.completed(record, sums))
        self.saving = step
        name = f"save-{step}"
        arguments = step, disk.size_of(tree), write
        self._thread = threading.Thread(target=self._finish, args=arguments, name=name)
        self._thread.start()

    def check(self) -> None:
        """Raises the error of a save in the background; costs nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Returns when everything is written, and raises the error of a save."""
        if self._thread is not None:
            self._thread.join()
        self.check()

    def close(self) -> None:
        """Waits for the writer. An error that was not raised is printed."""
        try:
            self.wait()
        except Exception as error:
            self.say(f"error: {disk.line_of(error)}")

    def _finish(self, step: int, size: int, write: Callable[[], None]) -> None:
        """In the thread: writes, syncs, and only then removes what is older."""
        try:
            with self._save_failed(self.folder / str(step), size):
                write()
            if self._first:
                disk.sync(self.folder / str(step))
                self._remove_older()
            self.saved = step
        except Exception as error:
            self._error = error
        finally:
            self.saving = None

    def _write(self, step: int, tree: Any, record: dict[str, Any]) -> None:
        path = self.folder / str(step)
        if self._holds(path, record):
            return

        def attempt() -> None:
            self._remove(f"{step}{UNFINISHED}*")
            self._handler.save(
                self._plain / str(step), args=self._content(tree, record), force=True
            )

        with disk.quiet_threads("orbax"):
            disk.retried(attempt, self.say, f"checkpoint {path}")

    def _begin_async(self, step: int, tree: Any, record: dict[str, Any]) -> Callable[[], None]:
        path = self.folder / str(step)
        if self._holds(path, record):
            return lambda: None
        if self._async_handler is None:
            handler = self._ocp.CompositeCheckpointHandler()
            self._async_handler = self._ocp.AsyncCheckpointer(handler)
        with self._save_failed(path, disk.size_of(tree)):
            self._async_handler.save(path, args=self._content(tree, record), force=True)
        return self._async_handler.wait_until_finished

    def _holds(self, path: Path, record: dict[str, Any]) -> bool:
        """Whether this state is saved there already.

        Raises:
            SaveFailed: another one is.
        """
        if not is_step(path):
            return False
        with contextlib.suppress(ValueError):  # damaged: its content is another one
            if read_record(path)["checksums"] == record["checksums"]:
                return True
        raise SaveFailed(
            f"checkpoint {path} holds another state of step {path.name}; choose another --out"
        )

    def _content(self, tree: Any, record: dict[str, Any]) -> Any:
        args = self._args
        return args.Composite(state=args.StandardSave(tree), meta=args.JsonSave(record))

    @contextlib.contextmanager
    def _save_failed(self, path: Path, size: int) -> Iterator[None]:
        """Within this, an error of the disk is a SaveFailed that names the path and the bytes."""
        try:
            yield
        except (SaveFailed, FloatingPointError):  # of what is to be saved
            raise
        except Exception as error:
            if not processes.several():  # else others may still be writing
                self._remove(f"{path.name}{UNFINISHED}*")
            steps = ", ".join(map(str, self.steps())) or "none"
            raise SaveFailed(
                f"checkpoint {path} cannot be written: {disk.reason(error)}. It needs "
                f"{size:,} bytes and {disk.free(self.folder):,} are free on that "
                "disk; free some space, or lift the limit on the size of files. Steps that are "
                f"intact: {steps}"
            ) from error

    def _remove_older(self) -> None:
        steps = self.steps()
        retained = {*steps[-self.keep :], *(self.best_steps()[:1] if self.best else ())}
        for step in {*steps} - retained:
            # renamed first: half a step must not look like one
            (self.folder / str(step)).rename(self.folder / f"{step}{REMOVED}")
            self._remove(f"{step}{REMOVED}")

    def _remove(self, pattern: str) -> list[str]:
        """Removes folders; returns their names."""
        paths = sorted(self.folder.glob(pattern))
        for path in paths if self._first else ():
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in paths]

    # ------------------------------------------------------------ reading

    def meta(self, step: int) -> dict[str, Any]:
        """What was recorded with a step.

        Raises:
            ValueError: it cannot be read, has been changed, or is of a later format.
        """
        return read_record(self.folder / str(step))

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of a step, laid out like `like`, once every leaf is what was saved.

        Raises:
            ValueError: it cannot be read, has other leaves, or some leaf has changed since.
        """
        path, record, args = self.folder / str(step), self.meta(step), self._args
        arrays = snapshot.laid_out(like, record)
        snapshot.check_same_leaves(path, record, arrays)
        abstract = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
        what = args.Composite(state=args.StandardRestore(jax.tree.map(abstract, arrays)))

        def read(path: Path) -> Any:
            problem: Exception = Damaged(f"checkpoint {path}: another process could not read it")
            fields = None
            try:
                restore = lambda: self._handler.restore(path, args=what)["state"]
                fields = disk.retried(restore, self.say, f"checkpoint {path}")
            except Exception as error:
                problem = error
            if not processes.all_agree(fields is not None):
                raise problem
            return fields

        fields = read_verified(path, record, read, checksums)
        key = jax.random.wrap_key_data(fields.pop("key"), impl=jax.random.key_impl(like.key))
        return dataclasses.replace(like, **{"window": None, **fields}, key=key)

    def newest(
        self, like: TrainState, *, strict: bool, say: Callable[[str], None]
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest good step with what was recorded about it; None if nothing is saved.

        What an interrupted save left is removed. A step that cannot be verified is passed over,
        said, and put aside so that it can be saved again; with `strict` it raises instead.

        Raises:
            ValueError: no step is intact, or they are of another model or a later format.
        """
        damaged: list[int] = []
        for step in reversed(self.steps()):
            good, problem = None, Damaged(f"checkpoint {step}: another process could not read it")
            try:
                good = self.restore(step, like), self.meta(step)
            except Damaged as error:
                problem = error
            if processes.all_agree(good is not None):
                self._tidy(damaged, say)
                return good
            if strict:
                message = f"{problem}; --resume auto would use an older one"
                raise ValueError(message) from problem
            say(f"WARNING: {disk.line_of(problem)}; trying the one before")
            damaged.append(step)
        if damaged:
            raise ValueError(
                f"none of the checkpoints in {self.folder} is intact, and all of them are left as "
                f"they are; `transformers-jax check-checkpoint {shlex.quote(str(self.folder))}` "
                "says what is damaged, copy a good one there or start again in another --out"
            )
        self._tidy([], say)
        return None

    def _tidy(self, damaged: Sequence[int], say: Callable[[str], None]) -> None:
        """Puts damaged steps aside and removes what was interrupted, once it is known where the run
        goes on; says it, and what else is no step."""
        for step in damaged if self._first else ():
            aside = self.folder / f"{step}{DAMAGED}"
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)
        if not self.folder.is_dir():
            return
        removed = sorted(self._remove(f"*{UNFINISHED}*") + self._remove(f"*{REMOVED}"))
        others = [p.name for p in sorted(self.folder.iterdir()) if not is_step(p)]
        ignored = [name for name in others if not name.endswith(DAMAGED) and name not in removed]
        if removed:
            say(f"removed what an interrupted save left: {', '.join(removed)}")
        if ignored:
            say(f"ignored in {self.folder}, not checkpoints: {', '.join(ignored)}")
