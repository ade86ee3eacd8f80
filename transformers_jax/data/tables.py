"""Tables: records by split, of files, of prepared data sets, made on the spot, or of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.data.config import Table
from transformers_jax.data.files import find_files
from transformers_jax.data.generated import generated_records
from transformers_jax.data.picture_files import (
    folder_records,
    folder_splits,
    holds_pictures,
    is_shard,
    naming_classes,
    shard_records,
)
from transformers_jax.data.pictures import Picture, picture_of
from transformers_jax.data.prepared import hf_records, tfds_records
from transformers_jax.data.python_docs import cache_dir
from transformers_jax.data.records import Record, holds_records, read_records
from transformers_jax.data.splits import by_split, check_trained, evaluated
from transformers_jax.data.texts import digest
from transformers_jax.json_files import json_text
from transformers_jax.publish import publish
from transformers_jax.spelling import nearest

EXPECTED = (
    "a file, folder or pattern of .csv, .tsv, .jsonl or .parquet, of pictures or of tar shards, "
    "tfds:NAME, hf:NAME, or generated:NAME"
)
SCHEMES = {
    "tfds": tfds_records,
    "hf": hf_records,
    "generated": lambda name: (generated_records(name), {}),
}
"""What reads SCHEME:NAME: the records by split, and the names of classes by column."""
LARGEST = 2**64
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Records:
    """The records of a split.

    Attributes:
        name: of the source, for messages.
        places: where each record is, which errors about it begin with.
        note: what is said of the source, such as files that were left out.
        classes: the names of classes by number, of the columns whose source says them.
        advice: what to do where a column is missing, of a source whose columns have no names of
            their own.
        left_out: {number: what is wrong} of records that were taken out because they cannot be
            read, by their numbers before.
    """

    name: str
    records: Sequence[Record]
    places: Sequence[str]
    note: str = ""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    advice: str = ""
    left_out: Mapping[int, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order of the first record that has each."""
        return list(dict.fromkeys(name for record in self.records for name in record))

    def column(self, name: str, setting: str) -> list[Any]:
        """The values of a column.

        Raises:
            ValueError: there is none of this name, or a record lacks it.
        """
        self.check_column(name, setting)
        for where, record in zip(self.places, self.records):
            if name not in record:
                raise ValueError(
                    f"{where} has no {name!r}; it has {sorted(map(str, record))}"
                    f"{': ' * bool(self.advice)}{self.advice}"
                )
        return [record[name] for record in self.records]

    def check_column(self, name: str, setting: str) -> None:
        """Raises ValueError where no record has a column of this name."""
        if name not in self.columns:
            raise ValueError(
                f"{self.name} has no column {name!r}{nearest(name, self.columns)}; it has "
                f"{', '.join(map(repr, self.columns)) or 'none'}: pass --{setting} NAME"
            )

    def naming(self, flag: str) -> str:
        """What to do where no column has one of the usual names: name one with a flag, if the
        source may have others."""
        return self.advice or f"pass {flag} NAME"

    def texts(self, name: str, setting: str) -> list[str]:
        """The values of a column of texts.

        Raises:
            ValueError: as of `column`; a value that is no text.
        """
        values = self.column(name, setting)
        for where, value in zip(self.places, values):
            if not isinstance(value, str):
                came = "null" if value is None else f"{type(value).__name__} ({value!r:.40})"
                raise ValueError(f"{where}: {name!r} holds {came}, not text")
        return values

    def select(self, numbers: Iterable[int]) -> Records:
        """Some of the records, by their numbers."""
        chosen = list(numbers)
        records, places = [self.records[n] for n in chosen], [self.places[n] for n in chosen]
        return Records(self.name, records, places, self.note, self.classes, self.advice)


def read_tables(data: Table, together: Sequence[str] = ()) -> dict[str, Records]:
    """{"train": records, "validation": records}: what a run is trained on and evaluated on.

    Args:
        together: as of `hold_out`.

    Raises:
        ValueError: a source that is missing, empty or damaged.
    """
    if not data.train:
        raise ValueError(f"there is nothing to train on; give {EXPECTED} with --data.train")
    splits = open_table(data.train, "data.train", data.encoding)
    check_trained(data.train, splits, "data.validation")
    tables = {name: rows for name, rows in splits.items() if name in SPLITS}
    if data.validation is not None:
        other = open_table(data.validation, "data.validation", data.encoding)
        tables["validation"] = other[evaluated(other)]
    elif "validation" not in tables and data.validation_fraction:
        tables |= hold_out(tables["train"], data.validation_fraction, together)
    return tables


