"""Disks: free space, what has reached the disk, and which errors are worth another attempt."""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import itertools
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax

T = TypeVar("T")

PATTERN = frozenset("*?[]\\")
"""Characters that are taken for a pattern in the names of folders."""

RETRIES = 3
FIRST_PAUSE = 0.1  # seconds; each pause is three times the one before

_PASSING = {
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
_NAMED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors that TensorStore gives as the text of the system's error."""

_PASSING_WORDS = (  # TensorStore raises ValueError with the text of the system's error
    "input/output error", "stale file handle", "timed out", "deadline", "unavailable", "aborted",
    "interrupted", "too many open files", "connection",
)  # fmt: skip


@functools.cache
def without_patterns(folder: Path) -> Path:
    """The folder under a name without the characters of patterns, if need be a link for the time of
    this process: orbax searches folders by patterns that it makes of their names."""
    if PATTERN.isdisjoint(str(folder)):
        return folder
    links = Path(tempfile.mkdtemp(prefix="transformers-jax-"))
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    link = links / "folder"
    link.symlink_to(folder)
    return link


def size_of(tree: object) -> int:
    """Bytes of the arrays of a tree, as one copy of them on a disk would take."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def free(folder: str | Path) -> int:
    """Bytes that this user may still write on the disk of a folder."""
    return shutil.disk_usage(folder).free


def room(folder: str | Path, size: int) -> None:
    """Refuses to begin where two checkpoints of `size` bytes would not fit.

    Two, because the one before is removed only once the new one is complete.

    Raises:
        ValueError: less than twice `size` is free.
    """
    path = Path(folder).absolute()  # of a dry run it is not there
    available = free(next(above for above in (path, *path.parents) if above.is_dir()))
    if available < 2 * size:
        raise ValueError(
            f"{folder}: two checkpoints of {size:,} bytes need {2 * size:,} bytes and "
            f"{available:,} are free on that disk; free some space or choose another --out"
        )


def sync(path: Path) -> None:
    """Returns when a file, or a folder with all that is in it, has reached the disk.

    The folder above is part of it, since that is where the name is: a power cut then keeps both.
    """
    within = sorted(path.rglob("*")) if path.is_dir() else []
    for each in (*within, path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- errors


def is_passing(error: BaseException | None) -> bool:
    """Whether another attempt may succeed in a moment, as on a network disk that hiccups: by an
    error or what caused it. A full disk stays full."""
    while error is not None:
        text = str(error).lower()
        if getattr(error, "errno", None) in _PASSING or any(w in text for w in _PASSING_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def line_of(error: BaseException) -> str:
    """The first line of a message, or the kind of the error."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = line.split(" [tensorstore_spec", 1)[0]  # a page of JSON
    # TensorStore begins with what was done, and ends with the text of the system's error
    return line if len(line) <= 400 else f"{line[:180]} ... {line[-200:]}"


def reason(error: BaseException) -> str:
    """What the system says, such as "No space left on device", of an error or of what caused it;
    else its kind and its first words, without the paths and the JSON of libraries."""
    chain = [error]
    while (link := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(link)
    for each in chain:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
        for words in map(os.strerror, _NAMED):
            if words in str(each):
                return words
    words = line_of(chain[-1])
    return f"{type(chain[-1]).__name__}: {words if len(words) < 100 else f'{words[:100]} ...'}"


def cause(error: BaseException) -> str:
    """The first cause with its kind: orbax wraps what happened in general remarks."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {line_of(error)}"


def retried(call: Callable[[], T], say: Callable[[str], None], what: str) -> T:
    """What `call` returns, after up to three further attempts if its error is a passing one.

    Each is announced, with `what` it is about. Pauses grow, and vary by half, so that processes
    that failed together do not come back together.
    """
    for attempt in itertools.count():
        try:
            return call()
        except Exception as error:
            if attempt == RETRIES or not is_passing(error):
                raise
            pause = FIRST_PAUSE * 3**attempt * random.uniform(0.5, 1.5)
            say(f"WARNING: {what}: {cause(error)}; again in {pause:.1f} s")
            time.sleep(pause)
    raise AssertionError


@contextlib.contextmanager
def quiet_threads(package: str) -> Iterator[None]:
    """Within this, threads of a package end without a traceback on the screen.

    Orbax raises in threads, to nobody, what it raises to its caller as well.
    """
    report = threading.excepthook

    def hook(end: threading.ExceptHookArgs) -> None:
        if end.thread is None or not type(end.thread).__module__.startswith(package):
            report(end)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = report


def drop_late_errors() -> None:
    """From now on nothing is printed of what Orbax left behind in a call that failed.

    A write that ends later wakes an event loop that is closed, and coroutines that nobody awaits
    any more are collected: Python prints each with a traceback, to nobody's use, even behind the
    line that tells why the call failed.
    """
    warnings.filterwarnings("ignore", "coroutine '.*Handler\\.", RuntimeWarning)
    report = sys.unraisablehook
    if getattr(report, "drops_late_errors", False):
        return

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        abandoned = isinstance(getattr(error, "__cause__", None), GeneratorExit)
        if not abandoned and str(error) != "Event loop is closed":
            report(unraisable)

    hook.drops_late_errors = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
