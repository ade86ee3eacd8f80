"""Where text comes from: files and folders, and data sets that others have prepared.

A `Source` has splits, and a split can be gone through again and again, one text at a time; nothing
is read into memory at once but the text that is looked at.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import glob
import gzip
import io
import itertools
import lzma
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from transformers_jax.data import prepared, python_docs
from transformers_jax.data.texts import (
    ENCODING,
    FIELD,
    Source,
    Texts,
    check_encoding,
    digest,
    need,
    text_of,
)
from transformers_jax.json_files import MEND, parse_json

BUILT_IN = ("python_docs",)
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*OPENERS, ".zst")
RECORDS = (".jsonl", ".ndjson", ".json")
TABLES = {".csv": ",", ".tsv": "\t"}
CHUNK = 1 << 20  # bytes that are decoded together, where a position is looked for
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
ARRAY = "a record is a line, not an array of them"
SEPARATORS = {"file": "\n\n", "paragraph": "\n\n", "line": "\n"}


def open_source(
    path: str, field: str = "text", documents: str = "file", encoding: str = "utf-8"
) -> Source:
    """A source by its name; only names and sizes of files are looked at, and columns of tables.

    python_docs; a text file; .jsonl, .ndjson or .json (a record a line); .csv or .tsv, the first
    line of which names its columns; .parquet; any of these as .gz, .bz2, .xz or .zst; a folder or a
    glob pattern of such files, with the splits train and validation if files or folders in it are
    called so; tfds:NAME, tfds:/folder/of/a/version; hf:NAME, hf:/folder.

    Args:
        field: where the text of a record is; "text" also means the only column of a table.
        documents: what a document of a plain text is: the file, a paragraph, or a line.
        encoding: of texts, records and tables.

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
    if path in BUILT_IN:
        texts = lambda split: Texts(lambda: (one.text for one in python_docs.load()[split]))
        splits = {split: texts(split) for split in ("train", "validation")}
        return Source(path, splits, fingerprint=python_docs.version())
    files = find_files(path)
    columns = {file: _column(file, field, encoding) for file in files if kind_of(file) in TABLES}
    read = lambda some: Texts(partial(_read_all, some, field, documents, encoding, columns))
    splits = {split: read(some) for split, some in _by_split(files, path).items()}
    sizes = "".join(f"{file.name} {file.stat().st_size}\n" for file in files)
    chosen = {column: file for file, column in columns.items() if column != field}
    note = "; ".join(f"column {column!r} of {file}" for column, file in chosen.items())
    return Source(
        path,
        splits,
        SEPARATORS[documents],
        fingerprint=digest(sizes),
        files=tuple(files),
        note=note,
    )


def find_files(path: str) -> list[Path]:
    """The files that a path, a folder or a pattern means, in the order of their names.

    Raises:
        ValueError: there are none.
    """
    root = Path(path).expanduser()
    if root.is_file():
        return [root]
    if root.is_dir():
        hidden = lambda file: any(part.startswith(".") for part in file.relative_to(root).parts)
        files = sorted(file for file in root.rglob("*") if file.is_file() and not hidden(file))
        if not files:
            raise ValueError(f"data.path {path!r} is a folder without files")
        return files
    if any(sign in path for sign in "*?["):
        matches = map(Path, sorted(glob.glob(str(root), recursive=True)))
        if files := [file for file in matches if file.is_file()]:
            return files
        raise ValueError(f"data.path {path!r} is a pattern that no file fits")
    raise ValueError(
        f"data.path {path!r} is not a file; give a text, a folder, a pattern, .jsonl, .csv, "
        f".parquet, a .bin or .npy file of token ids, {', '.join(BUILT_IN)}, tfds:NAME, or hf:NAME "
        "with --data.path"
    )


def _by_split(files: list[Path], path: str) -> dict[str, list[Path]]:
    """Files by split, where the names in a folder are those of splits; else all are to train on."""
    root = Path(path).expanduser()
    if root.is_dir():
        first = [file.relative_to(root).parts[0] for file in files]
        names = [SPLITS.get(name.split(".")[0].split("-")[0]) for name in first]
        if all(names) and "train" in names:
            return {
                split: [file for file, name in zip(files, names) if name == split]
                for split in dict.fromkeys(names)
                if split
            }
    return {"train": files}


# ---------------------------------------------------------------- reading files


def kind_of(file: Path) -> str:
    """The ending that says what a file holds: ".jsonl" of a.jsonl and of a.jsonl.gz."""
    return file.with_suffix("").suffix if file.suffix in PACKED else file.suffix


def _read_all(
    files: list[Path], field: str, documents: str, encoding: str, columns: dict[Path, str]
) -> Iterator[str]:
    empty = True
    for file in files:
        kind = kind_of(file)
        if kind == ".parquet":
            texts = _read_parquet(file, field)
        elif kind in RECORDS:
            texts = _read_records(file, field, encoding)
        elif kind in TABLES:
            texts = _read_table(file, columns[file], encoding)
        else:
            texts = _read_plain(file, documents, encoding)
        for text in texts:
            if text.strip():
                empty = False
                yield text
    if empty:
        raise ValueError(f"{files[0] if len(files) == 1 else files[0].parent} is empty")


