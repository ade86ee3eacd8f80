"""Tables that are made on the spot, on any machine: `generated:NAME` as a source of records.

A table is a function of the split, "train", "validation" or "test", that returns records. It draws
from a fixed seed or reads the running interpreter, writes no file, and returns the same whenever it
is called. Splits share nothing: `splits.split_of` puts what a record is about on one side.

splits.py      on which side a record is
packages.py    docstrings, and the package of the standard library that each is from
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from transformers_jax.data.generated.splits import SPLITS
from transformers_jax.data.records import Placed
from transformers_jax.spelling import nearest


def generated_records(name: str) -> dict[str, Iterator[Placed]]:
    """NAME: what is trained on and what is held out; NAME:SPLIT: one split alone.

    Raises:
        ValueError: there is no such table, or no such split.
    """
    table, colon, split = name.partition(":")
    if table not in TABLES:
        raise ValueError(
            f"generated:{name}: there is no table {table!r}{nearest(table, TABLES)}; those that "
            f"are made here are {', '.join(TABLES)}"
        )
    if colon and split not in SPLITS:
        raise ValueError(
            f"generated:{name}: {split!r} is no split{nearest(split, SPLITS)}; give "
            f"generated:{table}, or one of {', '.join(SPLITS)} behind it, as "
            f"generated:{table}:test"
        )
    splits = (split,) if colon else SPLITS[:2]
    return {one: _placed(f"generated:{table}, {one}", TABLES[table](one)) for one in splits}


def _placed(where: str, records: list[dict[str, Any]]) -> Iterator[Placed]:
    return ((f"{where} {number}", record) for number, record in enumerate(records))


def _packages(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import packages

    return packages.records(split)


TABLES: dict[str, Callable[[str], list[dict[str, Any]]]] = {"packages": _packages}
"""The tables by name; the module of each is imported when it is made."""
