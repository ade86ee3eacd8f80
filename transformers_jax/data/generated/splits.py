"""On which side of a generated table a record is."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "validation", "test")


def split_of(key: str, test: int = 1) -> str:
    """The split of whatever is called so: of ten, one is of "validation" and `test` of "test"."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % 10
    if number == 0:
        return "validation"
    return "test" if number <= test else "train"
