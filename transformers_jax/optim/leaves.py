"""What an optimizer knows of one parameter, from its path and from the names of its axes.

Parameters are stored stacked over the layers and with an axis of heads, so that the number of axes
of an array does not distinguish a matrix from a vector, nor where one layer ends: the names of its
axes do.

Patterns choose parameters by the names of their layers, `stack.layers.3.self.query`, in which a
layer has the number at which it is applied, however it is stored.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np

from transformers_jax.nn.layers import STORED, names_of
from transformers_jax.nn.matrices import REPEATED, Sides, is_matrix, sides
from transformers_jax.nn.param import Axes, Layers, flatten
from transformers_jax.spelling import closest

Value = TypeVar("Value", bool, float)


@dataclass(frozen=True)
class Leaf:
    """One parameter: its path, the names of its axes, and what its optimizer is set to do with it.

    Where the layers of a stacked parameter differ, a value is a tuple, with one entry per layer.

    Attributes:
        decay: weight decay, a fraction of the learning rate.
        rate: multiplies the learning rate.
        frozen: it never changes; it has no state if all of its layers are frozen.
    """

    path: str
    axes: tuple[str, ...]
    decay: float | tuple[float, ...] = 0.0
    rate: float | tuple[float, ...] = 1.0
    frozen: bool | tuple[bool, ...] = False

    def along(self, value: Any) -> Any:
        """A value of this parameter, such as its `rate`, to be multiplied with its array."""
        if not isinstance(value, tuple):
            return value
        dtype = bool if isinstance(value[0], bool) else np.float32
        return np.asarray(value, dtype).reshape(-1, *[1] * (len(self.axes) - 1))

    @property
    def own(self) -> tuple[int, ...]:
        """Which of the axes are those of one layer's (and expert's) parameter."""
        return tuple(axis for axis, name in enumerate(self.axes) if name not in REPEATED)

    @property
    def sides(self) -> Sides:
        """The axes of each side of one layer's parameter; a matrix has two.

        Heads and their width are one side: ("embed",), ("heads", "kv") of a projection.
        """
        return sides(self.axes)

    @property
    def rows_and_columns(self) -> Sides:
        """The axes of the rows and those of the columns; vectors have no columns."""
        rows, *columns = self.sides or ((),)
        return rows, tuple(axis for side in columns for axis in side)

    @property
    def stored(self) -> Sides:
        """Every axis by itself, as the parameter is stored."""
        return tuple((axis,) for axis in range(len(self.axes)))

    @property
    def folded(self) -> Sides:
        """The axes that become one in a matrix per layer: layers and experts first, then sides."""
        lead = [(axis,) for axis in range(len(self.axes)) if axis not in self.own]
        return (*lead, *(side for side in self.rows_and_columns if side))

    @property
    def matrix(self) -> bool:
        """Whether one layer's parameter is a matrix."""
        return len(self.sides) >= 2

    @property
    def block(self) -> bool:
        """Whether it belongs to the blocks of a stack, not to embeddings or heads."""
        return "blocks" in self.path.split(".") or "layers" in self.axes


def matrices(axes: Any) -> Any:
    """A tree of booleans: which of the parameters, whose axis names are `axes`, are matrices."""
    return jax.tree.map(is_matrix, axes, is_leaf=lambda node: isinstance(node, tuple))


def leaves(axes: Mapping[str, Any], record: Any) -> dict[str, Leaf]:
    """{"stack.norm.scale": Leaf, ...} of parameters whose axis names are the tree `axes`, by the
    record of an optimizer (`Optimization`) sets them. Those that an adapter freezes have no entry.

    Matrices decay by its `weight_decay`, vectors do not. `decay`, `rates` and `freeze` are glob
    patterns over the names of parameters ("embed.*", "*.layers.3.*", "*.ffn.*"; `*` crosses dots);
    where several patterns of one list match, the last one counts. `layer_decay` multiplies the
    rates.

    Raises:
        ValueError: patterns that match no parameter, with the nearest names; values that cannot be;
            a decay over layers that have no numbers, or that share their parameters.
    """
    axes_of = {p: each for p, each in flatten(axes).items() if not getattr(each, "frozen", False)}
    named = {path: names_of(path, each) for path, each in axes_of.items()}
    _check(record, axes_of, [name for names in named.values() for name in names])
    counts = {
        STORED.split(path)[0]: each.layers.count
        for path, each in axes_of.items()
        if getattr(each, "layers", None)
    }
    known = {}
    for path, names in named.items():
        decay = record.weight_decay if is_matrix(axes_of[path]) else 0.0
        fixed = not getattr(axes_of[path], "learned", True)
        factors = [record.layer_decay**depth for depth in _depths(path, axes_of, counts)]
        rates = [_last(name, record.rates, 1.0) * x for name, x in zip(names, factors)]
        frozen = [fixed or any(fnmatch.fnmatchcase(n, p) for p in record.freeze) for n in names]
        known[path] = Leaf(
            path,
            tuple(axes_of[path]),
            decay=_one([_last(name, record.decay, decay) for name in names]),
            rate=_one(rates),
            frozen=_one(frozen),
        )
    return known


