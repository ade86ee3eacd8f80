"""The embedder of images whose stem is a module of convolutions."""

from __future__ import annotations

from typing import Any

from flax import nnx

from transformers_jax.graph.grid import grid
from transformers_jax.nn.embed.base import Embedder, Tokens
from transformers_jax.nn.image.stem import check_images


class ConvolvedEmbedder(Embedder):
    """The pixels of what a stem makes of an image, row by row. Images may have any size."""

    raw = ("pixel_values",)
    arguments = ("pixel_values",)

    def __init__(self, stem: Any, channels: int):
        self.stem: nnx.Module = stem
        self.channels = channels

    def grid_of(self, size: tuple[int, ...]) -> tuple[int, int]:
        """The grid of an image of so many pixels."""
        stem: Any = self.stem
        return stem.size(*size)

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = check_images(pixels, self.channels)
        rows, columns = self.grid_of(shape[2:])
        return shape[0], rows * columns

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        stem: Any = self.stem
        x = stem(inputs["pixel_values"].transpose(0, 2, 3, 1).astype(dtype))
        nodes = grid(*x.shape[1:3])
        x = x.reshape(x.shape[0], nodes.length, -1)
        return Tokens(x, nodes, nodes.length)

    def describe(self):
        return "nothing at the input"

    def flops(self, tokens):
        stem: Any = self.stem
        return stem.flops(tokens)
