"""One tensor of theirs: its name, its shape, and which parameters of ours its rows fill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from transformers_jax.hub.layout import Part, Shape, show
from transformers_jax.hub.row import Row


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` (axis 0) of a tensor of theirs; `part` says what they are.

    `axis` is the axis of our parameters along which rows of theirs follow one another; None: none.
    """

    part: Part
    start: int
    stop: int
    sizes: tuple[tuple[str, int], ...]
    axis: int | None

    @property
    def unit(self) -> int:
        """How many rows of theirs make one step along `axis`."""
        if self.axis is None or self.part.left is None:
            return 1
        sizes = dict(self.sizes)
        return math.prod(sizes.get(letter, 1) for letter in self.part.left[0][1:])

    def ours(self, rows: Any) -> list[Any]:
        """The values of each of our parameters in a run of rows of theirs."""
        left, right = self.part.left, self.part.right
        if left is None:
            return [rows]
        run = left[0][0] if self.axis is not None else ""  # as long as the run is
        known = {letter: size for letter, size in self.sizes if letter != run}
        values = rearrange(rows, f"{show(left)} -> {show(right)}", **known)
        return [values[n] for n in range(len(self.part.paths))] if self.part.fused else [values]

    def theirs(self, values: list[np.ndarray]) -> np.ndarray:
        """All rows of theirs from the values of our parameters."""
        left, right = self.part.left, self.part.right
        if left is None:
            return values[0]
        ours = np.stack(values) if self.part.fused else values[0]
        return rearrange(ours, f"{show(right)} -> {show(left)}", **dict(self.sizes))


@dataclass(frozen=True)
class Fill:
    """One tensor of theirs, complete: its name, its shape and where its pieces belong.

    `name` is the name in the file, `canonical` the one that export writes; `lead` indexes the
    leading (layers, experts) axes of our parameters.
    """

    name: str
    canonical: str
    row: Row
    lead: tuple[int, ...]
    shape: Shape
    pieces: tuple[Piece, ...]


def by_layer(
    active: Sequence[Row], ours: Mapping[str, Sequence[int]]
) -> Iterator[tuple[Row, tuple[int, ...]]]:
    """Rows and indices, all tensors of a layer together, as they stand in a model."""

    def stack(row: Row) -> tuple[str, int, int, Shape]:
        layers = tuple(ours[row.ours[0]][: len(row.letters[:1])])
        return row.theirs.split("{")[0], row.start, row.step, layers

    for (*_, layers), group in itertools.groupby(active, stack):
        members = list(group)
        for n in np.ndindex(*layers):
            for row in members:
                inner = tuple(ours[row.ours[0]][len(n) : len(row.letters)])
                yield from ((row, (*n, *rest)) for rest in np.ndindex(*inner))


def fill_of(
    row: Row,
    lead: tuple[int, ...],
    ours: Mapping[str, Sequence[int]],
    sizes: Mapping[str, int],
) -> Fill:
    """The tensor of theirs with the indices `lead` that a row describes.

    Raises:
        ValueError: a pattern that does not fit the shapes of our parameters.
    """
    pieces, start, tail = [], 0, None
    for part in row.parts:
        for path in part.paths:
            shape = tuple(ours[path][len(lead) :])
            if shape != tuple(ours[part.paths[0]][len(lead) :]):
                raise ValueError(f"table row {row.theirs!r}: {path} has another shape, {shape}")
        shape = tuple(ours[part.paths[0]][len(lead) :])
        try:
            whole = part.shape(shape, sizes)
            letters = {} if part.left is None else part.sizes(shape, sizes)
        except ValueError as error:
            raise ValueError(f"table row {row.theirs!r}: {error}") from None
        if len(row.parts) > 1 and (not whole or tail not in (None, whole[1:])):
            raise ValueError(f"table row {row.theirs!r}: the parts differ beyond axis 0")
        tail, rows_here = whole[1:], whole[0] if whole else 1
        known = tuple((k, v) for k, v in letters.items() if k != "1")
        axis = part.rows_are() if whole else None
        pieces.append(Piece(part, start, start + rows_here, known, axis))
        start += rows_here
    shape = (start, *tail) if len(row.parts) > 1 else whole
    name = row.name(lead)
    return Fill(name, name, row, lead, shape, tuple(pieces))
