"""Where text comes from: files and folders, and data sets that others have prepared.

A `Source` has splits, and a split can be gone through again and again, one text at a time; nothing
is read into memory at once but the text that is looked at.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import itertools
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from transformers_jax.data import prepared, python_docs
from transformers_jax.data.texts import Source, Texts, digest, need, text_of
from transformers_jax.json_files import MEND, parse_json

BUILT_IN = ("python_docs",)
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*OPENERS, ".zst")
RECORDS = (".jsonl", ".ndjson", ".json")
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
ARRAY = "a record is a line, not an array of them"
SEPARATORS = {"file": "\n\n", "paragraph": "\n\n", "line": "\n"}


def open_source(path: str, field: str = "text", documents: str = "file") -> Source:
    """A source by its name; only names and sizes of files are looked at.

    python_docs; a text file; .jsonl, .ndjson or .json (a record a line); .parquet; any of these as
    .gz, .bz2, .xz or .zst; a folder or a glob pattern of such files, with the splits train and
    validation if files or folders in it are called so; tfds:NAME, tfds:/folder/of/a/version;
    hf:NAME, hf:/folder.

    Args:
        field: where the text of a record is.
        documents: what a document of a plain text is: the file, a paragraph, or a line.

    Raises:
        ValueError: there is no such source, or an extra is missing. What is in the files is
            checked as they are read.
    """
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
    read = lambda some: Texts(lambda: _read_all(some, field, documents))
    splits = {split: read(some) for split, some in _by_split(files, path).items()}
    sizes = "".join(f"{file.name} {file.stat().st_size}\n" for file in files)
    return Source(path, splits, SEPARATORS[documents], fingerprint=digest(sizes))


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
        f"data.path {path!r} is not a file; give a text, a folder, a pattern, .jsonl, .parquet, a "
        f".bin or .npy file of token ids, {', '.join(BUILT_IN)}, tfds:NAME, or hf:NAME"
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


def _read_all(files: list[Path], field: str, documents: str) -> Iterator[str]:
    empty = True
    for file in files:
        kind = file.with_suffix("").suffix if file.suffix in PACKED else file.suffix
        if kind == ".parquet":
            texts = _read_parquet(file, field)
        elif kind in RECORDS:
            texts = _read_records(file, field)
        else:
            texts = _read_plain(file, documents)
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


def _lines(file: Path, whole: bool = False) -> Iterator[tuple[int, str]]:
    """(number from 1, line), without the line's end; or the whole file at once.

    Raises:
        ValueError: a damaged file, or bytes that are not UTF-8, with line and position.
    """
    try:
        with open_file(file) as opened:
            for number, line in enumerate([opened.read()] if whole else opened, 1):
                text = line.decode()
                yield number, text if whole else text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        where = f"at {error.start}" if whole else f"at {error.start} of line {number}"
        raise ValueError(f"{file} is not UTF-8 text ({error.reason} {where})") from None
    except (EOFError, lzma.LZMAError, OSError, zlib.error) as error:
        raise ValueError(f"{file} cannot be unpacked ({error}); is it whole?") from None


def _read_plain(file: Path, documents: str) -> Iterator[str]:
    lines = (line for _, line in _lines(file, whole=documents == "file"))
    if documents != "paragraph":
        yield from lines
        return
    for written, paragraph in itertools.groupby(lines, key=lambda line: bool(line.strip())):
        if written:
            yield "\n".join(paragraph)


def _read_records(file: Path, field: str) -> Iterator[str]:
    for number, line in _lines(file):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        advice = ARRAY if line.lstrip().startswith("[") else MEND
        yield text_of(parse_json(line, where, advice=advice), field, where)


def _read_parquet(file: Path, field: str) -> Iterator[str]:
    arrow = need("pyarrow", "train", str(file))
    try:
        table = need("pyarrow.parquet", "train", str(file)).ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from None
    if field not in table.schema_arrow.names:
        raise ValueError(
            f"{file} has no column {field!r}; it has {table.schema_arrow.names}: pass --data.field"
        )
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=[field]):
        for text in batch.column(0).to_pylist():
            yield text_of({field: text}, field, f"{file}, row {number}")
            number += 1