def open_file(file: Path) -> IO[bytes]:
    """A file as bytes, unpacked by its ending.

    Raises:
        ValueError: .zst and no pyarrow.
    """
    if file.suffix == ".zst":
        arrow = need("pyarrow", "train", str(file))
        return io.BufferedReader(arrow.input_stream(str(file), compression="zstd"))
    return cast(IO[bytes], OPENERS.get(file.suffix, open)(file, "rb"))


def _lines(file: Path, encoding: str, whole: bool = False) -> Iterator[str]:
    """The lines of a file, with their ends; or the whole file at once.

    Raises:
        ValueError: a damaged file, or bytes that are not of the encoding, with line and position.
    """
    try:
        with io.TextIOWrapper(open_file(file), encoding, newline="\n") as opened:
            yield from [opened.read()] if whole else opened
    except UnicodeError:
        raise ValueError(_undecodable(file, encoding)) from None
    except (EOFError, lzma.LZMAError, OSError, zlib.error) as error:
        raise ValueError(f"{file} cannot be unpacked ({error}); is it whole?") from None


def _undecodable(file: Path, encoding: str) -> str:
    """What is wrong with a text, and where: found by reading again, so that the first is fast."""
    decoder, read, line = codecs.getincrementaldecoder(encoding)(), 0, 1
    with open_file(file) as opened:
        while True:
            some = opened.read(CHUNK)
            read += len(some)
            try:
                line += decoder.decode(some, final=not some).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
                at, why = read - len(error.object) + error.start, error.reason
                break
            except UnicodeError as error:  # such as UTF-16 without the mark of its byte order
                at, why = read - len(some), str(error)
                break
    return (
        f"{file} is not {encoding.upper()} text ({why} at byte {at}, in line {line}); name its "
        f"encoding with {ENCODING}"
    )


def _read_plain(file: Path, documents: str, encoding: str) -> Iterator[str]:
    if documents == "file":
        yield from _lines(file, encoding, whole=True)
        return
    lines = (line.removesuffix("\n").removesuffix("\r") for line in _lines(file, encoding))
    if documents == "line":
        yield from lines
        return
    for written, paragraph in itertools.groupby(lines, key=lambda line: bool(line.strip())):
        if written:
            yield "\n".join(paragraph)


def _read_records(file: Path, field: str, encoding: str) -> Iterator[str]:
    for number, line in enumerate(_without_mark(_lines(file, encoding)), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        advice = ARRAY if line.lstrip().startswith("[") else MEND
        yield text_of(parse_json(line, where, advice=advice), field, where)


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    """Lines without the mark of the byte order, which some programs put before the first."""
    first = next(lines, "")
    return itertools.chain([first.removeprefix("\ufeff")], lines)


def _rows(file: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(the line in which it ends, a row) of a table; rows without cells are left out."""
    csv.field_size_limit(2**31 - 1)  # a document may be longer than the module's own limit
    reader = csv.reader(
        _without_mark(_lines(file, encoding)), delimiter=TABLES[kind_of(file)], strict=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num} is no row of a table: {error}") from None


def _column(file: Path, field: str, encoding: str) -> str:
    """The column of a table that holds its texts.

    Raises:
        ValueError: no column is called so, and there are several.
    """
    _, names = next(_rows(file, encoding), (0, []))
    if names.count(field) == 1 or not names:
        return field
    if field == "text" and len(names) == 1 and not any(mark in names[0] for mark in ";\t,"):
        return names[0]
    parted = f", or part the columns with {TABLES[kind_of(file)]!r}" if len(names) == 1 else ""
    raise ValueError(
        f"{file} has {names.count(field) or 'no'} column {field!r}; its first line names {names}: "
        f"pass {FIELD}{parted}"
    )


def _read_table(file: Path, column: str, encoding: str) -> Iterator[str]:
    rows = _rows(file, encoding)
    _, names = next(rows, (0, []))
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(
                f"{file}, line {line} has {len(row)} cells and the first line {len(names)}; put "
                "quotes around texts with commas, and double the quotes in them"
            )
        yield row[names.index(column)]


def _read_parquet(file: Path, field: str) -> Iterator[str]:
    arrow = need("pyarrow", "train", str(file))
    try:
        table = need("pyarrow.parquet", "train", str(file)).ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from None
    if field not in table.schema_arrow.names:
        raise ValueError(
            f"{file} has no column {field!r}; it has {table.schema_arrow.names}: pass {FIELD}"
        )
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=[field]):
        for text in batch.column(0).to_pylist():
            yield text_of({field: text}, field, f"{file}, row {number}")
            number += 1
