"""The mask algebra: which directed edges key -> query exist. No parameters, no arrays.

Here are expressions and what combines them; what compares the tags of two nodes is in
primitives.py.

A mask is an expression over the tags of two nodes. It is frozen and hashable (so it can be a
static argument), it prints as the expression that made it, and it draws itself:

    CAUSAL                              a decoder
    CAUSAL | Where("prefix")            a prefix language model
    CAUSAL & Same("document")           a decoder over packed documents
    CAUSAL & Near(left=255)             a sliding window of 256
    Near(4, 4) & Strided(2)             a dilated window
    Near(w, w) | Where("global") | Where("global", of="query")     local attention, global tokens

Union, intersection and complement hold for every expression by construction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transformers_jax.arrays import Array, Bool
from transformers_jax.graph.nodes import Nodes, sequence


class Mask:
    """A directed graph over nodes, as an expression tree.

    Attributes:
        relative: a part that only compares a tag of two nodes, so that its edges are the same where
            the tag counts from another number; False: the values themselves matter.
    """

    relative = False

    def edges(
        self, q: Nodes, k: Nodes, pairs: Mapping[str, Array] | None = None
    ) -> Bool[Array, "b T S"]:
        """True where a message may go from key s to query t (broadcastable to [b T S])."""
        raise NotImplementedError

    @property
    def children(self) -> tuple[Mask, ...]:
        """The expressions that this one combines."""
        return ()

    def mapped(self, change: Callable[[Mask], Mask]) -> Mask:
        """This expression with its children changed."""
        return self

    def parts(self) -> Iterator[Mask]:
        """This mask and everything it is made of, outermost first."""
        yield self
        for child in self.children:
            yield from child.parts()

    def over(self, own: Mask) -> Mask:
        """This expression with `own` in the place of `OWN`."""
        return self.mapped(lambda child: child.over(own))

    def at(self, layer: int) -> Mask:
        """This expression as the layer of this number reads it (`PerLayer`)."""
        return self.mapped(lambda child: child.at(layer))

    def __str__(self) -> str:
        """What one would type to make it: fields that differ from their defaults, by name after the
        first default."""
        if not dataclasses.is_dataclass(self):
            return repr(self)
        cells, by_name = [], False
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            by_name = by_name or field.name in ("left", "right", "of")
            if value != field.default:
                cells.append(f"{field.name}={value!r}" if by_name else repr(value))
            else:
                by_name = True
        return f"{type(self).__name__}({', '.join(cells)})"

    @property
    def tags(self) -> frozenset[str]:
        """Names of the tags that the expression compares."""
        return frozenset(tag for part in self.parts() for tag in part.reads)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the tags that this part compares by itself."""
        return (self.tag,) if hasattr(self, "tag") else ()

    def reads_of(self, side: str) -> tuple[str, ...]:
        """Those of them that it compares of one side, "query" or "key"."""
        return self.reads

    @property
    def reads_pairs(self) -> tuple[str, ...]:
        """Names of the pair arrays that this part reads by itself."""
        return ()

    @property
    def pairs(self) -> frozenset[str]:
        """Names of the pair arrays that the expression reads."""
        return frozenset(name for part in self.parts() for name in part.reads_pairs)

    def __and__(self, other: Mask) -> Mask:
        return All(self, other)

    def __or__(self, other: Mask) -> Mask:
        return Any(self, other)

    def __invert__(self) -> Mask:
        return self.part if isinstance(self, Not) else Not(self)

    def check(self, q: Nodes, k: Nodes, pairs: Mapping[str, Array]) -> None:
        """Raises ValueError if it names a tag or a pair array that is absent."""
        for part in self.parts():
            part.check_tags(q, k)
        if missing := sorted(self.pairs - set(pairs)):
            raise ValueError(
                f"mask {self} reads pair arrays {missing}, but pairs has {sorted(pairs)}"
            )

    def check_tags(self, q: Nodes, k: Nodes) -> None:
        """Raises ValueError if the nodes lack a tag that this part itself compares."""
        for tag in self.reads:
            q.tag(tag), k.tag(tag)

    def matrix(
        self, q: Nodes | int = 8, k: Nodes | int | None = None, pairs=None
    ) -> Bool[np.ndarray, "T S"]:
        """The edges of the first row of the nodes; a number stands for so many tokens in sequence;
        without keys, they are the queries."""
        q = q if isinstance(q, Nodes) else sequence(q)
        k = q if k is None else k if isinstance(k, Nodes) else sequence(k)
        self.check(q, k, pairs or {})
        edges = np.asarray(self.edges(q, k, pairs or {}))
        edges = edges if k.valid is None else edges & np.asarray(k.valid)[:, None, :]
        return np.broadcast_to(edges[0], (q.length, k.length))

    def draw(self, q: Nodes | int = 8, k: Nodes | int | None = None, pairs=None) -> str:
        """The matrix as text: a row per query, a column per key, `1` for an edge, `.` for none.

        >>> print(CAUSAL.draw(3))
        1 . .
        1 1 .
        1 1 1
        """
        rows = self.matrix(q, k, pairs)
        return "\n".join(" ".join("1" if edge else "." for edge in row) for row in rows)

    def plot(self, q: Nodes | int = 8, k: Nodes | int | None = None, pairs=None, **options):
        """A matplotlib figure of the graph: its matrix and its arcs (`pip` extra `viz`)."""
        from transformers_jax.graph.draw import plot

        edges = self.matrix(q, k, pairs)
        across = k is not None and (not isinstance(k, int) or k != q)
        return plot(edges, options.pop("title", None) or str(self), across=across, **options)


