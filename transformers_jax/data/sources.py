"""Where text comes from: files and folders, and data sets that others have prepared.

A `Source` has splits, and a split can be gone through again and again, one text at a time; nothing
is read into memory at once but the text that is looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from transformers_jax.data import prepared, python_docs
from transformers_jax.data.files import (
    check_characters,
    check_plain,
    find_files,
    kind_of,
    lines_of,
    without_mark,
)
from transformers_jax.data.generated import generated_records
from transformers_jax.data.records import (
    PARQUET,
    TABLES,
    columns_of,
    holds_records,
    read_records,
)
from transformers_jax.data.splits import by_split, by_split_earlier
from transformers_jax.data.texts import FIELD, RULES, Source, Texts, check_encoding, digest, text_of

BUILT_IN = ("python_docs",)
EXPECTED = (
    "a text, a folder, a pattern, .jsonl, .csv, .parquet, a .bin or .npy file of token ids, "
    f"{', '.join(BUILT_IN)}, generated:NAME, tfds:NAME, or hf:NAME"
)
SEPARATORS = {"file": "\n\n", "paragraph": "\n\n", "line": "\n"}


def open_source(
    path: str,
    field: str = "text",
    documents: str = "file",
    encoding: str = "utf-8",
    rules: int = RULES,
) -> Source:
    """A source by its name; only names and sizes of files are looked at, and columns of tables.

    python_docs; a text file; .jsonl (.jsonlines, .ndjson, .json; a record a line); .csv or .tsv
    (.tab), the first line of which names its columns; .parquet; .fasta (.fa, .faa, .fas), of which
    a document is a sequence; any of these as .gz, .bz2, .xz or .zst;
    a folder or a glob pattern of such files; files or folders in a folder that are called so
    are its splits (splits.py); tfds:NAME, tfds:/folder/of/a/version; hf:NAME, hf:/folder.

    Args:
        field: where the text of a record is; "text" also means the only column of a table.
        documents: what a document of a plain text is: the file, a paragraph, or a line.
        encoding: of texts, records and tables.
        rules: `texts.RULES`, or those of an earlier version, for its runs.

    Raises:
        ValueError: there is no such source, or an extra is missing. What is in the files is
            checked as they are read.
    """
    check_encoding(encoding)
    if documents not in SEPARATORS:
        raise ValueError(f"data.documents {documents!r} is not one of {', '.join(SEPARATORS)}")
    if path.startswith(("tfds:", "hf:")):
        scheme, name = path.split(":", 1)
        return (prepared.open_tfds if scheme == "tfds" else prepared.open_hf)(name, field)
    if path.startswith("generated:"):
        return _generated(path, field)
    if path in BUILT_IN:
        texts = lambda split: Texts(lambda: (one.text for one in python_docs.load()[split]))
        splits = {split: texts(split) for split in ("train", "validation")}
        return Source(path, splits, fingerprint=python_docs.version())
    files = find_files(path, "data.path", EXPECTED)
    if rules < RULES:
        parts, note = by_split_earlier(files, path), ""
    else:
        parts, note = by_split(files, path)
        files = [file for some in parts.values() for file in some]
    for file in files:
        if rules == RULES and not holds_records(file):
            check_plain(file)
    columns = {file: _column(file, field, encoding) for file in files if kind_of(file) in TABLES}
    read = lambda some: Texts(partial(_read_all, some, field, documents, encoding, columns, rules))
    splits = {split: read(some) for split, some in parts.items()}
    sizes = "".join(f"{file.name} {file.stat().st_size}\n" for file in files)
    chosen = {column: file for file, column in columns.items() if column != field}
    notes = [f"texts are from column {column!r} of {file}" for column, file in chosen.items()]
    return Source(
        path,
        splits,
        SEPARATORS[documents],
        fingerprint=digest(sizes),
        files=tuple(files),
        note="; ".join([*([note] if note else []), *notes]),
    )


def _generated(path: str, field: str) -> Source:
    """The texts of a table that is made on the spot."""
    found = {
        split: tuple(text_of(record, field, where) for where, record in records)
        for split, records in generated_records(path.removeprefix("generated:")).items()
    }
    splits = {split: Texts(partial(iter, texts)) for split, texts in found.items()}
    content = digest("\n".join(text for texts in found.values() for text in texts))
    return Source(path, splits, fingerprint=content)


# ---------------------------------------------------------------- reading files


def _read_all(
    files: list[Path],
    field: str,
    documents: str,
    encoding: str,
    columns: dict[Path, str],
    rules: int,
) -> Iterator[str]:
    empty = True
    for file in files:
        if holds_records(file):
            texts = _texts_of_records(file, columns.get(file, field), encoding)
        else:
            texts = _read_plain(file, documents, encoding, rules)
        for text in texts:
            if text.strip():
                empty = False
                yield text
    if empty:
        raise ValueError(f"{files[0] if len(files) == 1 else files[0].parent} is empty")


def _read_plain(file: Path, documents: str, encoding: str, rules: int) -> Iterator[str]:
    read = lines_of(file, encoding, whole=documents == "file")
    if rules == RULES:
        read = without_mark(read)
        first = next(read, "")
        check_characters(first, file)
        read = itertools.chain([first], read)
    if documents == "file":
        yield from read
        return
    lines = (line.removesuffix("\n").removesuffix("\r") for line in read)
    if documents == "line":
        yield from lines
        return
    for written, paragraph in itertools.groupby(lines, key=lambda line: bool(line.strip())):
        if written:
            yield "\n".join(paragraph)


def _texts_of_records(file: Path, field: str, encoding: str) -> Iterator[str]:
    if kind_of(file) == PARQUET and field not in columns_of(file):
        raise ValueError(f"{file} has no column {field!r}; it has {columns_of(file)}: pass {FIELD}")
    for where, record in read_records(file, encoding, [field]):
        yield text_of(record, field, where)


def _column(file: Path, field: str, encoding: str) -> str:
    """The column of a table that holds its texts.

    Raises:
        ValueError: no column is called so, and there are several.
    """
    names = columns_of(file, encoding)
    if names.count(field) == 1 or not names:
        return field
    if field == "text" and len(names) == 1 and not any(mark in names[0] for mark in ";\t,"):
        return names[0]
    parted = f", or part the columns with {TABLES[kind_of(file)]!r}" if len(names) == 1 else ""
    raise ValueError(
        f"{file} has {names.count(field) or 'no'} column {field!r}; its first line names {names}: "
        f"pass {FIELD}{parted}"
    )
