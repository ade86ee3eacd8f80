"""The embedder of images: patches on a grid, learned tokens in front of them, and positions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, is_symbolic
from transformers_jax.graph import Nodes
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import dtype_of, holds, readable
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.grid import Grid, GridRows, Resampling
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

OFF_GRID = -1
"""The tags `row` and `column` of a token that is no patch."""


@dataclass(frozen=True)
class GridPositions:
    """A vector for each token in front and each patch, added to it.

    Attributes:
        how: the interpolation of those of patches, for images of another size.
        any_size: whether images of another size are taken without `interpolate_pos_encoding=True`.
        learned: False of a table that files hold and training leaves as it is (MAE).
        draw: how it is drawn, where the family's rule is another than for its weights.
    """

    how: Resampling = Resampling()
    any_size: bool = False
    learned: bool = True
    draw: spec.Draw | None = None


@dataclass(frozen=True)
class PatchSpec:
    """How an image becomes vectors (Dosovitskiy et al. 2020, section 3.1).

    Attributes:
        image: height and width in pixels; a part that fills no patch is not read.
        patch: height and width of a patch.
        width: D, of the stream.
        bias: of the projection of patches.
        front: the learned tokens in front of the patches, by the names of their parameters; they
            have positions.
        registers: how many further learned tokens stand between those and the patches, without
            positions (Darcet et al. 2023, section 3); None: files know none.
        mask: whether there is a vector for patches that are hidden, `bool_masked_pos` in a call.
        positions: what is added; None: nothing.
        norm: of the sum of patches and positions (CLIP).
    """

    image: Grid
    patch: Grid
    channels: int
    width: int
    bias: bool = True
    front: tuple[str, ...] = ("cls",)
    registers: int | None = None
    mask: bool = False
    positions: GridPositions | None = GridPositions()
    norm: spec.Norm | None = None
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def grid(self) -> Grid:
        """How many patches an image of the trained size has from top to bottom, and across."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]

    @property
    def in_front(self) -> int:
        """How many tokens stand in front of the patches."""
        return len(self.front) + (self.registers or 0)

    @property
    def position_rows(self) -> GridRows:
        """The rows of the table of positions."""
        assert self.positions is not None
        return GridRows(self.grid, front=len(self.front), how=self.positions.how)

    @property
    def any_size(self) -> bool:
        """Whether images of another size than the trained one are taken as they are."""
        return self.positions is None or self.positions.any_size