def _check(record: Any, axes_of: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises ValueError for settings that no parameter can have, all of them at once."""
    numbered = [each.layers for each in axes_of.values() if isinstance(each, Axes) and each.layers]
    settings = [("decay", *pair) for pair in record.decay]
    settings += [("rates", *pair) for pair in record.rates]
    settings += [("freeze", pattern, 0.0) for pattern in record.freeze]
    problems = [
        f"{field}: {pattern!r} {_unmatched(pattern, names, numbered)}"
        for field, pattern, _ in settings
        if not fnmatch.filter(names, pattern)
    ]
    problems += [
        f"{field}: {pattern!r} has {value}; expected at least 0"
        for field, pattern, value in settings
        if not value >= 0
    ]
    if record.layer_decay != 1 and not numbered:
        problems += ["layer_decay needs the layers' numbers: build with axes(model) of a model"]
    elif record.layer_decay != 1 and any(layers.shared for layers in numbered):
        problems += ["layer_decay: the layers of this model share their parameters; use rates="]
    if problems:
        raise ValueError("optimizer." + "; optimizer.".join(problems))


def _depths(path: str, axes_of: Mapping[str, Any], counts: Mapping[str, int]) -> list[int]:
    """How many layers lie between the top and what is in this array, per layer of it.

    The highest layer of each stack is 1 deep, its embeddings are one deeper than the lowest.
    `counts` are the layers of each stack.
    """
    if layers := getattr(axes_of[path], "layers", None):
        return [layers.count - number for number in layers.numbers]
    depths = [counts[name] for name in _embedded(path, axes_of, counts)]
    return [1 + max(depths) if depths else 0]


def _embedded(path: str, axes_of: Mapping[str, Any], stacks: Iterable[str]) -> list[str]:
    """The names of the stacks to which a parameter is an embedding; none of heads, poolers, norms
    behind a stack and what leads from one stack to another.

    Tables of relative positions, `<stack>.score`, are read by all layers of their stack, from the
    lowest on. `embed` is read by every stack that has nothing of its own in its stead.
    """
    first, _, rest = path.partition(".")
    if first in stacks:
        return [first] if rest.startswith("score.") else []
    if first != "embed":  # "decoder_embed" of "decoder", "generator_project" of "generator_stack"
        owner = re.sub("_(embed|project)$", "", first)
        return [name for name in stacks if first != owner and name.split("_")[0] == owner]
    own = "decoder_embed.table" if rest == "table" else "decoder_embed."
    separate = any(other.startswith(own) for other in axes_of)
    return [name for name in stacks if not (separate and name == "decoder")]


def _one(values: Sequence[Value]) -> Value | tuple[Value, ...]:
    """The value that all layers have, or the values of all."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def _last(name: str, pairs: Sequence[tuple[str, float]], default: float) -> float:
    values = [value for pattern, value in pairs if fnmatch.fnmatchcase(name, pattern)]
    return values[-1] if values else default


def _unmatched(pattern: str, names: Sequence[str], numbered: Sequence[Layers]) -> str:
    """Why a pattern matches nothing, and what to type."""
    parts = re.split(r"[.*?\[\]]+", pattern)
    if numbered and "blocks" in parts:
        instead = re.sub(r"\bblocks\b", "layers", pattern)
        return (
            "names how layers are stored, which depends on the layout: an entry of `blocks` may "
            f"hold many layers. Layers are named by number: {instead!r}, or '*.layers.*' for all"
        )
    if "layers" in parts and any(layers.shared for layers in numbered):
        numbers = sorted({n for layers in numbered for n in layers.numbers})
        return (
            f"matches no parameter: the {numbered[0].count} layers share the parameters of "
            f"{', '.join(f'layers.{n}' for n in numbers)}"
        )
    hint = ""
    if "layers" in parts and numbered:
        hint = f" (layers are numbered from 0 to {max(layers.count for layers in numbered) - 1})"
    close = closest(pattern.replace("*", ""), names, most=3, cutoff=0.0)
    return f"matches no parameter{hint}; the nearest are {', '.join(close)}"
