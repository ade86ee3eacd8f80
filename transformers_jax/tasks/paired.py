"""Texts that are compared with one another: those of a record, and how alike they are."""

from __future__ import annotations

from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.tasks.candidates import NEGATIVES
from transformers_jax.tasks.rows import Form
from transformers_jax.tasks.sequences import number_in

ANCHOR, POSITIVE, NEGATIVE = "anchor", "positive", "negative"


def negative_columns(data: Table, records: Records) -> str:
    """The columns of negatives, with commas between: those that the config names, else those with
    the usual names; "" if there are none."""
    return data.negatives or ",".join(filter(NEGATIVES.fullmatch, records.columns))


def texts_of(form: Form, records: Records) -> dict[str, list[str]]:
    """The texts of all records, by part: `anchor`, `positive`, and `negative`, or several.

    Raises:
        ValueError: what is no text, or negatives of which a record has another number.
    """
    texts = {ANCHOR: form.texts(records, "text")}
    if "text_pair" in form.columns:
        texts[POSITIVE] = form.texts(records, "text_pair")
    columns = form.columns.get("negatives")
    negatives = [
        some
        for column in (columns.split(",") if columns else ())
        for some in _negatives(records, column.strip())
    ]
    numbers = [""] if len(negatives) == 1 else [f"_{n}" for n in range(1, len(negatives) + 1)]
    return texts | {f"{NEGATIVE}{n}": some for n, some in zip(numbers, negatives)}


def _negatives(records: Records, column: str) -> list[list[str]]:
    """The first negatives of all records, the second, ..., of a column of texts or of lists."""
    rows: list[list[str]] = []
    for where, value in zip(records.places, records.column(column, "data.negatives")):
        some = [value] if isinstance(value, str) else value
        if not isinstance(some, (list, tuple)) or not all(isinstance(x, str) for x in some):
            raise ValueError(
                f"{where}: {column!r} holds {value!r:.60}; expected a text, or a list of texts"
            )
        rows.append(list(some))
        if len(some) != len(rows[0]) or not some:
            raise ValueError(
                f"{where} has {len(some)} negatives in {column!r} and {records.places[0]} has "
                f"{len(rows[0])}; all have as many, at least one"
            )
    return [list(texts) for texts in zip(*rows)]


def labels_of(form: Form, records: Records, scale: float) -> list[float]:
    """How alike the texts of each record are, from -1 to 1: its label over `scale`.

    Raises:
        ValueError: no number, or one out of this range.
    """
    column, found = form.columns["label"], []
    for where, value in zip(records.places, form.values(records, "label")):
        found.append(number_in(value, where, column) / scale)
        if not -1 <= found[-1] <= 1:
            raise ValueError(
                f"{where}: {column!r} holds {value!r}; cosines lie from -1 to 1: pass "
                "--objective.label-scale with the label of texts that mean the same (STS-B: 5)"
            )
    return found
