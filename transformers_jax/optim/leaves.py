"""What an optimizer knows of one parameter, from its path and from the names of its axes.

Parameters are stored stacked over the layers and with heads apart, so that the number of axes of
an array does not tell a matrix from a vector, nor where one layer ends: the names of its axes do.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from transformers_jax.nn.param import flatten
from transformers_jax.spelling import closest

REPEATED = ("layers", "experts")
"""Axes along which there are several parameters, one per layer or expert."""


@dataclass(frozen=True)
class Leaf:
    """One parameter: its path, the names of its axes, and what the record asks for it.

    Attributes:
        decay: weight decay, a fraction of the learning rate.
        rate: multiplies the learning rate.
        frozen: it has no state and never changes.
    """

    path: str
    axes: tuple[str, ...]
    decay: float = 0.0
    rate: float = 1.0
    frozen: bool = False

    @property
    def own(self) -> tuple[int, ...]:
        """The places of the axes of one layer's (and expert's) parameter."""
        return tuple(place for place, name in enumerate(self.axes) if name not in REPEATED)

    @property
    def sides(self) -> tuple[tuple[int, ...], ...]:
        """The places of the axes of each side of one layer's parameter; a matrix has two.

        Heads and their width are one side: ("embed",), ("heads", "kv") of a projection.
        """
        found: list[tuple[int, ...]] = []
        for place in self.own:
            before = self.axes[found[-1][-1]] if found else ""
            if self.axes[place] == "kv" and before in ("heads", "kv_heads"):
                found[-1] = (*found[-1], place)
            else:
                found.append((place,))
        return tuple(found)

    @property
    def matrix(self) -> bool:
        """Whether one layer's parameter is a matrix."""
        return len(self.sides) >= 2

    @property
    def block(self) -> bool:
        """Whether it belongs to the blocks of a stack, not to embeddings or heads."""
        return "blocks" in self.path.split(".") or "layers" in self.axes


def is_matrix(axes: tuple[str, ...]) -> bool:
    """Whether one layer's parameter is a matrix: biases over (heads, kv) are vectors, and so are
    the scales of all layers together."""
    return Leaf("", tuple(axes)).matrix


def matrices(axes: Any) -> Any:
    """A tree of booleans: which of the parameters, whose axis names are `axes`, are matrices."""
    return jax.tree.map(is_matrix, axes, is_leaf=lambda node: isinstance(node, tuple))


def leaves(
    axes: Mapping[str, Any],
    weight_decay: float,
    decay: Sequence[tuple[str, float]] = (),
    rates: Sequence[tuple[str, float]] = (),
    freeze: Sequence[str] = (),
) -> dict[str, Leaf]:
    """{"stack.norm.scale": Leaf, ...} of the parameters whose axis names are the tree `axes`.

    Matrices decay by `weight_decay`, vectors do not. `decay`, `rates` and `freeze` are glob
    patterns over paths ("embed.*", "*.blocks.*.ffn.*"; `*` crosses dots); where several patterns
    of one list match, the last one counts.

    Raises:
        ValueError: patterns that match no parameter, with the nearest paths; values that cannot be.
    """
    names = flatten(axes)
    problems = [
        f"{field}: {pattern!r} matches no parameter; the nearest are {_nearest(pattern, names)}"
        for field, patterns in (
            ("decay", [p for p, _ in decay]),
            ("rates", [p for p, _ in rates]),
            ("freeze", freeze),
        )
        for pattern in patterns
        if not fnmatch.filter(names, pattern)
    ]
    problems += [
        f"{field}: {pattern!r} has {value}; expected at least 0"
        for field, pairs in (("decay", decay), ("rates", rates))
        for pattern, value in pairs
        if not value >= 0
    ]
    if problems:
        raise ValueError("optimizer." + "; optimizer.".join(problems))
    return {
        path: Leaf(
            path,
            tuple(names[path]),
            decay=_last(path, decay, weight_decay if is_matrix(names[path]) else 0.0),
            rate=_last(path, rates, 1.0),
            frozen=any(fnmatch.fnmatchcase(path, pattern) for pattern in freeze),
        )
        for path in names
    }


def _last(path: str, pairs: Sequence[tuple[str, float]], default: float) -> float:
    found = [value for pattern, value in pairs if fnmatch.fnmatchcase(path, pattern)]
    return found[-1] if found else default


def _nearest(pattern: str, names: Mapping[str, Any]) -> str:
    plain = pattern.replace("*", "")
    return ", ".join(closest(plain, names, most=3, cutoff=0.0))
