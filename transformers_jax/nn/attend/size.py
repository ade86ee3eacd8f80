"""How large the tiles of `tiled` are: small ones follow the edges, large ones compute faster."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from transformers_jax.graph import Block, Dense, Edges, Same, Scattered, Where
from transformers_jax.graph.tiles import tiles

SPEED = {32: 1.6, 64: 1.15, 128: 1.0, 256: 0.98, 512: 0.65}
"""Time per score in a tile of so many queries and keys, on two CPU cores (float32, heads of 64)."""

LARGE = 512  # on an accelerator a step of the loop costs more than the scores of a small tile


def tile_size(edges: Edges) -> tuple[int, int]:
    """(queries, keys) of a tile.

    Where the live tiles are known while tracing, the size whose tiles cost least; padding, which
    mostly is not known, is ignored. Where they are listed at run time a guess: documents and
    regions are worth small tiles.
    """
    if jax.default_backend() != "cpu":
        return cut(edges, LARGE)
    edges = replace(edges, q=replace(edges.q, valid=None), k=replace(edges.k, valid=None))
    costs: dict[tuple[int, int], float] = {}
    for side, time in sorted(SPEED.items(), reverse=True):
        size = cut(edges, side)
        may, _ = tiles(edges, size)
        if not isinstance(may, np.ndarray):
            kinds = (Same, Block, Scattered, Dense, Where)
            local = any(isinstance(part, kinds) for part in edges.mask.parts())
            return cut(edges, 128 if local else 512)
        costs[size] = costs.get(size, time * int(may.sum()) * size[0] * size[1] / len(may))
    return min(costs, key=lambda size: costs[size])


def cut(edges: Edges, side: int) -> tuple[int, int]:
    """Tiles of at most about `side`, a multiple of 8, that leave little over at the ends."""

    def balanced(length: int) -> int:
        count = -(-length // side)
        return length if count == 1 else -(-length // (8 * count)) * 8

    return balanced(edges.shape[0]), balanced(edges.shape[1])
