"""Masks of blocks: the same block, and blocks drawn at random.

A random graph is a pure function of its seed. Nothing is drawn from a stream and nothing is stored:
a counter hash of (seed, block of the query, number of the draw) names a block of keys. Every tile
of the matrix, on every backend, therefore has the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.arrays import Array, Int, UInt32, mix
from transformers_jax.graph.mask import Mask
from transformers_jax.graph.primitives import Comparison


@dataclass(frozen=True)
class Block(Comparison):
    """Query and key lie in the same block of `size` tokens.

    Block(2):  1 1 . .
               1 1 . .
               . . 1 1
               . . 1 1
    """

    size: int
    tag: str = "index"
    relative = False

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"Block({self.size}): the size must be at least 1")

    def compare(self, query, key):
        return query // self.size == key // self.size


@dataclass(frozen=True)
class Scattered(Mask):
    """Each block of queries attends to `count` blocks of keys drawn at random (Zaheer et al. 2020).

    Blocks are numbered by the tag `tag`; `of` is their number. The blocks drawn are different ones,
    and none that a block attends to by other masks: not itself, its two neighbours, the first or
    the last. The first and the last block draw none, and so do all where there are too few. The
    others are divided into `count` equal parts, and one block of each is drawn.

    Scattered(1, 3) over blocks of one token:  . . . . . . .
                                               . . . 1 . . .
                                               . . . . . 1 .
                                               . . . . . 1 .
                                               . 1 . . . . .
                                               . . . 1 . . .
                                               . . . . . . .
    """

    count: int
    seed: int = 0
    tag: str = "block"
    of: str = "blocks"

    def __post_init__(self):
        if self.count < 0 or not 0 <= self.seed < 2**32:
            raise ValueError(
                f"Scattered({self.count}, seed={self.seed}): draws 0 or more blocks, from a seed "
                "in [0, 2**32)"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.tag, self.of)

    def edges(self, q, k, pairs=None):
        row, column = q.tag(self.tag)[:, :, None], k.tag(self.tag)[:, None, :]
        blocks = q.tag(self.of)[:, :, None]
        edges = row != row
        for draw in range(self.count):
            edges = edges | (column == self.drawn(row, blocks, draw))
        return edges

    def drawn(
        self, block: Int[Array, "..."], blocks: Int[Array, "..."], draw: int
    ) -> Int[Array, "..."]:
        """The block that a block of queries draws, or -1 if it draws none."""
        low, high = _at_least(block - 1, 1), _at_most(block + 1, blocks - 2)
        near = high - low + 1  # blocks of the window that are neither the first nor the last
        free = blocks - 2 - near
        start = draw * free // self.count
        size = _at_least((draw + 1) * free // self.count - start, 1)
        key = start + (self._bits(block, draw) % size.astype(np.uint32)).astype(np.int32) + 1
        key = key + near * (key >= low)
        draws = (block > 0) & (block < blocks - 1) & (free >= self.count)
        return key * draws - 1 * ~draws

    def _bits(self, block: Int[Array, "..."], draw: int) -> UInt32[Array, "..."]:
        # NumPy's numbers warn when they overflow, its arrays do not
        start: Any = np.array([self.seed], np.uint32)
        start = mix(mix(start) ^ np.uint32(draw))[0]
        return mix(block.astype(np.uint32) * np.uint32(0x9E3779B9) ^ start)

    def __str__(self) -> str:
        tags = "" if self.reads == ("block", "blocks") else f", {self.tag!r}, {self.of!r}"
        return f"Scattered({self.count}, {self.seed}{tags})"


def _at_least(x: Array, low: Any) -> Array:
    return x + (low - x) * (x < low)


def _at_most(x: Array, high: Any) -> Array:
    return x + (high - x) * (x > high)
