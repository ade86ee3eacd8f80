"""Stems: what makes the first grid of tokens of an image, in front of stages and of some stacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Nodes, sequence
from transformers_jax.graph.grid import grid as nodes_of_grid
from transformers_jax.inputs import checks
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Embedder, Tokens
from transformers_jax.nn.grid import GridRows
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

Size = tuple[int, int]


@dataclass(frozen=True)
class StemSpec:
    """How an image becomes vectors: patches, normalised before anything is added.

    Attributes:
        image: height and width in pixels.
        patch: height and width of a patch.
        front: whether a learned token stands in front of the patches.
        positions: whether a vector is added for each token, learned at the trained size.
        draw: how positions are drawn, where not as weights are.
        mask: whether there is a vector for patches that are hidden (`bool_masked_pos` in a call).
        norm: of the projected patches.
        fills_up: whether images are filled up with zeros to whole patches, at the right and below;
            otherwise a part that fills no patch is not read.
        whole: whether images have the trained size, always.
    """

    image: Size
    patch: Size
    channels: int
    width: int
    front: bool = False
    positions: bool = False
    draw: spec.Draw | None = None
    mask: bool = False
    norm: spec.Norm | None = None
    fills_up: bool = False
    whole: bool = False
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)


class StemEmbedder(Embedder):
    """[token in front, patches row by row], with positions. Images may have any size; learned
    positions are interpolated with `interpolate_pos_encoding=True`."""

    raw = ("pixel_values",)

    def __init__(self, stem: StemSpec):
        self.spec = stem
        sizes = {
            "channels": stem.channels,
            "patch_height": stem.patch[0],
            "patch_width": stem.patch[1],
            "embed": stem.width,
            "position": self.rows.count,
        }
        draw = lambda role: stem.initial.draw(role, sizes)
        self.patch = param("channels patch_height patch_width embed", sizes, draw("patch"))
        self.patch_bias = param("embed", sizes, spec.ZEROS)
        self.patch_norm = None if stem.norm is None else Norm(stem.norm, stem.width)
        self.cls = param("embed", sizes, draw("cls")) if stem.front else None
        self.hidden = param("embed", sizes, spec.ZEROS) if stem.mask else None
        how = stem.draw or draw("position")
        self.position = param("position embed", sizes, how) if stem.positions else None

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        hidden = ("bool_masked_pos",) if self.spec.mask else ()
        return ("pixel_values", *hidden, "interpolate_pos_encoding")

    @property
    def rows(self) -> GridRows:
        """The rows of the table of positions."""
        return GridRows(self.grid_of(self.spec.image), front=int(self.spec.front))

    def grid_of(self, size: Any) -> Size:
        """How many patches an image of so many pixels has from top to bottom, and across."""
        (height, width), (high, wide) = size, self.spec.patch
        if self.spec.fills_up:
            return -(-height // high), -(-width // wide)
        return height // high, width // wide

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = check_images(pixels, self.spec.channels)
        grid = self.grid_of(shape[2:])
        self._check_size(shape[2:], grid, inputs.get(f"{prefix}interpolate_pos_encoding"))
        hidden = inputs.get(f"{prefix}bool_masked_pos")
        if hidden is not None and np.shape(hidden) != (shape[0], math.prod(grid)):
            raise ValueError(
                f"bool_masked_pos has shape {np.shape(hidden)}; expected "
                f"{(shape[0], math.prod(grid))}: one value for each of the {grid[0]} x {grid[1]} "
                "patches of each image, row by row"
            )
        return shape[0], int(self.spec.front) + math.prod(grid)

    def _check_size(self, size: Any, grid: Size, interpolates: Any) -> None:
        (height, width), trained = self.spec.patch, self.spec.image
        came = f"pixel_values are of {size[0]} x {size[1]} pixels"
        if 0 in grid:
            raise ValueError(f"{came}, less than one patch of {height} x {width}; enlarge them")
        if self.spec.whole and tuple(size) != trained:
            raise ValueError(
                f"{came}, but the weights are those of the patches of {trained[0]} x {trained[1]}; "
                "resize the images"
            )
        if self.position is not None and grid != self.rows.grid and not interpolates:
            raise checks.OtherSize(size, trained, self.spec.patch)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = self.project(inputs["pixel_values"], dtype)
        images, rows, columns, width = x.shape
        x = x.reshape(images, rows * columns, width)
        if (hidden := inputs.get("bool_masked_pos")) is not None:
            assert self.hidden is not None  # or the argument were unknown
            hides = jnp.asarray(hidden)[..., None] != 0
            x = jnp.where(hides, self.hidden[...].astype(dtype), x)
        if self.cls is not None:
            first = jnp.broadcast_to(self.cls[...].astype(dtype), (images, 1, width))
            x = jnp.concatenate([first, x], axis=1)
        if self.position is not None:
            positions = self.rows.resampled(self.position[...], (rows, columns))
            x = x + positions.astype(dtype)
        x = dropout(x, self.spec.dropout, key)
        return Tokens(x, self.nodes(rows, columns), x.shape[1])

    def nodes(self, rows: int, columns: int) -> Nodes:
        """The nodes of all tokens; patches alone are a grid."""
        return sequence(1 + rows * columns) if self.spec.front else nodes_of_grid(rows, columns)

    def project(self, pixels: Float[Array, "B C H W"], dtype: jnp.dtype) -> Float[Array, "B h w D"]:
        """The vectors of the patches of images."""
        grid, patch = self.grid_of(pixels.shape[2:]), self.spec.patch
        rows, columns = (count * size for count, size in zip(grid, patch))
        missing = (max(0, rows - pixels.shape[2]), max(0, columns - pixels.shape[3]))
        if any(missing):
            pixels = jnp.pad(pixels, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
        x = self.patches(pixels[:, :, :rows, :columns].astype(dtype), grid)
        return x if self.patch_norm is None else self.patch_norm(x)

    def patches(self, pixels: Float[Array, "B C H W"], grid: Size) -> Float[Array, "B h w D"]:
        """The projected patches of an image that they fill."""
        (rows, columns), (high, wide) = grid, self.spec.patch
        parts = pixels.reshape(*pixels.shape[:2], rows, high, columns, wide)
        return affine("bchpwq,cpqd->bhwd", parts, self.patch, self.patch_bias)

    def describe(self):
        if self.position is None:
            return "nothing at the input"
        rows, columns = self.rows.grid
        return f"a learned table of {self.rows.count:,}, for {rows} x {columns} patches"


def check_images(pixels: Any, channels: int) -> tuple[int, ...]:
    """The shape of images.

    Raises:
        ValueError: other axes than (images, channels, height, width), none at all, or no numbers
            that a model computes with.
    """
    shape = np.shape(pixels)
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(
            f"pixel_values has shape {shape}; expected (images, {channels} channels, height, width)"
        )
    if 0 in shape:
        raise ValueError(f"pixel_values is empty (shape {shape}); give at least one image")
    checks.floats("pixel_values", pixels)
    return shape
