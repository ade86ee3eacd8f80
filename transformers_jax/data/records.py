"""Records of files: the lines of JSONL, the rows of a table (CSV, TSV) or of Parquet, the proteins
of FASTA.

A record is a dict from the names of columns to values; with each comes the place where it is, which
errors about it begin with.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers_jax.data.files import kind_of, lines_of, without_mark
from transformers_jax.extras import need
from transformers_jax.json_files import MEND, parse_json

Record = dict[str, Any]
Placed = tuple[str, Record]
"""(where it is, a record)."""

JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLES = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
FASTA = (".fasta", ".fa", ".faa", ".fas")
ARRAY = "a record is a line, not an array of them"


def holds_records(file: Path) -> bool:
    """Whether a file is JSONL, a table, Parquet or FASTA, by its ending."""
    return kind_of(file) in (*JSON_LINES, *TABLES, PARQUET, *FASTA)


def read_records(
    file: Path, encoding: str = "utf-8", columns: Sequence[str] | None = None
) -> Iterator[Placed]:
    """The records of a file, one after the other; of Parquet only these columns are read.

    Raises:
        ValueError: a damaged file, or one of another kind, with the line.
    """
    kind = kind_of(file)
    if kind == PARQUET:
        return _parquet(file, columns)
    if kind in TABLES:
        return _table(file, encoding)
    if kind in JSON_LINES:
        return _json_lines(file, encoding)
    if kind in FASTA:
        return _fasta(file, encoding)
    known = ", ".join((*JSON_LINES, *TABLES, PARQUET, *FASTA))
    raise ValueError(f"{file} holds no records, by its ending; those that do end in {known}")


def columns_of(file: Path, encoding: str = "utf-8") -> list[str]:
    """The names of the columns of a table or of Parquet; of JSONL, those of its first record.

    Raises:
        ValueError: as of `read_records`; an empty file has none.
    """
    if kind_of(file) == PARQUET:
        return list(open_parquet(file).schema_arrow.names)
    if kind_of(file) in TABLES:
        return next(_rows(file, encoding), (0, list[str]()))[1]
    record = next(read_records(file, encoding), ("", Record()))[1]
    return [*map(str, record)] if isinstance(record, dict) else []


# ---------------------------------------------------------------- JSON


def _json_lines(file: Path, encoding: str) -> Iterator[Placed]:
    for number, line in enumerate(without_mark(lines_of(file, encoding)), 1):
        if line.strip():
            where = f"{file}, line {number}"
            advice = ARRAY if line.lstrip().startswith("[") else MEND
            yield where, parse_json(line, where, advice=advice)


# ---------------------------------------------------------------- tables


def _rows(file: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(the line in which it ends, a row) of a table; rows without cells are left out."""
    csv.field_size_limit(2**31 - 1)  # a document may be longer than the module's own limit
    reader = csv.reader(
        without_mark(lines_of(file, encoding)), delimiter=TABLES[kind_of(file)], strict=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num} is no row of a table: {error}") from None


def _table(file: Path, encoding: str) -> Iterator[Placed]:
    rows = _rows(file, encoding)
    _, names = next(rows, (0, []))
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(
                f"{file}, line {line} has {len(row)} cells and the first line {len(names)}; put "
                "quotes around texts with commas, and double the quotes in them"
            )
        yield f"{file}, line {line}", dict(zip(names, row))


# ---------------------------------------------------------------- Parquet


def open_parquet(file: Path) -> Any:
    """A Parquet file; its schema has been read.

    Raises:
        ValueError: it is none, or pyarrow is missing.
    """
    arrow = need("pyarrow", "train", str(file))
    try:
        return need("pyarrow.parquet", "train", str(file)).ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from None


def _parquet(file: Path, columns: Sequence[str] | None) -> Iterator[Placed]:
    numbers = itertools.count()
    for batch in open_parquet(file).iter_batches(batch_size=1024, columns=columns):
        for record in batch.to_pylist():
            yield f"{file}, row {next(numbers)}", record


# ---------------------------------------------------------------- FASTA


def _fasta(file: Path, encoding: str) -> Iterator[Placed]:
    """The sequences of a FASTA file: `name`, the line behind ">", and `text`, the letters of all
    lines up to the next."""
    name, begins, letters = None, 0, list[str]()
    lines = enumerate(without_mark(lines_of(file, encoding)), 1)
    for number, line in itertools.chain(lines, [(0, ">")]):
        line = line.strip()
        if line.startswith(">"):
            if name is not None:
                where = f"{file}, line {begins}"
                if not letters:
                    raise ValueError(f"{where}: no sequence follows {name!r}")
                yield where, {"name": name, "text": "".join(letters)}
            name, begins, letters = line[1:].strip(), number, []
        elif line and name is None:
            raise ValueError(
                f"{file}, line {number}: expected a line that begins with '>' and names the "
                f"sequence behind it, as FASTA has it; {line[:40]!r} came"
            )
        elif line:
            letters.append("".join(line.split()))
