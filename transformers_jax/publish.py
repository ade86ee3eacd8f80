"""Atomic writing: a file appears complete or not at all, also after a kill or a power cut."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from transformers_jax.json_files import errors_of, json_text


def publish(
    path: Path,
    content: str | bytes | Callable[[IO[bytes]], Any],
    check: Callable[[Path], Any] | None = None,
) -> None:
    """Writes a file under another name, and renames it once all of it is on the disk.

    `content` is text (UTF-8), bytes, or a function that writes to the open file. `check` sees the
    finished file before it gets its name, and may raise.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(draft)
        os.replace(draft, path)
    except OSError as error:
        raise with_path(error, path) from None
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # where the name is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def with_path(error: OSError, path: Path) -> OSError:
    """The error with the path of the file that it is of: one of a write has none."""
    if error.errno is not None and error.filename is None:
        error.filename = str(path)
    return error


def publish_json(path: Path, values: Any, *, sort_keys: bool = False, default: Any = None) -> None:
    """`publish` of values as indented JSON; `default` is called for what JSON does not know.

    Raises:
        ValueError: numbers that are not finite, by their entries.
    """
    with errors_of(path):
        text = as_text(values, sort_keys=sort_keys, default=default)
    publish(path, text)


def as_text(values: Any, **options: Any) -> str:
    """Values as `publish_json` writes them."""
    return f"{json_text(values, indent=2, **options)}\n"


def remove_drafts(folder: Path) -> None:
    """Removes the drafts of killed processes; for a folder that no other process writes."""
    for draft in filter(is_draft, folder.iterdir()):
        draft.unlink()


def is_draft(path: Path) -> bool:
    """Whether a file is one that `publish` was writing."""
    return path.name.startswith(".") and path.name.endswith(".tmp") and path.is_file()


@contextlib.contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Within this, no other process holds the lock of this file; it waits for one that does.

    The system frees the lock of a process that ends. A file system without locks has none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
