"""What a picture, or a table, of the answers to a task shows: small records, kept as JSON.

`runs/pictures.py` draws them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.metrics import character_error_rate, confusion, squad

MOST_CLASSES = 30  # of a matrix that can be read
MOST_POINTS = 2000  # of a scatter
MOST_ROWS = 20  # of a table
COMPARED = 2000  # texts among which the worst are looked for
HEARD = 500  # texts that are compared character by character
LONGEST = 200  # characters of a cell


@dataclass(frozen=True)
class Confusion:
    """How often each class (rows) was taken for each (columns)."""

    names: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Scatter:
    """Predicted numbers against those that were expected; `across` and `up` are what the two are
    called, and `what` they are."""

    expected: Sequence[float]
    predicted: Sequence[float]
    across: str = "expected"
    up: str = "predicted"
    what: str = "numbers"


@dataclass(frozen=True)
class Histogram:
    """How many examples have a number between each two edges."""

    label: str
    edges: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True)
class Errors(Histogram):
    """How many texts have which error rate, and those with the highest: (where it is from, what
    was written, what was expected, the rate)."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Listing:
    """A table: what is most worth looking at."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Figure = Confusion | Scatter | Histogram | Listing
KINDS: Mapping[str, Callable[..., Figure]] = {
    "confusion": Confusion,
    "scatter": Scatter,
    "histogram": Histogram,
    "errors": Errors,
    "listing": Listing,
}


def to_json(figure: Figure) -> dict[str, Any]:
    """The figure as JSON has it."""
    return {"kind": type(figure).__name__.lower(), **dataclasses.asdict(figure)}


def from_json(values: Mapping[str, Any]) -> Figure | None:
    """The figure that was written; None where it is none."""
    make = KINDS.get(str(values.get("kind")))
    content = {name: value for name, value in values.items() if name not in ("kind", "step")}
    try:
        return None if make is None else make(**content)
    except TypeError:  # of another release
        return None


# ---------------------------------------------------------------- of answers


def confusion_of(
    names: Sequence[str], predicted: Int[np.ndarray, " N"], expected: Int[np.ndarray, " N"]
) -> Figure:
    """The matrix of a few classes; of many, the pairs that are confused most."""
    counts = confusion(predicted, expected, len(names))
    if len(names) <= MOST_CLASSES:
        return Confusion([*names], counts.tolist())
    totals, wrong = counts.sum(1), counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_ROWS]
    pairs = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    rows = [
        [names[a], names[b], f"{wrong[a, b]:,}", f"{wrong[a, b] / totals[a]:.1%}"] for a, b in pairs
    ]
    title = f"The pairs of {len(names)} classes that are confused most"
    return Listing(title, ["class", "taken for", "times", "of the class"], rows)


def scatter_of(expected: Sequence[float], predicted: Sequence[float], **names: str) -> Scatter:
    """Of many numbers, some evenly; `names` are the other fields."""
    every = slice(None, None, -(-len(expected) // MOST_POINTS) or 1)
    numbers = lambda values: [round(float(value), 6) for value in values[every]]
    return Scatter(numbers(expected), numbers(predicted), **names)


def histogram_of(label: str, values: Sequence[float], low: float, high: float) -> Histogram:
    """In twenty bins between two numbers."""
    counts, edges = np.histogram(np.clip(values, low, high), bins=20, range=(low, high))
    return Histogram(label, edges.round(6).tolist(), counts.tolist())


def histogram_of_ranks(what: str, ranks: Sequence[int]) -> Histogram:
    """A bin for each of the ranks 1 to 19, and one for all that are later."""
    return histogram_of(f"rank of {what} (20: or later)", ranks, 0.5, 20.5)


def worst_texts(sources: Sequence[str], written: Sequence[str], expected: Sequence[str]) -> Listing:
    """The texts that have the fewest words in common with those that were expected (the F1 of
    SQuAD's words), of the first COMPARED."""
    compared = [*zip(sources, written, expected)][:COMPARED]
    scores = [squad([text], [[reference]])["f1"] for _, text, reference in compared]
    order = np.argsort(scores, kind="stable")[:MOST_ROWS].tolist()
    rows = [[*map(cell, compared[n]), f"{scores[n]:.1f}"] for n in order]
    title = "The texts with the fewest words in common with their references"
    return Listing(title, ["source", "written", "reference", "F1 of words"], rows)


def errors_of(sources: Sequence[str], written: Sequence[str], expected: Sequence[str]) -> Errors:
    """The character error rates of the first HEARD texts, and those of them with most errors."""
    compared = [*zip(sources, written, expected)][:HEARD]
    rates = [character_error_rate([w], [e])["character_error_rate"] for _, w, e in compared]
    order = np.argsort(-np.array(rates), kind="stable")[:MOST_ROWS].tolist()
    rows = [[*map(cell, compared[n]), f"{rates[n]:.3f}"] for n in order if rates[n]]
    shown = histogram_of("character error rate (1: or higher)", rates, 0, 1)
    return Errors(shown.label, shown.edges, shown.counts, rows)


def cell(text: str) -> str:
    """A text as a cell of a table has it."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
