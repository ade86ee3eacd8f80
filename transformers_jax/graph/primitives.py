"""The primitives of the mask algebra: edges between two nodes, by the tags that these carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.graph.mask import Mask


class Comparison(Mask):
    """Edges by the values of one tag, which both nodes carry."""

    tag: str
    relative = True

    def compare(self, query: Int[Array, "b T 1"], key: Int[Array, "b 1 S"]) -> Bool[Array, "b T S"]:
        """True where there is an edge between nodes of these values."""
        raise NotImplementedError

    def edges(self, q, k, pairs=None):
        return self.compare(q.tag(self.tag)[:, :, None], k.tag(self.tag)[:, None, :])


@dataclass(frozen=True)
class Full(Mask):
    """Every token attends to every token: an encoder.

    1 1 1
    1 1 1
    1 1 1
    """

    def edges(self, q, k, pairs=None):
        index = k.tag("index")  # made from a tag: a Pallas kernel may not close over an array
        return (index == index)[:, None, :]


@dataclass(frozen=True)
class Before(Comparison):
    """Queries that do not come before a key attend to it: a decoder.

    1 . .
    1 1 .
    1 1 1
    """

    tag: str = "index"

    def compare(self, query, key):
        return key <= query

    def __str__(self) -> str:
        return "CAUSAL" if self.tag == "index" else super().__str__()


@dataclass(frozen=True)
class Near(Comparison):
    """A window: the key is at most `left` before and `right` after the query (None: no limit).

    Near(1, 0):  1 . .
                 1 1 .
                 . 1 1
    """

    left: int | None = None
    right: int | None = None
    tag: str = "index"

    def __post_init__(self):
        for side, reach in (("left", self.left), ("right", self.right)):
            if reach is not None and reach < 0:
                raise ValueError(
                    f"Near({side}={reach}): a window reaches 0 or more tokens, or None"
                )

    def compare(self, query, key):
        gap = query - key
        if self.left is None and self.right is None:
            return key == key
        if self.left is None or self.right is None:
            return -gap <= self.right if self.left is None else gap <= self.left
        return (gap <= self.left) & (-gap <= self.right)


@dataclass(frozen=True)
class Same(Comparison):
    """Both carry the same value of a tag: packed documents, windows, images.

    Same("document") over documents 0 0 1:  1 1 .
                                            1 1 .
                                            . . 1
    """

    tag: str

    def compare(self, query, key):
        return query == key


@dataclass(frozen=True)
class Where(Mask):
    """The key (or the query) carries a tag above zero: a prefix, global tokens.

    Where("prefix") over prefix 1 0 0:  1 . .
                                        1 . .
                                        1 . .
    """

    tag: str
    of: Literal["key", "query"] = "key"

    def __post_init__(self):
        if self.of not in ("key", "query"):
            raise ValueError(f"Where(of={self.of!r}): expected 'key' or 'query'")

    def edges(self, q, k, pairs=None):
        if self.of == "key":
            return (k.tag(self.tag) > 0)[:, None, :]
        return (q.tag(self.tag) > 0)[:, :, None]

    def reads_of(self, side):
        return self.reads if side == self.of else ()

    def check_tags(self, q, k):
        (k if self.of == "key" else q).tag(self.tag)  # of one side only


BITS = 31
"""How many numbers the bits of a tag can be."""


@dataclass(frozen=True)
class Holds(Mask):
    """The query carries a set, as the bits of a tag, and the key a number in it, counted from
    `first` on: the images to which a word attends.

    Holds("images", "image") over images 1 3 2 and image 0 1 0:  1 . 1
                                                                 1 1 1
                                                                 . 1 .
    """

    bits: str
    number: str
    first: int = 0

    @property
    def reads(self):
        return (self.bits, self.number)

    def reads_of(self, side):
        return (self.bits,) if side == "query" else (self.number,)

    def edges(self, q, k, pairs=None):
        number = k.tag(self.number)[:, None, :] - self.first
        member = (q.tag(self.bits)[:, :, None] >> number.clip(0, BITS - 1)) & 1
        return (number >= 0) & (number < BITS) & (member > 0)

    def check_tags(self, q, k):
        q.tag(self.bits), k.tag(self.number)


@dataclass(frozen=True)
class Strided(Comparison):
    """The distance between query and key is a multiple of `step`: dilation.

    Strided(2):  1 . 1
                 . 1 .
                 1 . 1
    """

    step: int
    tag: str = "index"

    def __post_init__(self):
        if self.step < 1:
            raise ValueError(f"Strided({self.step}): the step must be at least 1")

    def compare(self, query, key):
        return (query - key) % self.step == 0


@dataclass(frozen=True)
class Dense(Mask):
    """An arbitrary graph, given as `pairs[name]`: Bool[b T S], or numbers, edges where above 0."""

    name: str

    @property
    def reads_pairs(self):
        return (self.name,)

    def edges(self, q, k, pairs=None):
        array = pairs[self.name]
        return array if array.dtype == bool else array > 0


CAUSAL = Before("index")
FULL = Full()