@dataclass(frozen=True)
class Own(Mask):
    """Stands for the mask that a model has by itself: `OWN & Same("document")` keeps documents
    from attending to each other, whatever else the model's mask says."""

    def edges(self, q, k, pairs=None):
        raise ValueError("OWN stands for a model's own mask; give it as mask= to a model")

    def over(self, own):
        return own

    def __str__(self) -> str:
        return "OWN"


@dataclass(frozen=True)
class Pair(Mask):
    """Two expressions combined by the operator `sign`."""

    a: Mask
    b: Mask
    sign: ClassVar[str]

    @property
    def children(self):
        return self.a, self.b

    def mapped(self, change):
        return type(self)(change(self.a), change(self.b))

    def __str__(self) -> str:
        mixed = isinstance(self.a, Pair) and self.a.sign != self.sign
        left = f"({self.a})" if mixed else str(self.a)
        right = f"({self.b})" if isinstance(self.b, Pair) else str(self.b)
        return f"{left} {self.sign} {right}"


@dataclass(frozen=True)
class All(Pair):
    """Edges of both."""

    sign = "&"

    def edges(self, q, k, pairs=None):
        return self.a.edges(q, k, pairs) & self.b.edges(q, k, pairs)


@dataclass(frozen=True)
class Any(Pair):
    """Edges of either."""

    sign = "|"

    def edges(self, q, k, pairs=None):
        return self.a.edges(q, k, pairs) | self.b.edges(q, k, pairs)


@dataclass(frozen=True)
class Not(Mask):
    """The edges that the part does not have."""

    part: Mask

    def edges(self, q, k, pairs=None):
        return ~self.part.edges(q, k, pairs)

    @property
    def children(self):
        return (self.part,)

    def mapped(self, change):
        return ~change(self.part)

    def __str__(self) -> str:
        return f"~({self.part})" if isinstance(self.part, Pair) else f"~{self.part}"


@dataclass(frozen=True)
class PerLayer(Mask):
    """One mask for each layer of a stack; made of a list of masks that is passed to a model."""

    masks: tuple[Mask, ...]

    def edges(self, q, k, pairs=None):
        raise ValueError(f"{self} is a mask per layer; give it as mask= to a model")

    @property
    def children(self):
        return self.masks

    def mapped(self, change):
        return PerLayer(tuple(map(change, self.masks)))

    def at(self, layer):
        return self.masks[layer].at(layer)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.masks))}]"


OWN = Own()


def with_own(mask: Mask | None, own: Mask) -> Mask:
    """The mask of a model: `mask` with `own` in place of `OWN`, or `own` if `mask` is None."""
    return own if mask is None else mask.over(own)
