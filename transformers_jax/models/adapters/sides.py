"""Which axes of a tensor on disk are its inputs, and which its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transformers_jax.hub.fill import Fill
from transformers_jax.nn.matrices import LOOKED_UP
from transformers_jax.nn.param import Axes

TABLES = (*LOOKED_UP, "buckets")
"""Leading axes of tables whose rows are looked up."""


@dataclass(frozen=True)
class Sides:
    """The sides of one tensor on disk, and the axes that they are of each parameter in it.

    Attributes:
        inputs: of the parameter, counted from its last axis.
        transposed: the file has the inputs first (`fan_in_fan_out`).
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    transposed: bool
    table: bool

    @property
    def own(self) -> int:
        """How many axes a parameter has, without layers and experts."""
        return len(self.inputs) + len(self.outputs)


def is_table(path: str, own: tuple[str, ...]) -> bool:
    """Whether the rows of a parameter are looked up; those of an output embedding are not."""
    part = path.split(".")[0]
    return own[0] in TABLES and (part.endswith("embed") or ".score." in path)


def is_output(fill: Fill) -> bool:
    """Whether a tensor is that of an output embedding."""
    return fill.row.ours[0].split(".")[-1] == "table" and fill.row.ours[0].startswith("head")


def is_linear(fill: Fill, named: Mapping[str, Axes]) -> bool:
    """Whether a tensor is the weight of a linear layer."""
    path, lead = fill.row.ours[0], len(fill.lead)
    own = tuple(named[path][lead:])
    return len(fill.shape) == 2 and len(own) > 1 and not is_table(path, own)


def sides_of(fill: Fill, named: Mapping[str, Axes]) -> Sides:
    """Which axes of the parameters in a tensor are its inputs and its outputs.

    Raises:
        ValueError: a vector, a convolution over groups, or axes that belong to both sides.
    """
    path, lead = fill.row.ours[0], len(fill.lead)
    own, piece = tuple(named[path][lead:]), fill.pieces[0]
    if len(own) < 2 or len(piece.left) < 2:
        raise ValueError(f"its shape {list(fill.shape)} has no inputs and outputs")
    table = is_table(path, own)
    right = piece.axes
    first = {*piece.left[0]}
    of_first = [first.issuperset(axis) for axis in right]
    if any(not whole and not first.isdisjoint(axis) for whole, axis in zip(of_first, right)):
        raise ValueError("its axes belong to inputs and outputs")
    # our parameters have their inputs first, but for output embeddings, whose rows are outputs
    transposed = of_first[0] != (own[0] == "vocab" and not table)
    if "groups" in own or len(piece.left) not in (2, 4) or (transposed and len(fill.pieces) > 1):
        raise ValueError(f"a tensor of axes {' '.join(own)} is not adapted")
    sides: dict[bool, list[int]] = {True: [], False: []}
    for number, in_first in enumerate(of_first):
        sides[in_first].append(number - len(right))
    return Sides(tuple(sides[transposed]), tuple(sides[not transposed]), transposed, table)
