"""What a source is: documents by split, which can be read again and again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELD = "--data.field NAME (tokenize: --field NAME)"
ENCODING = "--data.encoding NAME (tokenize: --encoding NAME)"

RULES = 3
"""The rules by which it is decided what of a source is trained on and held out. A run goes on by
those of the version that began it:

1   each document was held out by its hash, however few there were, and ids were known by their ends
2   of few documents whole ones were held out, also where the share was far off
1-2 all files of a folder were trained on if one of them had not the name of a split; and the mark
    of the byte order at the start of a plain text
"""


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
        files: what the texts are read from, where they are files.
        expected: the files of folders of tokens, with their checksums.
        held_out: by what documents were held out: hash, size, end, ends; "": the source itself.
        note: what was chosen for the user, such as a column.
    """

    path: str
    splits: Mapping[str, Any]
    separator: str = "\n\n"
    ids: bool = False
    fingerprint: str = ""
    meta: Mapping[str, Any] | None = None
    tokenizer: Path | None = None
    files: tuple[Path, ...] = ()
    expected: tuple[Any, ...] = ()
    held_out: str = ""
    note: str = ""


def digest(content: str | bytes) -> str:
    """A fingerprint of the contents: 16 hex digits."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:16]


def check_encoding(name: str) -> None:
    """Raises ValueError where Python has no encoding of text of this name."""
    try:
        " ".encode(name)
    except (LookupError, ValueError):  # some that Python knows are none of text, or encode nothing
        raise ValueError(
            f"data.encoding {name!r} is unknown; Python's names are utf-8, latin-1, cp1252, "
            "utf-16, shift_jis, gb18030, ..."
        ) from None


def text_of(record: Any, field: str, where: str) -> str:
    """The text of a record.

    Raises:
        ValueError: no record, no such field, or no text in it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{where} is {type(record).__name__}, not a record with {field!r}")
    if field not in record:
        raise ValueError(
            f"{where} has no field {field!r}; it has {sorted(map(str, record))}: pass {FIELD}"
        )
    text = record[field]
    if isinstance(text, bytes):
        text = text.decode()
    if text is None:
        raise ValueError(
            f"{where}: {field!r} holds null, not text; take the record out, or mend it"
        )
    if not isinstance(text, str):
        raise ValueError(f"{where}: {field!r} holds {type(text).__name__}, not text")
    return text
