"""SHA-256 of files, remembered for as long as the files stay as they are.

A file that was read once is not read again while its size, times and inode are the same: after the
first start of a run a look at a large folder costs next to nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers_jax.data.python_docs import cache_dir
from transformers_jax.data.texts import digest
from transformers_jax.json_files import json_or_empty
from transformers_jax.publish import publish_json

CHUNK = 1 << 22  # bytes


def known_sum(file: Path) -> str | None:
    """The SHA-256 that the file had when it was last read whole, if it has not been touched."""
    record = _records_of(file.parent).get(file.name, {})
    if not record or not file.is_file():
        return None
    return record["sha256"] if record["state"] == _state(file) else None


def file_sum(file: Path, read: Callable[[int], None] = lambda count: None) -> str:
    """The SHA-256 of a file: 64 hex digits.

    Args:
        read: called with the bytes of each piece that has been read; may raise to end it.

    Raises:
        OSError: it cannot be read.
    """
    if known := known_sum(file):
        return known
    content, before = hashlib.sha256(), _state(file)
    with open(file, "rb") as opened:
        while piece := opened.read(CHUNK):
            content.update(piece)
            read(len(piece))
    if _state(file) == before:
        _remember(file, {"state": before, "sha256": content.hexdigest()})
    return content.hexdigest()


def _state(file: Path) -> list[int]:
    """What changes when a file is written, also where its time is set back."""
    now = file.stat()
    return [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino]


def _place_of(folder: Path) -> Path:
    return cache_dir() / "checksums" / f"{digest(str(folder.resolve()))}.json"


def _records_of(folder: Path) -> dict[str, Any]:
    """{name: record} of the files of a folder."""
    place = _place_of(folder)
    try:
        return _read(place, place.stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=8)
def _read(place: Path, written: int) -> dict[str, Any]:
    """The records as they were `written`: a folder may have thousands of files."""
    return json_or_empty(place)


def _remember(file: Path, record: dict[str, object]) -> None:
    """A cache that cannot be written costs the next start another reading."""
    place = _place_of(file.parent)
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        publish_json(place, {**_records_of(file.parent), file.name: record})
