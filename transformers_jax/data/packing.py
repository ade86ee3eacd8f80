"""From examples to rows, and from rows to the arrays of a batch.

A row holds one example, or several that do not attend to each other: the tag `document` numbers
them and the tag `position` starts anew in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.config import Data
from transformers_jax.data.pieces import CUTS
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives import Example, Vocabulary

Row = list[Example]
Batch = dict[str, Any]

BUCKETS = 8  # widths that the rows of `bucketed` may have: multiples of an eighth
NOBODY = -1  # the document, and the picture, of padding


@dataclass(frozen=True)
class Layout:
    """The arrays of a batch.

    Attributes:
        width, target: columns of the first and of the second side (0: there is none).
        pad: id of padding.
        packed: whether rows hold several documents.
        masked: whether some positions are padding.
        unit: what the widths of `bucketed` rows are multiples of.
        parts: the layouts of the parts of examples, by name; {} where they have none.
    """

    width: int
    target: int
    pad: int
    packed: bool
    masked: bool
    unit: int = 1
    parts: Mapping[str, Layout] = field(default_factory=dict)


def layout_of(data: Data, objective: Any, words: Vocabulary) -> Layout:
    """The shape of a batch.

    Raises:
        ValueError: rows that the objective cannot have.
    """
    documents = data.rows not in CUTS
    if objective.single and (data.rows == "packed" or not documents):
        raise ValueError(
            f"{type(objective).__name__} answers one question per row: data.rows must be padded "
            f"or bucketed, not {data.rows}"
        )
    if data.target_length is not None and objective.sides == 1:
        raise ValueError(
            f"data.target_length ({data.target_length}) is for objectives with two sides; "
            f"{type(objective).__name__} has one"
        )
    target = objective.target_width(data.length) if objective.sides == 2 else 0
    if data.target_length is not None:
        target = data.target_length
    return Layout(
        width=objective.width(data.length),
        target=target,
        pad=words.special.get("pad", 0),
        packed=data.rows == "packed",
        masked=documents or objective.sides == 2 or objective.single,
    )


def bucket(rows: Sequence[Row], layout: Layout) -> Layout:
    """The narrowest of a few widths that holds these rows: each width is compiled once. Rows may be
    empty."""
    rows = [row for row in rows if row]
    if layout.parts:
        of_part = lambda name: [[row[0].parts[name]] for row in rows]
        parts = {name: bucket(of_part(name), own) for name, own in layout.parts.items()}
        return replace(layout, parts=parts)
    used = lengths_of([row[0] for row in rows]).max(axis=0) if rows else (1, 1)

    def width(most: int, needed: int) -> int:
        step = -(-most // (BUCKETS * layout.unit)) * layout.unit
        return min(most, -(-max(int(needed), 1) // step) * step)

    target = width(layout.target, used[1]) if layout.target else 0
    return replace(layout, width=width(layout.width, used[0]), target=target)


def first_fit(lengths: Int[np.ndarray, "N S"], capacity: Sequence[int]) -> list[list[int]]:
    """Rows of numbers of examples such that no side is overfull: the longest first, each into the
    first row that it fits (first-fit decreasing; Johnson 1973).

    Args:
        lengths: of each example, on each of its sides.
        capacity: tokens of a row, on each side.
    """
    order = np.argsort(-(lengths / np.maximum(capacity, 1)).max(axis=1), kind="stable")
    left = np.tile(np.asarray(capacity, np.int64), (len(lengths), 1))
    rows: list[list[int]] = []
    for number in order:
        fits = (left[: len(rows)] >= lengths[number]).all(axis=1)
        row = int(np.argmax(fits)) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
        rows[row].append(int(number))
        left[row] -= lengths[number]
    return rows


def lengths_of(examples: Sequence[Example]) -> Int[np.ndarray, "N 2"]:
    """Tokens of each example on its two sides; of one in parts, those of the longest."""
    return np.array([_sides_of(example) for example in examples], np.int64).reshape(-1, 2)


def _sides_of(example: Example) -> tuple[int, int]:
    if example.parts:
        first, second = zip(*map(_sides_of, example.parts.values()))
        return max(first), max(second)
    return _length(example.tokens) or example.size, _length(example.target)


def _length(side: dict[str, np.ndarray]) -> int:
    return next(iter(side.values())).shape[-1] if side else 0


def check_fits(example: Example, layout: Layout) -> None:
    """An example is never cut: what does not fit is a mistake of the settings.

    Raises:
        ValueError: a side is longer than a row.
    """
    sides = {
        "length": (example.tokens, layout.width),
        "target_length": (example.target, layout.target),
    }
    for name, (side, width) in sides.items():
        if _length(side) > width:
            raise ValueError(
                f"an example has {_length(side)} tokens where a row has {width}; raise "
                f"--data.{name.replace('_', '-')}"
            )


def assemble(rows: Sequence[Row], layout: Layout, like: Row | None = None) -> Batch:
    """The arrays of a batch, those of parts in a dict each; a row without examples has no labels.

    Args:
        like: a row that shows which arrays there are, should all rows be empty.
    """
    first = next((row for row in rows if row), like)
    assert first, "a batch without a row"
    example, batch = first[0], dict[str, Any]()
    for name, part in example.parts.items():
        of_part = [[one.parts[name] for one in row] for row in rows]
        batch[name] = assemble(of_part, layout.parts[name], [part])
    for prefix, side, width in (
        ("", "tokens", layout.width),
        ("decoder_", "target", layout.target),
    ):
        if not getattr(example, side):
            continue
        sides = [[getattr(e, side) for e in row] for row in rows]
        batch |= _fill(sides, getattr(example, side), width, layout.pad)
        document, position = _documents([[_length(one) for one in row] for row in sides], width)
        if layout.masked and "attention_mask" not in getattr(example, side):
            batch[f"{prefix}attention_mask"] = (document != NOBODY).astype(np.int32)
        tags = (
            {} if prefix else _fill([[e.tags for e in row] for row in rows], example.tags, width, 0)
        )
        if layout.packed:
            tags |= {"document": document, "position": position}
        if tags:
            batch[f"{prefix}tags"] = tags
    for name, value in example.once.items():
        single = isinstance(value, (int, np.integer))
        whole = np.issubdtype(np.asarray(value).dtype, np.integer)
        # Whole numbers say how what is beside them is read, as sizes do: zeros may be none.
        none = IGNORED if single else value if whole else np.zeros_like(value)
        values = [row[0].once[name] if row else none for row in rows]
        batch[name] = np.array(values, np.int32 if whole else np.float32)
    return batch


def _fill(sides: list[list[dict]], names: Mapping[str, np.ndarray], width: int, pad: int) -> Batch:
    """Arrays [B T] (of candidates, [B C T]) by name: the examples of a row behind one another,
    padded to one width."""
    fills = {"labels": IGNORED, "token_type_ids": 0, "attention_mask": 0, "image_number": NOBODY}
    fills["weights"] = 0
    arrays = {}
    for name, value in names.items():
        shape = value.shape[:-1]
        dtype = np.float32 if np.issubdtype(value.dtype, np.floating) else np.int32
        arrays[name] = np.full((len(sides), *shape, width), fills.get(name, pad), dtype)
        for array, row in zip(arrays[name], sides):
            none = np.zeros((*shape, 0), dtype)
            values = np.concatenate([none, *(side[name] for side in row)], axis=-1)
            array[..., : values.shape[-1]] = values
    return arrays


def _documents(lengths: list[list[int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """(number of the document, position within it) of each token, [B T] each."""
    document = np.full((len(lengths), width), NOBODY, np.int32)
    position = np.zeros((len(lengths), width), np.int32)
    for number, row in enumerate(lengths):
        total = sum(row)
        document[number, :total] = np.repeat(np.arange(len(row)), row)
        starts = np.cumsum([0, *row])[:-1]
        position[number, :total] = np.arange(total) - np.repeat(starts, row)
    return document, position


# ---------------------------------------------------------------- of a whole batch


def shorten(batch: Batch, width: int, length: int) -> Batch:
    """The same ids in shorter rows, and more of them: [B T] as [B k, T / k].

    Args:
        width: ids that a row predicts; what a row has beyond them (a first one, which is no target)
            is repeated at each cut.
        length: what a row is to predict.
    """
    count = width // length
    extra = batch["input_ids"].shape[1] - width
    columns = np.arange(count)[:, None] * length + np.arange(length + extra)
    return {name: rows[:, columns].reshape(-1, length + extra) for name, rows in batch.items()}


def fill(batch: Batch) -> float:
    """The fraction of positions in a batch that hold tokens."""
    count, size = held(batch)
    return 1.0 if count is None else float(count) / size


def held(batch: Batch) -> tuple[Any, int]:
    """(how many positions in a batch hold tokens, None if all do; how many there are). Of arrays on
    devices the former is one, too, which need not be computed yet."""
    masks = [
        texts[name]
        for texts in parts_of(batch)
        for name in ("attention_mask", "decoder_attention_mask")
        if name in texts
    ]
    size = sum(mask.size for mask in masks)
    return (sum(mask.sum() for mask in masks) if masks else None), size


def positions(batch: Batch, extra: int, length: int = 0) -> int:
    """Positions of a batch; the `extra` ones that a decoder's row has in addition do not count.

    Args:
        length: tokens of a row that has no ids.
    """
    names = ("input_ids", "decoder_input_ids")
    sides = [texts[name] for texts in parts_of(batch) for name in names if name in texts]
    if not sides:
        return rows_of(batch) * length
    return sum(side.size for side in sides) - rows_of(batch) * extra


def parts_of(batch: Batch) -> list[Batch]:
    """The parts of a batch, or the batch itself where it has none."""
    return [one for one in batch.values() if _is_part(one)] or [batch]


def rows_of(batch: Batch) -> int:
    """How many rows a batch has."""
    arrays = parts_of(batch)[0].values()
    return next(len(array) for array in arrays if not isinstance(array, Mapping))


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and "input_ids" in value
