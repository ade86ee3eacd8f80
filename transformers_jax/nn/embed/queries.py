"""The embedders of queries, which ask latents for an answer: no argument of a call holds them."""

from __future__ import annotations

import math

import jax.numpy as jnp

from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.fourier import FourierPositions


class PositionQueries(Embedder):
    """The positions of all points of a grid, the same for every row."""

    def __init__(self, positions: FourierPositions, sizes: tuple[int, ...]):
        self.place, self.sizes = positions, sizes
        self.width, self.tokens = positions.width, math.prod(sizes)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None, rows=1) -> Tokens:
        x = self.place.of_grid(self.sizes).astype(dtype)
        x = jnp.broadcast_to(x, (rows, *x.shape))
        return Tokens(x, nodes_of(self.tokens), self.tokens)

    def describe(self):
        grid = " x ".join(map(str, self.sizes))
        return f"queries at {grid} points, Fourier features of {self.place.bands} bands"


class StateQueries(Embedder):
    """The states of another tower, as they are (`Tower.placed`)."""

    def __init__(self, width: int):
        self.width = width

    def __call__(
        self, inputs, *, dtype, cache=None, key=None, table=None, rows=1, placed=None
    ) -> Tokens:
        assert placed is not None  # or there were no rows either
        return Tokens(placed.astype(dtype), nodes_of(placed.shape[1]), placed.shape[1])

    def describe(self):
        return "queries that are the tokens of the input"
