"""Patterns such as `d (n h k) -> n d h k`, parsed: which axis of theirs is which axis of ours.

Only shapes live here. Names are in `table`; arrays are moved in `transfer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

Side = tuple[tuple[str, ...], ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A run of rows (axis 0) of one tensor of theirs, which holds the parameters `paths`.

    With several paths our side begins with an axis `n` that counts them. No sides: the layout is
    the identity. `times`: the runs of all parts follow one another so often, and each holds one
    part in so many of the axis of ours that comes first in theirs.
    """

    paths: tuple[str, ...]
    left: Side | None = None
    right: Side | None = None
    times: int = 1

    def of_one_turn(self, ours: Shape) -> Shape:
        """The shape of what one run holds of a parameter of a shape of ours.

        Raises:
            ValueError: the axis cannot be cut into equal parts.
        """
        if self.times == 1:
            return ours
        assert self.left is not None  # by the grammar
        assert self.right is not None
        axis = self.right.index(self.left[0][:1])
        if axis >= len(ours) or ours[axis] % self.times:
            raise ValueError(f"our shape {ours} cannot be cut into {self.times} along axis {axis}")
        return (*ours[:axis], ours[axis] // self.times, *ours[axis + 1 :])

    def fitted(self, ours: Shape, letters: Mapping[str, int]) -> tuple[Side, Side, dict[str, int]]:
        """Both sides and the length of each letter, for parameters of a shape of ours.

        `letters` gives lengths that do not follow from the shape.

        Raises:
            ValueError: our shape does not have the axes of the pattern.
        """
        identity = tuple((f"x{n}",) for n in range(len(ours)))
        left, right = (identity if side is None else side for side in (self.left, self.right))
        known = {"n": len(self.paths)} if len(self.paths) > 1 else {}
        own = right[len(known) :]
        if len(own) != len(ours):
            raise ValueError(f"pattern axes {show(own)!r} do not fit our shape {ours}")
        known["1"] = 1
        for axis, length in sorted(zip(own, ours), key=lambda pair: len(pair[0])):
            unknown = [letter for letter in axis if letter not in known]
            for letter in unknown[1:]:
                if letter not in letters:
                    raise ValueError(f"pattern axis {show((axis,))!r}: give the size of {letter!r}")
                known[letter] = letters[letter]
            rest = math.prod(known[letter] for letter in axis if letter in known)
            if unknown:
                known[unknown[0]] = length // rest
            if math.prod(known[letter] for letter in axis) != length:
                raise ValueError(f"pattern axis {show((axis,))!r} does not fit length {length}")
        return left, right, known


def parts(paths: tuple[str, ...], layout: str) -> tuple[Part, ...]:
    """The parts, one after the other along axis 0 of theirs, that a row's layout describes.

    A sum gives one part for each path, and so does a pattern whose theirs begins with `n`:
    `(n h k) d -> n d h k` is three equal parts. With `n` elsewhere there is one part of all paths.
    `4 * (a + b)` is a, b, a, b, a, b, a, b, each a quarter of its parameter.

    Raises:
        ValueError: a pattern that does not fit the number of paths, letters on one side only, or a
            sum that is repeated and has a term that does not begin with an axis of ours.
    """
    if repeated := re.fullmatch(r"\s*(\d+)\s*\*\s*\((.*)\)\s*", layout):
        times, inner = int(repeated[1]), parts(paths, repeated[2])
        for part in inner:
            if part.left is None or (part.left[0][:1] not in (part.right or ())):
                raise ValueError(f"layout {layout!r} repeats parts that cut no axis of ours")
        return tuple(replace(part, times=times) for part in inner)
    terms = [term.strip() for term in layout.split("+")]
    if len(terms) > 1:
        if len(terms) != len(paths):
            raise ValueError(f"layout {layout!r} has {len(terms)} terms for {len(paths)} paths")
        return tuple(_part((path,), term) for path, term in zip(paths, terms))
    whole = _part(paths, layout)
    if not whole.left or not whole.right or whole.left[0][0] != "n":
        return (whole,)
    rest = whole.left[0][1:]
    left = ((rest,) if rest else ()) + whole.left[1:]
    return tuple(Part((path,), left, whole.right[1:]) for path in paths)


def show(side: Side) -> str:
    """`d (n h k)` of (("d",), ("n", "h", "k"))."""
    return " ".join(axis[0] if len(axis) == 1 else f"({' '.join(axis)})" for axis in side)


def _part(paths: tuple[str, ...], layout: str) -> Part:
    if not layout:
        if len(paths) > 1:
            raise ValueError(f"several paths ({' '.join(paths)}) need a layout that splits them")
        return Part(paths)
    if layout.count("->") != 1:
        raise ValueError(f"layout {layout!r} must be 'theirs -> ours'")
    left, right = (_side(text) for text in layout.split("->"))
    letters = [sorted(x for axis in side for x in axis if x != "1") for side in (left, right)]
    if letters[0] != letters[1] or len(set(letters[0])) != len(letters[0]):
        raise ValueError(f"layout {layout!r} must have each letter once on each side")
    if (len(paths) > 1) != (right[:1] == (("n",),)):
        raise ValueError(
            f"layout {layout!r}: ours begins with 'n' for several paths, and only then"
        )
    return Part(paths, left, right)


def _side(text: str) -> Side:
    if not re.fullmatch(r"\s*((\w+|\(\s*\w+(\s+\w+)*\s*\))\s*)*", text):
        raise ValueError(f"layout side {text!r} cannot be read")
    return tuple(tuple(axis.strip("()").split()) for axis in re.findall(r"\([^)]*\)|\w+", text))