class PatchEmbedder(Embedder):
    """[tokens in front, registers, patches row by row], with positions. Images of another size than
    the trained one are taken with `interpolate_pos_encoding=True`, by some families without it:
    positions are then interpolated on the grid.

    A patch has the tags `row` and `column`, other tokens `OFF_GRID`. A family of another stem
    overrides `project`.
    """

    raw = ("pixel_values",)

    def __init__(self, patches: PatchSpec):
        self.spec = patches
        height, width = patches.patch
        sizes = {
            "channels": patches.channels,
            "patch_height": height,
            "patch_width": width,
            "embed": patches.width,
            "register": patches.registers or 0,
        }

        def learned(axes: str, role: str) -> nnx.Param:
            return param(axes, sizes, patches.initial.draw(role, sizes))

        self.patch = learned("channels patch_height patch_width embed", "patch")
        self.patch_bias = param("embed", sizes, spec.ZEROS) if patches.bias else None
        for name in patches.front:
            setattr(self, name, learned("embed", name))
        has_registers = patches.registers is not None
        self.registers = learned("register embed", "registers") if has_registers else None
        self.hidden = param("embed", sizes, spec.ZEROS) if patches.mask else None
        self.position = self._position_table()
        self.norm = Norm(patches.norm, patches.width) if patches.norm else None

    def _position_table(self) -> nnx.Param | None:
        how = self.spec.positions
        if how is None:
            return None
        rows = self.spec.position_rows
        sizes = {"position": rows.count, "embed": self.spec.width}
        draw = how.draw or self.spec.initial.draw("position", sizes)
        table = param("position embed", sizes, draw, learned=how.learned)
        table.set_metadata(grid=rows)
        return table

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        masked = ("bool_masked_pos",) if self.spec.mask else ()
        return ("pixel_values", *masked, "interpolate_pos_encoding")

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        shape = check_images(pixels, self.spec.channels)
        self._check_size(shape[2:], bool(inputs.get(f"{prefix}interpolate_pos_encoding")))
        count = math.prod(self.grid_of(shape[2:]))
        if (mask := inputs.get(f"{prefix}bool_masked_pos")) is not None:
            check_hidden(mask, (shape[0], count), self.grid_of(shape[2:]))
        return shape[0], self.spec.in_front + count

    def _check_size(self, size: tuple[int, ...], interpolates: bool) -> None:
        """Raises ValueError for images of a size that is not taken."""
        image, patch = self.spec.image, self.spec.patch
        if size == image:
            return
        if not interpolates and not self.spec.any_size:
            raise checks.OtherSize(size, image, patch)
        if (size[0] % patch[0], size[1] % patch[1]) != (0, 0):
            said = f"which patches of {patch[0]} x {patch[1]} do not fill; resize or crop them"
            raise checks.OtherSize(size, image, patch, said)

    def grid_of(self, size: tuple[int, ...]) -> Grid:
        """How many patches an image of so many pixels has from top to bottom, and across."""
        return size[0] // self.spec.patch[0], size[1] // self.spec.patch[1]

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = self.project(inputs["pixel_values"], dtype)
        grid = (x.shape[1], x.shape[2])
        x = self.masked(x.reshape(x.shape[0], -1, x.shape[3]), inputs.get("bool_masked_pos"))
        x = self.with_front(x, grid)
        x = dropout(x if self.norm is None else self.norm(x), self.spec.dropout, key)
        return Tokens(x, self.nodes(grid), x.shape[1])

    def project(self, pixels: Float[Array, "B C H W"], dtype: jnp.dtype) -> Float[Array, "B h w D"]:
        """The vectors of the patches of images: a hook of families."""
        (height, width), images = self.spec.patch, pixels.shape[0]
        rows, columns = self.grid_of(pixels.shape[2:])
        pixels = pixels[:, :, : rows * height, : columns * width].astype(dtype)
        parts = pixels.reshape(images, -1, rows, height, columns, width)
        return affine("bchpwq,cpqd->bhwd", parts, self.patch, self.patch_bias)

    def masked(
        self, x: Float[Array, "B P D"], hidden: Bool[Array, "B P"] | None
    ) -> Float[Array, "B P D"]:
        """The patches, those that are hidden replaced by one learned vector."""
        if hidden is None:
            return x
        assert self.hidden is not None  # or the argument were unknown
        return jnp.where(hidden[..., None].astype(bool), self.hidden[...].astype(x.dtype), x)

    def with_front(self, x: Float[Array, "B P D"], grid: Grid) -> Float[Array, "B T D"]:
        """The patches behind the tokens in front and the registers, with positions."""
        patches, front = x, [getattr(self, name)[...] for name in self.spec.front]
        if front:
            patches = jnp.concatenate([self._repeated(jnp.stack(front), x), x], axis=1)
        if self.position is not None:
            patches = patches + self.positions_of(grid).astype(x.dtype)
        if self.registers is None:
            return patches
        count, registers = len(front), self._repeated(self.registers[...], x)
        return jnp.concatenate([patches[:, :count], registers, patches[:, count:]], axis=1)

    @staticmethod
    def _repeated(tokens: Float[Array, "N D"], x: Float[Array, "B P D"]) -> Float[Array, "B N D"]:
        """The same tokens for each image."""
        return jnp.broadcast_to(tokens.astype(x.dtype), (x.shape[0], *tokens.shape))

    def positions_of(self, grid: Grid) -> Float[Array, "T D"]:
        """The positions of the tokens in front and of the patches of a grid."""
        assert self.position is not None
        assert self.spec.positions is not None
        table = self.spec.position_rows.resampled(self.position[...], grid)
        return table if self.spec.positions.learned else jax.lax.stop_gradient(table)

    def nodes(self, grid: Grid) -> Nodes:
        """The nodes of all tokens, with the tags `row` and `column`."""
        front = self.spec.in_front
        if is_symbolic(*grid):
            return nodes_of(front + grid[0] * grid[1])
        places: Any = np.indices(grid, np.int32).reshape(2, 1, -1)
        places = [np.pad(x, ((0, 0), (front, 0)), constant_values=OFF_GRID) for x in places]
        return nodes_of(front + grid[0] * grid[1], tags=dict(zip(("row", "column"), places)))

    def describe(self):
        if self.position is None:
            return "nothing at the input"
        rows, columns = self.spec.grid
        count = self.spec.position_rows.count
        return f"a learned table of {count:,}, for {rows} x {columns} patches"


def check_images(pixels: Any, channels: int) -> tuple[int, ...]:
    """The shape of images.

    Raises:
        ValueError: other axes than (images, channels, height, width), none at all, or no numbers
            that a model computes with.
    """
    shape = np.shape(pixels)
    if len(shape) != 4 or shape[1] != channels:
        hint = ""
        if len(shape) == 4 and shape[3] == channels:
            hint = "; channels stand in front: np.moveaxis(pixel_values, -1, 1)"
        elif len(shape) == 3 and shape[0] == channels:
            hint = "; one image is pixel_values[None]"
        raise ValueError(
            f"pixel_values has shape {shape}; expected (images, {channels} channels, height, "
            f"width){hint}"
        )
    if 0 in shape:
        raise ValueError(f"pixel_values is empty (shape {shape}); give at least one image")
    checks.floats("pixel_values", pixels)
    return shape


def check_hidden(hidden: Any, shape: tuple[int, int], grid: Grid) -> None:
    """Raises ValueError for what does not say of each patch of a grid whether it is hidden."""
    if np.shape(hidden) != shape:
        raise ValueError(
            f"bool_masked_pos has shape {np.shape(hidden)}; expected {shape}: one value for each "
            f"of the {grid[0]} x {grid[1]} patches of each image, row by row"
        )
    if not holds(hidden, jnp.integer, jnp.bool_):
        raise ValueError(f"bool_masked_pos must hold booleans (or 1 and 0), not {dtype_of(hidden)}")
    array = readable(hidden)
    if array is not None and ((array != 0) & (array != 1)).any():
        wrong = (array != 0) & (array != 1)
        raise ValueError(
            f"bool_masked_pos{checks.at(array, wrong)}; expected 1 for a patch that is hidden and "
            "0 for one that is seen"
        )


def pair(size: Any) -> tuple[int, int]:
    """Height and width of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
