"""What a source is: documents by split, which can be read again and again."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Texts:
    """Texts that can be read again and again; for sources of ids, arrays of ids."""

    start: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.start()


@dataclass(frozen=True)
class Source:
    """Documents by split.

    Attributes:
        path: its name, as the user wrote it.
        splits: "train", and "validation" if there is one: `Texts`, or `Tokens` of a folder or file.
        separator: the text behind each document where no token is.
        ids: whether documents are token ids already.
        fingerprint: of the files' names and sizes, or the data set's name and version.
        meta: what the meta.json of a folder of tokens says.
        tokenizer: the folder with the tokenizer of a folder of tokens.
    """

    path: str
    splits: Mapping[str, Any]
    separator: str = "\n\n"
    ids: bool = False
    fingerprint: str = ""
    meta: Mapping[str, Any] | None = None
    tokenizer: Path | None = None


def digest(content: str | bytes) -> str:
    """A fingerprint of the contents: 16 hex digits."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:16]


def text_of(record: Any, field: str, where: str) -> str:
    """The text of a record.

    Raises:
        ValueError: no record, no such field, or no text in it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{where} is {type(record).__name__}, not a record with {field!r}")
    if field not in record:
        raise ValueError(
            f"{where} has no field {field!r}; it has {sorted(map(str, record))}: pass --data.field"
        )
    text = record[field]
    if isinstance(text, bytes):
        text = text.decode()
    if not isinstance(text, str):
        raise ValueError(f"{where}: {field!r} holds {type(text).__name__}, not text")
    return text


def need(module: str, extra: str, what: str) -> Any:
    """A module of an extra of this package.

    Raises:
        ValueError: it is not installed; says what needs it, and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f'{what} needs the extra `{extra}` ({error}): pip install "transformers-jax[{extra}]"'
        ) from None
