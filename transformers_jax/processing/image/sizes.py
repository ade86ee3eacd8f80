"""What size a picture becomes: the rules that configs have, as records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True)
class Exactly:
    """This height and width, whatever the shape was."""

    height: int
    width: int

    def __call__(self, height: int, width: int) -> Size:
        return self.height, self.width


@dataclass(frozen=True)
class ShortestEdge:
    """The shorter edge gets this length and the longer one follows, rounded down."""

    edge: int

    def __call__(self, height: int, width: int) -> Size:
        longer = int(self.edge * max(height, width) / min(height, width))
        return (longer, self.edge) if width <= height else (self.edge, longer)


@dataclass(frozen=True)
class EdgesWithin:
    """As `ShortestEdge`, but the longer edge is at most `longest`."""

    edge: int
    longest: int

    def __call__(self, height: int, width: int) -> Size:
        short, long = min(height, width), max(height, width)
        edge, exact = self.edge, float(self.edge)
        if long / short * edge > self.longest:
            exact = self.longest * short / long
            edge = round(exact)
        if short == edge:
            return height, width
        longer = int(exact * long / short)
        return (longer, edge) if width < height else (edge, longer)


@dataclass(frozen=True)
class Within:
    """As large as fits into this height and width, rounded down; smaller pictures grow."""

    height: int
    width: int

    def __call__(self, height: int, width: int) -> Size:
        scale = min(self.height / height, self.width / width)
        return int(height * scale), int(width * scale)


@dataclass(frozen=True)
class PatchBudget:
    """Whole patches, at most so many, in about the shape of the picture (NaFlex).

    The scale is found by bisection, as SigLIP 2 (Tschannen et al. 2025, section 2.4.2) finds it.
    """

    patch: int
    most: int

    def __call__(self, height: int, width: int) -> Size:
        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            rows, columns = self._patches(height, middle), self._patches(width, middle)
            low, high = (middle, high) if rows * columns <= self.most else (low, middle)
        return self._patches(height, low) * self.patch, self._patches(width, low) * self.patch

    def _patches(self, edge: int, scale: float) -> int:
        return max(1, math.ceil(edge * scale / self.patch))


Rule = Exactly | ShortestEdge | EdgesWithin | Within | PatchBudget

FORMS = (
    "{'height', 'width'}, {'shortest_edge'}, {'shortest_edge', 'longest_edge'}, {'longest_edge'} "
    "or {'max_height', 'max_width'}"
)


def size_dict(value: Any, square: bool, name: str) -> dict[str, int]:
    """The size of a config by the names of its edges: of a number, of two, or of a dict.

    Args:
        square: whether a single number is both edges, or the shorter one.

    Raises:
        ValueError: another form, or numbers that are no lengths.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"height": value, "width": value} if square else {"shortest_edge": value}
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}; expected a number, two, or {FORMS}")
    edges = {key: edge for key, edge in value.items() if edge is not None}
    if wrong := [f"{k}={e!r}" for k, e in edges.items() if type(e) is not int or e < 1]:
        raise ValueError(f"{name} has {', '.join(wrong)}; expected whole numbers from 1 on")
    return edges


def rule_of(edges: dict[str, int], name: str = "size") -> Rule:
    """The rule that a size of a config stands for.

    Raises:
        ValueError: names of edges that stand for none.
    """
    match edges:
        case {"shortest_edge": edge, "longest_edge": longest, **rest} if not rest:
            return EdgesWithin(edge, longest)
        case {"shortest_edge": edge, **rest} if not rest:
            return ShortestEdge(edge)
        case {"longest_edge": edge, **rest} if not rest:
            return Within(edge, edge)
        case {"max_height": height, "max_width": width, **rest} if not rest:
            return Within(height, width)
        case {"height": height, "width": width, **rest} if not rest:
            return Exactly(height, width)
    raise ValueError(f"{name} has the edges {sorted(edges)}; expected {FORMS}")
