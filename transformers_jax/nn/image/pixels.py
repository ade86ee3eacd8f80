"""The embedder of single pixels: what a stem makes of each, beside where it is."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph.grid import grid as nodes_of_grid
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Embedder, Tokens
from transformers_jax.nn.embed.patches import check_images
from transformers_jax.nn.embed.tokens import Projection
from transformers_jax.nn.fourier import FourierPositions, beside
from transformers_jax.nn.grid import Grid, GridRows
from transformers_jax.nn.image.residual import Stem
from transformers_jax.nn.param import param


class LearnedPositions(nnx.Module):
    """A learned vector for each point of a grid, projected. On a grid of another size they are
    interpolated."""

    def __init__(self, grid: Grid, width: int, initial: spec.Initial):
        self.rows, self.width = GridRows(grid), width
        sizes = {"position": self.rows.count, "embed": width}
        self.table = param("position embed", sizes, initial.draw("position", sizes))
        self.table.set_metadata(grid=self.rows)
        self.project = Projection(width, width, initial)

    def of_grid(self, sizes: Grid) -> Float[Array, "N W"]:
        """The vectors of all points of a grid, row by row."""
        vectors: Array = self.project(self.rows.resampled(self.table[...], sizes)[None])[0]
        return vectors


class PixelEmbedder(Embedder):
    """[what a stem makes of a pixel, where the pixel is], row by row (Jaegle et al. 2021,
    Perceiver, sections 3.2 and 4.1). Tokens are as wide as the two together.

    Args:
        stem: makes the vectors, Float[B h w D] of Float[B H W C]; None: a pixel is its channels.
        width: of these vectors, D.
        positions: Fourier features, with which images may have any size, or learned ones, which
            are interpolated with `interpolate_pos_encoding=True`.
    """

    raw = ("pixel_values",)

    def __init__(
        self,
        channels: int,
        positions: FourierPositions | LearnedPositions,
        stem: Any = None,
        width: int | None = None,
    ):
        self.channels, self.stem, self.place = channels, stem, positions
        self.width = (width or channels) + positions.width

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        learned = isinstance(self.place, LearnedPositions)
        return ("pixel_values", *(("interpolate_pos_encoding",) if learned else ()))

    def grid_of(self, size: tuple[int, ...]) -> Grid:
        """The grid that the stem makes of an image of so many pixels."""
        high, wide = size if self.stem is None else self.stem.size(*size)
        return high, wide

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = check_images(pixels, self.channels)
        grid, place = self.grid_of(shape[2:]), self.place
        if min(grid) < 1:
            raise ValueError(
                f"pixel_values are of {shape[2]} x {shape[3]} pixels, of which the stem leaves "
                "nothing; enlarge them"
            )
        interpolates = inputs.get(f"{prefix}interpolate_pos_encoding")
        if isinstance(place, LearnedPositions) and grid != place.rows.grid and not interpolates:
            raise checks.OtherSize(shape[2:], place.rows.grid, (1, 1))
        return shape[0], math.prod(grid)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = jnp.moveaxis(inputs["pixel_values"], 1, -1).astype(dtype)
        x = x if self.stem is None else self.stem(x)
        nodes = nodes_of_grid(*x.shape[1:3])
        places = self.place.of_grid((x.shape[1], x.shape[2]))
        x = beside(x.reshape(x.shape[0], -1, x.shape[-1]), places)
        return Tokens(x, nodes, nodes.length)

    def describe(self):
        if isinstance(self.place, LearnedPositions):
            return f"a learned table of {self.place.rows.count:,}, beside the pixels"
        return f"Fourier features of {self.place.bands} bands, beside the pixels"

    def flops(self, tokens):
        if isinstance(self.stem, Stem):
            return self.stem.flops(tokens)
        return super().flops(tokens)


class FlowEmbedder(Embedder):
    """The pixels of two frames at once, each with its neighbours in both (`inputs`, Float[B 2 N H
    W]), projected, beside where they are (Jaegle et al. 2021b, Perceiver IO, section 4.2)."""

    raw = ("inputs",)
    arguments = raw
    frames, values = 2, 27

    def __init__(self, size: Grid, width: int, positions: FourierPositions, initial: spec.Initial):
        self.size, self.place, self.width = size, positions, width + positions.width
        self.project = Projection(self.frames * self.values, width, initial)

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}inputs")
        if pixels is None:
            return None
        shape, expected = np.shape(pixels), (self.frames, self.values, *self.size)
        if shape[1:] != expected or shape[0] == 0:
            raise ValueError(
                f"inputs has shape {shape}; expected (rows, {', '.join(map(str, expected))}): two "
                f"frames, the {self.values} values of the 3 x 3 pixels around each, height and "
                "width (train_size)"
            )
        checks.floats("inputs", pixels)
        return shape[0], math.prod(self.size)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        pixels = jnp.asarray(inputs["inputs"]).astype(dtype)
        x = self.project(rearrange(pixels, "b f n h w -> b (h w) (f n)"))
        x, nodes = beside(x, self.place.of_grid(self.size)), nodes_of_grid(*self.size)
        return Tokens(x, nodes, nodes.length)

    def describe(self):
        return f"Fourier features of {self.place.bands} bands, beside the pixels"
