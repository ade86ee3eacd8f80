"""Queries with the candidates that are to be ranked for each, as tables have them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.data.tables import Records
from transformers_jax.tasks.rows import Form

NEGATIVES = re.compile(r"negatives?(_\d+)?")
FORMS = (
    "a query, a document and a label; or a query with lists of documents and labels; or a query "
    "with 'positive' and 'negatives', each a text or a list, or negative_1, negative_2, ..."
)


@dataclass(frozen=True)
class Candidates:
    """The candidates of each record.

    Attributes:
        grades: how relevant each is; None where the table does not say it.
        listed: whether a record has a list of them, not one.
    """

    queries: list[str]
    documents: list[list[str]]
    grades: list[list[float]] | None
    listed: bool

    @property
    def pairs(self) -> tuple[list[str], list[str]]:
        """(query, document) of every candidate, flat."""
        queries = [q for q, some in zip(self.queries, self.documents) for _ in some]
        return queries, [document for some in self.documents for document in some]

    @property
    def owners(self) -> np.ndarray:
        """The number of the record of every candidate, flat."""
        return np.repeat(np.arange(len(self.documents)), [len(some) for some in self.documents])


def candidates(form: Form, records: Records, most: float | None) -> Candidates:
    """The candidates of each record.

    Args:
        most: that a label may be; None where there are no labels to read.

    Raises:
        ValueError: a value that is none of its column, with the place of the record.
    """
    queries = form.texts(records, "text")
    if "positive" in form.columns:
        positive = texts_of(records, form.columns["positive"])
        columns = [texts_of(records, name.strip()) for name in form.columns["negatives"].split(",")]
        negative = [[one for some in row for one in some] for row in zip(*columns)]
        documents = [one + other for one, other in zip(positive, negative)]
        grades = [[1.0] * len(p) + [0.0] * len(n) for p, n in zip(positive, negative)]
        if empty := [where for where, some in zip(records.places, documents) if not some]:
            raise ValueError(f"{empty[0]} has no document to rank")
        return Candidates(queries, documents, grades, True)
    column = form.columns["text_pair"]
    listed = isinstance(form.values(records, "text_pair")[0], (list, tuple))
    documents = texts_of(records, column, list if listed else str)
    grades = _grades(form, records, documents, most) if most is not None else None
    return Candidates(queries, documents, grades, listed)


def _grades(
    form: Form, records: Records, documents: list[list[str]], most: float
) -> list[list[float]]:
    """How relevant each candidate is.

    Raises:
        ValueError: no number from 0 (to 1, where the loss is of probabilities), or not one for
            each candidate.
    """
    column, found = form.columns["label"], []
    for where, value, some in zip(records.places, form.values(records, "label"), documents):
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) != len(some):
            raise ValueError(
                f"{where}: {column!r} holds {value!r:.60}; expected a number for each of "
                f"{len(some)} documents"
            )
        numbers = [_number(one) for one in values]
        if not all(0 <= number <= most for number in numbers):
            expected = "numbers not below 0"
            if most == 1:
                expected = "0, 1 or between; grades need --objective.ranking-loss list_net, softmax"
                expected += " or mean_squared_error"
            raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected {expected}")
        found.append(numbers)
    return found


def by_query(form: Form, records: Records, some: Candidates) -> tuple[Records, Candidates]:
    """The pairs of each query as one record, in the place of the first."""
    groups = groups_of(some.queries)
    queries, first = list(groups), [numbers[0] for numbers in groups.values()]
    documents = [[some.documents[n][0] for n in numbers] for numbers in groups.values()]
    grades = [[(some.grades or [])[n][0] for n in numbers] for numbers in groups.values()]
    names = (form.columns["text"], form.columns["text_pair"], form.columns["label"])
    made = [dict(zip(names, values)) for values in zip(queries, documents, grades)]
    places = [records.places[number] for number in first]
    lists = Records(records.name, made, places, records.note)
    return lists, Candidates(queries, documents, grades, True)


def groups_of(queries: Sequence[str]) -> dict[str, list[int]]:
    """The numbers of the records of each query."""
    groups: dict[str, list[int]] = {}
    for number, query in enumerate(queries):
        groups.setdefault(query, []).append(number)
    return groups


def texts_of(records: Records, column: str, kind: type | None = None) -> list[list[str]]:
    """The texts of a column, each record's as a list; of one `kind`, texts or lists, if given.

    Raises:
        ValueError: a value that is neither a text nor a list of some.
    """
    found = []
    for where, value in zip(records.places, records.column(column, "data.text-pair")):
        texts = [value] if isinstance(value, str) else value
        good = isinstance(texts, (list, tuple)) and all(isinstance(one, str) for one in texts)
        if not good or (kind is not None and (kind is str) != isinstance(value, str)):
            expected = "a text, or a list of them"
            if kind is not None:
                expected = "a list of texts" if kind is list else "a text, as the first record has"
            raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected {expected}")
        if kind is list and not texts:
            raise ValueError(f"{where}: {column!r} holds no document to rank")
        found.append(list(texts))
    return found


def _number(value: Any) -> float:
    """A number, or the text of one; -1 for anything else."""
    try:
        number = -1.0 if value is None else float(value)
    except (TypeError, ValueError):
        return -1.0
    return number if np.isfinite(number) else -1.0
