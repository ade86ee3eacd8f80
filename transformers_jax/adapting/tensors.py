"""The tensors of an adapter file, and the parameters of ours that they hold.

    base_model.model.h.0.attn.c_attn.lora_B.weight | query key value | (n h k) r -> n r h k

The patterns follow from those of the weights (`hub.table`): a factor has one side of its weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from transformers_jax.hub.fill import Fill, Piece
from transformers_jax.hub.layout import show
from transformers_jax.models.adapters.records import IA3, Adapter, LoRA
from transformers_jax.models.adapters.resolve import Resolved, Target
from transformers_jax.nn.param import ADAPTER

PREFIX = "base_model.model."
BESIDE_VIRTUAL = "base_model."
"""What names begin with beside virtual tokens, for which PEFT wraps no module."""
SAVED = ("embed_tokens", "lm_head")
"""Embeddings that PEFT writes beside their factors."""


@dataclass(frozen=True)
class Cell:
    """Rows of a tensor of theirs, and where they are in arrays of ours.

    Attributes:
        rows: of the tensor.
        paths: our arrays, one behind the other along the first axis of `right`, if several.
        lead: the layer (and expert) of ours.
        inside: the part of the layer's array, without the ranks that others have more.
        shape: of the tensor's rows.
    """

    name: str
    rows: slice
    paths: tuple[str, ...]
    lead: tuple[int, ...]
    inside: tuple[slice, ...]
    left: str
    right: str
    sizes: Mapping[str, int]
    shape: tuple[int, ...]

    def read(self, tensor: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the rows into our arrays."""
        values = rearrange(tensor[self.rows], f"{self.left} -> {self.right}", **self.sizes)
        for path, value in zip(self.paths, values if len(self.paths) > 1 else [values]):
            arrays[path][self.lead][self.inside] = value

    def written(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows, of our arrays."""
        each = [arrays[path][self.lead][self.inside] for path in self.paths]
        ours = np.stack(each) if len(each) > 1 else each[0]
        rows: np.ndarray = rearrange(ours, f"{self.right} -> {self.left}", **self.sizes)
        return rows


def cells(adapter: Adapter, known: Resolved, paths: set[str]) -> dict[str, list[Cell]]:
    """What every tensor of the file consists of, in the order of its rows. `paths` are those of the
    parameters in the stacked layout."""
    found: dict[str, list[Cell]] = {}
    for target in known.targets:
        of_target: Any = _factors if isinstance(adapter, LoRA) else _vectors
        for cell in of_target(target, adapter, paths):
            found.setdefault(cell.name, []).append(cell)
    modules = {target.module for target in known.targets} if isinstance(adapter, LoRA) else set()
    for name, fill in known.fills.items():
        module, _, last = name.rpartition(".")
        stored = module in modules and module.rpartition(".")[2] in SAVED and last == "weight"
        if stored or not known.whole.isdisjoint(fill.row.ours):
            inside = f"{module}.base_layer.{last}" if module in modules else name
            inside = prefix_of(known) + inside
            found[inside] = [_whole(inside, fill, each) for each in fill.pieces]
    return found


def prefix_of(known: Resolved) -> str:
    """What the names of tensors begin with."""
    return BESIDE_VIRTUAL if known.added else PREFIX


def is_optional(name: str) -> bool:
    """Whether a file may lack a tensor: that of an embedding itself, which no adapter changes."""
    return name.endswith(".base_layer.weight")


def shape_of(parts: list[Cell]) -> tuple[int, ...]:
    """The shape of a tensor of theirs."""
    first = parts[0].shape
    return (sum(part.shape[0] for part in parts), *first[1:]) if first else ()


def _factors(target: Target, adapter: Any, paths: set[str]) -> Iterator[Cell]:
    """The rows of the factors of a weight, and of its magnitude."""
    fill, sides, rank = target.fill, target.sides, target.rank
    lora = "lora_embedding_{}" if sides.table else "lora_{}.weight"
    shared = [f"{path}{ADAPTER}.a" for path in fill.row.ours]
    first = next(path for path in shared if path in paths)
    piece = fill.pieces[0]
    right = piece.axes
    ones = ("1",) * (len(piece.left) - 2)
    inputs, outputs = _axes_of(piece, sides.transposed)
    name = lambda letter: f"{PREFIX}{target.module}.{lora.format(letter)}"
    own = tuple(right[axis] for axis in sides.inputs)
    inside = (*[slice(None)] * len(own), slice(rank))
    yield _cell(name("A"), piece, fill, (first,), (("r",), *inputs), (*own, ("r",)), inside, rank)
    magnitudes = []
    for piece in fill.pieces:
        outputs = _axes_of(piece, sides.transposed)[1]
        own = tuple(piece.axes[axis] for axis in sides.outputs)
        rows = slice(None) if len(fill.pieces) == 1 else slice(piece.start, piece.stop)
        several = (("n",),) if len(piece.paths) > 1 else ()
        where = tuple(f"{path}{ADAPTER}.b" for path in piece.paths)
        left = (*outputs, ("r",), *((one,) for one in ones))
        right_b = (*several, ("r",), *own)
        inside = (slice(rank), *piece.inside(own))
        yield _cell(name("B"), piece, fill, where, left, right_b, inside, rank, rows)
        where = tuple(f"{path}{ADAPTER}.magnitude" for path in piece.paths)
        whole = piece.inside(own)
        magnitude = f"{PREFIX}{target.module}.lora_magnitude_vector"
        magnitudes.append(
            _cell(magnitude, piece, fill, where, outputs, (*several, *own), whole, rank, rows)
        )
    if adapter.dora:
        yield from magnitudes


def _vectors(target: Target, adapter: IA3, paths: set[str]) -> Iterator[Cell]:
    """The rows of the vector of a weight."""
    fill, sides = target.fill, target.sides
    name = f"{PREFIX}{target.module}.ia3_l"
    inner = target.scaled == "inputs"
    every = [f"{path}{ADAPTER}.vector" for path in fill.row.ours]
    for piece in fill.pieces[:1] if inner else fill.pieces:
        inputs, outputs = _axes_of(piece, sides.transposed)
        chosen = sides.inputs if inner else sides.outputs
        own = tuple(piece.axes[axis] for axis in chosen)
        several = (("n",),) if len(piece.paths) > 1 and not inner else ()
        left = (("1",), *inputs) if inner else (*outputs, ("1",))
        cut = len(fill.pieces) > 1 and not inner
        rows = slice(piece.start, piece.stop) if cut else slice(None)
        where = tuple(f"{path}{ADAPTER}.vector" for path in piece.paths)
        if inner:
            where = (next(path for path in every if path in paths),)
        whole = piece.inside(own)
        yield _cell(name, piece, fill, where, left, (*several, *own), whole, 0, rows)


def _whole(name: str, fill: Fill, piece: Piece) -> Cell:
    """The rows of a tensor that is saved as a whole."""
    rows = slice(None) if len(fill.pieces) == 1 else slice(piece.start, piece.stop)
    inside = piece.inside(piece.axes)
    return _cell(name, piece, fill, piece.paths, piece.left, piece.right, inside, 0, rows)


def _axes_of(piece: Piece, transposed: bool) -> tuple[Any, Any]:
    """The axes of theirs that are inputs, and those that are outputs."""
    first, rest = piece.left[:1], piece.left[1:]
    return (first, rest) if transposed else (rest, first)


def _cell(
    name: str,
    piece: Piece,
    fill: Fill,
    paths: tuple[str, ...],
    left: Any,
    right: Any,
    inside: tuple[slice, ...],
    rank: int,
    rows: slice = slice(None),
) -> Cell:
    letters = {letter for axis in (*left, *right) for letter in axis}
    lengths = {**dict(piece.sizes), "r": rank, "1": 1}
    sizes = {letter: lengths[letter] for letter in letters - {"1"}}
    shape = tuple(int(np.prod([lengths[letter] for letter in axis])) for axis in left)
    return Cell(name, rows, paths, fill.lead, inside, show(left), show(right), sizes, shape)
