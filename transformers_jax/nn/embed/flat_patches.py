"""The embedder of images of any size and aspect, each of which comes as the row of its patches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.param import contract, param


@dataclass(frozen=True)
class FlatPatchSpec:
    """How the patches of an image become vectors (Tschannen et al. 2025, section 2.4.2).

    Attributes:
        size: how many numbers a patch has.
        positions: how many positions are learned, those of the patches of a square image.
        width: D, of the stream.
        channels: of an image, which are the last axis of a patch.

    Raises:
        ValueError: a number of positions that is no square.
    """

    size: int
    positions: int
    width: int
    channels: int = 3
    initial: spec.Initial = field(default_factory=spec.Initial)

    def __post_init__(self):
        if self.side**2 != self.positions:
            raise ValueError(
                f"num_patches={self.positions} positions are learned on a square, so it must be "
                f"one: {self.side**2} or {(self.side + 1) ** 2}"
            )

    @property
    def side(self) -> int:
        """How many positions a side of the square has."""
        return math.isqrt(self.positions)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch."""
        edge = math.isqrt(self.size // self.channels)
        return edge, edge


class FlatPatchEmbedder(Embedder):
    """Patches + positions, which are those of the learned square, resized to the height and width
    of each image in patches (`spatial_shapes`)."""

    raw = ("pixel_values",)
    arguments = ("pixel_values", "pixel_attention_mask", "spatial_shapes")

    def __init__(self, patches: FlatPatchSpec):
        self.spec = patches
        sizes = {"patch": patches.size, "embed": patches.width, "position": patches.positions}
        of_patch = {"channels": patches.size, "patch_height": 1, "patch_width": 1, **sizes}
        draw = patches.initial.draw
        self.patch = param("patch embed", sizes, draw("patch", of_patch))
        self.patch_bias = param("embed", sizes, spec.ZEROS)
        self.position = param("position embed", sizes, draw("position", sizes))

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = np.shape(pixels)
        if len(shape) != 3 or shape[2] != self.spec.size or 0 in shape:
            raise ValueError(
                f"pixel_values has shape {shape}; expected (images, patches, {self.spec.size} "
                "numbers of a patch): images as rows of their patches, filled up to one length"
            )
        checks.floats("pixel_values", pixels)
        if (mask := inputs.get(f"{prefix}pixel_attention_mask")) is not None:
            checks.mask("pixel_attention_mask", mask, shape[:2], "pixel_values")
        _check_shapes(inputs.get(f"{prefix}spatial_shapes"), *shape[:2])
        return shape[:2]

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        pixels: Array = inputs["pixel_values"].astype(dtype)
        x = affine("btp,pd->btd", pixels, self.patch, self.patch_bias)
        x = x + self._positions(inputs["spatial_shapes"], x.shape[1]).astype(dtype)
        return Tokens(x, nodes_of(x.shape[1], inputs.get("pixel_attention_mask")), x.shape[1])

    def describe(self):
        side = self.spec.side
        return f"a learned table of {side} x {side}, resized to each image"

    def flops(self, tokens):
        return super().flops(tokens) + 2.0 * tokens * self.spec.positions * self.spec.width

    def _positions(self, shapes: Int[Array, "B 2"], length: int) -> Float[Array, "B T D"]:
        """The positions of the patches of each image, row by row; padding has the first."""
        height, width = shapes[:, :1], shapes[:, 1:]
        fits = (jnp.minimum(height, width) > 0) & (height * width <= length)
        number = jnp.arange(length, dtype=shapes.dtype)[None]
        number = jnp.where(number < height * width, number, 0)
        down = antialiased(number // width, height, self.spec.side)
        across = antialiased(number % width, width, self.spec.side)
        # resizing is linear: each patch's position is a weighted mean of those that are learned
        weights = (down[..., :, None] * across[..., None, :]).reshape(shapes.shape[0], length, -1)
        weights = jnp.where(fits[..., None], weights, jnp.nan)
        return contract("btp,pd->btd", weights.astype(self.position[...].dtype), self.position)


def antialiased(
    number: Int[Array, "B T"], size: Int[Array, "B 1"], trained: int
) -> Float[Array, "B T P"]:
    """The weights of `trained` points in each point, of a number among `size`: linear interpolation
    whose kernel is as wide as a step where points become fewer (torch's "bilinear" with antialias;
    pixels as areas)."""
    step = trained / size.astype(jnp.float32)
    center = (number.astype(jnp.float32) + 0.5) * step - 0.5
    points = jnp.arange(trained, dtype=jnp.float32)[None, None]
    distance = jnp.abs(points - center[..., None])
    weights = jnp.maximum(1 - distance / jnp.maximum(step, 1.0)[..., None], 0)
    return weights / weights.sum(-1, keepdims=True)


def _check_shapes(shapes: Any, images: int, patches: int) -> None:
    """Raises ValueError unless each image has a height and a width whose patches are in its row."""
    name, form = "spatial_shapes", f"Int[{images}, 2], the height and width of each in patches"
    if shapes is None:
        raise ValueError(f"give {name} with pixel_values: {form}")
    if np.shape(shapes) != (images, 2):
        raise ValueError(f"{name} has shape {np.shape(shapes)}; expected {form}")
    checks.integers(name, shapes, 2)
    if (known := readable(shapes)) is None:
        return
    for number, (height, width) in enumerate(known.tolist()):
        if min(height, width) < 1 or height * width > patches:
            raise ValueError(
                f"{name}[{number}] is {height} x {width}, which is not within the {patches} "
                "patches of a row of pixel_values; expected a height and a width of at least "
                "1 whose product is at most that"
            )