def open_table(path: str, setting: str, encoding: str = "utf-8") -> dict[str, Records]:
    """The records of a source by split; of a single one, as "train".

    Raises:
        ValueError: there is no such source, it is empty, or a file is damaged.
    """
    if has_scheme(path):
        scheme, name = path.split(":", 1)
        opened, classes = SCHEMES[scheme](name)
        found = {split: _collected(f"{path}, {split}", rows) for split, rows in opened.items()}
        return {split: replace(records, classes=classes) for split, records in found.items()}
    if is_stored(path):
        rows = (record for _, record in read_records(Path(path), encoding))
        return {"train": of_python(setting.removeprefix("data."), list(rows))}
    files = find_files(path, setting, EXPECTED)
    if any(holds_pictures(file) for file in files):
        parts, note = folder_splits(files, path)
        found = {s: _collected(path, folder_records(some, path), note) for s, some in parts.items()}
        advice = naming_classes(path)
        return {split: replace(records, advice=advice) for split, records in found.items()}
    parts, note = by_split(files, path)
    if shards := [file for file in files if is_shard(file)]:
        if len(shards) < len(files):
            raise ValueError(f"{setting}: {path} holds tar shards and other files beside them")
        return {s: _collected(path, shard_records(some), note) for s, some in parts.items()}
    if wrong := [file for some in parts.values() for file in some if not holds_records(file)]:
        raise ValueError(f"{setting}: {wrong[0]} is no table by its ending; give {EXPECTED}")
    rows = lambda some: (placed for file in some for placed in read_records(file, encoding))
    return {split: _collected(path, rows(some), note) for split, some in parts.items()}


def stored(name: str, value: Any) -> str:
    """The path of a file with the records of Python, which a run can be continued from; its name
    is the hash of its content.

    Raises:
        ValueError: as of `of_python`.
    """
    text = json_lines(of_python(name, value).records)
    file = _stored_tables() / f"{digest(text)}.jsonl"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        publish(file, text)
    return str(file)


def is_stored(path: str) -> bool:
    """Whether a source is a file that `stored` has written; messages do not show its path."""
    return not has_scheme(path) and Path(path).parent == _stored_tables() and Path(path).is_file()


def _stored_tables() -> Path:
    return cache_dir() / "tables"


def has_scheme(path: str) -> bool:
    """Whether a source is named as SCHEME:NAME, and no file."""
    scheme, colon, _ = path.partition(":")
    return bool(colon) and scheme in SCHEMES


def of_python(name: str, value: Any) -> Records:
    """The records of a list of dicts, a dict of columns, or a frame or data set of a library.

    Raises:
        ValueError: what is none of these; columns of unlike length.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        value = value.to_dict("list")
    elif hasattr(value, "column_names") and hasattr(value, "to_list"):  # datasets
        value = value.to_list()
    if isinstance(value, Mapping):
        lengths = {column: len(values) for column, values in value.items()}
        if len({*lengths.values()}) > 1:
            raise ValueError(f"{name}: columns of unlike length: {lengths}")
        names = list(value)
        value = [dict(zip(names, row)) for row in zip(*value.values())]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(
            f"{name} is {type(value).__name__}; expected records (a list of dicts), columns (a "
            f"dict of lists), a frame, or the path of {EXPECTED}"
        )
    return _collected(name, ((f"{name}[{n}]", record) for n, record in enumerate(value)))


def _collected(name: str, rows: Iterator[tuple[str, Record]], note: str = "") -> Records:
    places, records = [], []
    for where, record in rows:
        if not isinstance(record, Mapping):
            raise ValueError(f"{where} is {type(record).__name__}, not a record (an object)")
        places.append(where)
        plain = {str(key): _plain(value, f"{where}, {key}") for key, value in record.items()}
        records.append(plain)
    if not records:
        raise ValueError(f"{name} is empty: it has no record")
    return Records(name, records, places, note)


def _plain(value: Any, where: str) -> Any:
    """A value as JSON has it: of NumPy's, Python's; or a picture."""
    if (picture := picture_of(value, where)) is not None:
        return picture
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{where} holds bytes that are neither text nor a picture") from None
    return value


def hold_out(records: Records, fraction: float, together: Sequence[str] = ()) -> dict[str, Records]:
    """The records in two parts, by the hash of each: equal ones are on one side, and a record stays
    on its side when others are added. Of few, at least one is held out.

    Args:
        together: names of columns; those with the same value of the first that there is are on one
            side.

    Raises:
        ValueError: there is a single record.
    """
    by = [name for name in together if name in records.columns][:1]
    hashes = [number_of({by[0]: record.get(by[0])} if by else record) for record in records.records]
    if len({*hashes}) < 2:
        raise ValueError(
            f"{records.name}: nothing can be held out of {len(records)} record; give "
            "--data.validation, or --data.validation-fraction 0"
        )
    held = {number for number in hashes if number < fraction * LARGEST} or {min(hashes)}
    held = held if len(held) < len({*hashes}) else held - {max(held)}
    train = records.select(n for n, number in enumerate(hashes) if number not in held)
    return {
        "train": train,
        "validation": replace(
            records.select(n for n, number in enumerate(hashes) if number in held),
            name=f"{records.name}, held out",
        ),
    }


def number_of(record: Record) -> int:
    """A number below 2^64 that the content of a record decides."""
    content = json_text(record, sort_keys=True, default=str).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def json_lines(records: Sequence[Mapping[str, Any]]) -> str:
    """Records as JSON, one a line."""
    text = lambda record: json_text(record, ensure_ascii=False, default=_stored_value)
    return "".join(text(record) + "\n" for record in records)


def _stored_value(value: Any) -> Any:
    """What JSON has of a picture: where it is, or its levels."""
    if not isinstance(value, Picture):
        raise TypeError(f"a record holds {type(value).__name__}, for which JSON has no word")
    return value.stored()
