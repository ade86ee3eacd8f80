"""One tensor of theirs: its name, its shape, and which parameters of ours its rows fill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from transformers_jax.hub.layout import Shape, Side, show
from transformers_jax.hub.row import Row
from transformers_jax.json_files import errors_of


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` (axis 0) of a tensor of theirs, which hold the parameters `paths`.

    `left` and `right` are the pattern of theirs and ours, `sizes` the lengths of its letters.
    `first` is where they begin along `axis` of ours, of which they may be a part.
    """

    paths: tuple[str, ...]
    left: Side
    right: Side
    sizes: tuple[tuple[str, int], ...]
    shape: Shape
    start: int
    first: int = 0

    @property
    def stop(self) -> int:
        """Where the rows end."""
        return self.start + (self.shape[0] if self.shape else 1)

    @property
    def axis(self) -> int | None:
        """The axis of our parameters along which rows of theirs follow one another; None: none."""
        first = self.left[0][:1] if self.left else ("1",)
        return self.axes.index(first) if first != ("1",) and first in self.axes else None

    @property
    def axes(self) -> Side:
        """The axes of one parameter, as the pattern writes them."""
        return self.right[1:] if len(self.paths) > 1 else self.right

    @property
    def unit(self) -> int:
        """How many rows of theirs make one step along `axis`."""
        sizes = {"1": 1, **dict(self.sizes)}
        return 1 if self.axis is None else math.prod(sizes[name] for name in self.left[0][1:])

    def inside(self, axes: Side) -> tuple[slice, ...]:
        """Where they are in a parameter of these axes of ours."""
        first = self.left[0][:1] if self.left else ("1",)
        length = dict(self.sizes).get(first[0], 1)
        own = slice(self.first, self.first + length)
        return tuple(own if axis == first else slice(None) for axis in axes)

    def part_of(self, parameter: np.ndarray) -> np.ndarray:
        """The part of one of our parameters that they hold, a view."""
        where: tuple[Any, ...] = (*self.inside(self.axes), ...)
        return parameter[where]

    def ours(self, rows: Any) -> list[Any]:
        """The values of each of our parameters in a run of rows of theirs."""
        run = "" if self.axis is None else self.left[0][0]  # as long as the run is
        sizes = {letter: size for letter, size in self.sizes if letter != run}
        values = rearrange(rows, f"{show(self.left)} -> {show(self.right)}", **sizes)
        return list(values) if len(self.paths) > 1 else [values]

    def theirs(self, values: list[np.ndarray]) -> np.ndarray:
        """All rows of theirs from the values of our parameters."""
        ours = np.stack(values) if len(self.paths) > 1 else values[0]
        return rearrange(ours, f"{show(self.right)} -> {show(self.left)}", **dict(self.sizes))


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
    shapes = {path: tuple(ours[path][len(lead) :]) for path in row.ours}
    pieces: list[Piece] = []
    with errors_of(f"table row {row.theirs!r}"):
        for turn, part in itertools.product(range(row.parts[0].times), row.parts):
            shape = shapes[part.paths[0]]
            for path in part.paths:
                if shapes[path] != shape:
                    raise ValueError(f"{path} has another shape, {shapes[path]}")
            left, right, lengths = part.fitted(part.of_one_turn(shape), sizes)
            theirs = tuple(math.prod(lengths[letter] for letter in axis) for axis in left)
            letters = tuple((letter, size) for letter, size in lengths.items() if letter != "1")
            start = pieces[-1].stop if pieces else 0
            first = turn * lengths[left[0][0]] if turn else 0
            pieces.append(Piece(part.paths, left, right, letters, theirs, start, first))
        behind = pieces[0].shape[1:]
        if len(pieces) > 1 and any(not p.shape or p.shape[1:] != behind for p in pieces):
            raise ValueError("the parts differ beyond axis 0")
    shape = (pieces[-1].stop, *behind) if pieces[0].shape else ()
    name = row.name(lead)
    return Fill(name, name, row, lead, shape, tuple(pieces))
