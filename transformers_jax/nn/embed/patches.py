"""The embedder of images: patches, a class token, and positions on the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param

CUBIC = -0.75  # the free coefficient of torch's bicubic kernel (Keys 1981 has -0.5)


@dataclass(frozen=True)
class PatchSpec:
    """How an image becomes vectors (Dosovitskiy et al. 2020, section 3.1).

    Attributes:
        image: height and width in pixels; a part that fills no patch is not read.
        patch: height and width of a patch.
        width: D, of the stream.
        bias: of the projection of patches.
        norm: of the sum of patches and positions (CLIP).
    """

    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    width: int
    front: tuple[str, ...] = ("cls",)
    bias: bool = True
    norm: spec.Norm | None = None
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches an image of the trained size has from top to bottom, and across."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]


class PatchEmbedder(Embedder):
    """[class token, patches row by row] + positions. Images of another size than the trained one
    are taken with `interpolate_pos_encoding=True`: positions are then interpolated on the grid."""

    raw = ("pixel_values",)
    arguments = ("pixel_values", "interpolate_pos_encoding")

    def __init__(self, patches: PatchSpec):
        self.spec = patches
        height, width = patches.patch
        sizes = {
            "channels": patches.channels,
            "patch_height": height,
            "patch_width": width,
            "embed": patches.width,
            "position": len(patches.front) + math.prod(patches.grid),
        }
        draw = lambda role: patches.initial.draw(role, sizes)
        self.patch = param("channels patch_height patch_width embed", sizes, draw("patch"))
        self.patch_bias = param("embed", sizes, spec.ZEROS) if patches.bias else None
        self.cls = param("embed", sizes, draw("cls")) if patches.front else None
        self.position = param("position embed", sizes, draw("position"))
        self.norm = Norm(patches.norm, patches.width) if patches.norm else None

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        channels, (height, width), patch = self.spec.channels, self.spec.image, self.spec.patch
        shape = np.shape(pixels)
        if len(shape) != 4 or shape[1] != channels:
            raise ValueError(
                f"pixel_values has shape {shape}; expected (images, {channels} channels, height, "
                "width)"
            )
        if 0 in shape:
            raise ValueError(f"pixel_values is empty (shape {shape}); give at least one image")
        checks.floats("pixel_values", pixels)
        whole = (shape[2] // patch[0], shape[3] // patch[1])
        if shape[2:] != (height, width):
            if not inputs.get("interpolate_pos_encoding"):
                raise ValueError(
                    f"pixel_values are of {shape[2]} x {shape[3]} pixels, but the model was made "
                    f"for {height} x {width}: resize them, or give interpolate_pos_encoding=True"
                )
            if (shape[2] % patch[0], shape[3] % patch[1]) != (0, 0):
                raise ValueError(
                    f"pixel_values are of {shape[2]} x {shape[3]} pixels, which patches of "
                    f"{patch[0]} x {patch[1]} do not fill; resize or crop them"
                )
        return shape[0], len(self.spec.front) + math.prod(whole)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        pixels: Array = inputs["pixel_values"]
        (height, width), images = self.spec.patch, pixels.shape[0]
        rows, columns = pixels.shape[2] // height, pixels.shape[3] // width
        pixels = pixels[:, :, : rows * height, : columns * width].astype(dtype)
        parts = pixels.reshape(images, -1, rows, height, columns, width)
        x = add(contract("bchpwq,cpqd->bhwd", parts, self.patch), self.patch_bias)
        x = x.reshape(images, rows * columns, -1)
        if self.cls is not None:
            cls = jnp.broadcast_to(self.cls[...].astype(dtype), (images, 1, x.shape[-1]))
            x = jnp.concatenate([cls, x], axis=1)
        x = x + self._positions((rows, columns)).astype(dtype)
        x = dropout(x if self.norm is None else self.norm(x), self.spec.dropout, key)
        return Tokens(x, nodes_of(x.shape[1]), x.shape[1])

    def describe(self):
        rows, columns = self.spec.grid
        return f"a learned table of {1 + rows * columns:,}, for {rows} x {columns} patches"

    def _positions(self, grid: tuple[int, int]) -> Float[Array, "T D"]:
        """The learned positions of the class token and of the patches of a grid."""
        table = self.position[...]
        if grid == self.spec.grid:
            return table
        n = len(self.spec.front)
        patches = table[n:].reshape(*self.spec.grid, -1)
        resized = jnp.einsum(
            "hp,wq,pqd->hwd",
            *(bicubic(old, new) for old, new in zip(self.spec.grid, grid)),
            patches,
        )
        return jnp.concatenate([table[:n], resized.reshape(-1, table.shape[1])])


def bicubic(old: int, new: int) -> np.ndarray:
    """Float32[new old]: the interpolation of `old` points to `new` ones by torch's "bicubic"
    (Keys 1981; pixels as areas, the border repeated)."""
    position = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(position).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(position - (first + tap))
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        value = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        np.add.at(weights, (np.arange(new), np.clip(first + tap, 0, old - 1)), value)
    return weights.astype(np.float32)


def pair(size: Any) -> tuple[int, int]:
    """Height and width of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
