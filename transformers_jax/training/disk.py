"""Disks: is there room, is it on the disk, and is trying again of any use."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import jax

T = TypeVar("T")

RETRIES = 3
FIRST_PAUSE = 0.1  # seconds; each pause is three times the one before

_FOR_GOOD = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
}  # fmt: skip
_FOR_GOOD_WORDS = (  # TensorStore raises ValueError with the text of the system's error
    "no space left", "quota exceeded", "file too large", "read-only file system",
    "permission denied", "not a directory", "resource_exhausted", "out_of_range",
)  # fmt: skip
_PASSING = {
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
_PASSING_WORDS = ("input/output error", "stale file handle", "timed out", "unavailable")


def size_of(tree: object) -> int:
    """Bytes of the arrays of a tree, as one copy of them on a disk would take."""
    leaves = jax.tree.leaves(tree)
    return sum(
        jax.random.key_data(x).nbytes
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        else x.nbytes
        for x in leaves
    )


def free(folder: str | Path) -> int:
    """Bytes that this user may still write where the folder is, or would be made."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def room(folder: str | Path, size: int) -> None:
    """Refuses to begin where two checkpoints of `size` bytes would not fit.

    Two, because the one before is removed only once the new one is complete.

    Raises:
        ValueError: less than twice `size` is free.
    """
    there = free(folder)
    if there < 2 * size:
        raise ValueError(
            f"{folder}: two checkpoints of {size:,} bytes need {2 * size:,} bytes and "
            f"{there:,} are free on that disk; free some space or choose another --out"
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


def final(error: BaseException) -> bool:
    """Whether another attempt would fail like this one: a full disk stays full."""
    return _tells(error, _FOR_GOOD, _FOR_GOOD_WORDS)


def passing(error: BaseException) -> bool:
    """Whether reading may succeed in a moment, as on a network disk that hiccups."""
    return _tells(error, _PASSING, _PASSING_WORDS)


def _tells(error: BaseException, numbers: set[int], words: tuple[str, ...]) -> bool:
    """Whether an error, or what caused it, has one of the numbers or words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in numbers:
            return True
        if any(word in str(seen).lower() for word in words):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def retried(
    call: Callable[[], T],
    again: Callable[[BaseException, float], None],
    worth: Callable[[BaseException], bool] = lambda error: not final(error),
) -> T:
    """What `call` returns, after up to three further attempts where an error is worth them.

    `again(error, pause)` is told before each. Pauses grow, and vary by half, so that processes
    that failed together do not come back together.
    """
    for attempt in range(RETRIES):
        try:
            return call()
        except Exception as error:
            if not worth(error):
                raise
            pause = FIRST_PAUSE * 3**attempt * random.uniform(0.5, 1.5)
            again(error, pause)
            time.sleep(pause)
    return call()


@contextlib.contextmanager
def quiet_threads(package: str) -> Iterator[None]:
    """Within this, threads of a package end without a traceback on the screen.

    Orbax writes in threads that raise to nobody what it raises to its caller as well.
    """
    told = threading.excepthook

    def hook(end: threading.ExceptHookArgs) -> None:
        if end.thread is None or not type(end.thread).__module__.startswith(package):
            told(end)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = told
