"""What a tower of images does with a picture: the weights of its attention, with their places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.graph.grid import grid as nodes_of_grid
from transformers_jax.inspection.measures import attention_distance, rollout
from transformers_jax.models.base import Model
from transformers_jax.nn.embed import FlatPatchEmbedder
from transformers_jax.nn.image.windows import WindowSpec
from transformers_jax.nn.param import flatten, merge, params, split

Grid = tuple[int, int]


@dataclass(frozen=True)
class Sight:
    """A picture as a tower reads it.

    Attributes:
        picture: the pixels that it was given, brought to [0, 1].
        grid: (rows, columns) of its patches.
        patch: (height, width) of a patch in pixels.
        front: how many tokens stand in front of the patches.
        weights: of attention, of each layer over all tokens; () where there is no such attention.
        windows: of towers that attend within windows, of the last layer of each stage.
        filters: of the stem, the first thing that the pixels meet.
        positions: of the patches, as they are added.
    """

    picture: Float[np.ndarray, "H W 3"]
    grid: Grid
    patch: Grid
    front: int
    weights: tuple[Float[np.ndarray, "1 h T T"], ...]
    windows: tuple[Windows, ...]
    filters: Float[np.ndarray, "N p q C"] | None
    positions: Float[np.ndarray, "rows columns D"] | None

    @property
    def seen_from(self) -> str:
        """Whose attention the maps show."""
        return "the class token" if self.front else "all patches"

    @property
    def maps(self) -> Float[np.ndarray, "L h rows columns"]:
        """How much each layer and head attends to each patch: from the class token, or, in a tower
        without one, from all patches on average."""
        return np.stack([self._over_patches(each[0]) for each in self.weights])

    @property
    def rollout(self) -> Float[np.ndarray, "rows columns"]:
        """How much of each patch is in the class token, or in the mean of all patches."""
        return self._over_patches(rollout(self.weights))[0]

    @property
    def distances(self) -> list[Float[np.ndarray, " h"]]:
        """How far the patches attend, by layer and head (of windows: the last layer of each stage),
        in pixels (`attention_distance`)."""
        if self.windows:
            return [each.distances(self.patch) for each in self.windows]
        patches = slice(self.front, None)
        where = places(self.grid, self.patch)
        return [attention_distance(each[..., patches, patches], where) for each in self.weights]

    def _over_patches(self, weights: Float[np.ndarray, "N T T"]) -> Any:
        own = weights[:, 0] if self.front else weights.mean(1)
        return own[:, self.front :].reshape(len(weights), *self.grid)


@dataclass(frozen=True)
class Windows:
    """The attention of one layer within the windows of a grid, displaced by `shift`.

    Attributes:
        grid: (rows, columns) of its tokens; windows may reach beyond.
        coarser: how many patches of the picture lie along a token.
    """

    weights: Float[np.ndarray, "N h T T"]
    grid: Grid
    size: int
    shift: int
    coarser: int

    @property
    def maps(self) -> Float[np.ndarray, "h rows columns"]:
        """How much attention each token receives within its window, put back in its place: 1 is
        what it receives where all attend to all alike."""
        rows, columns = (-(-length // self.size) for length in self.grid)
        received = self.weights.sum(2).transpose(1, 0, 2)
        parts = received.reshape(-1, rows, columns, self.size, self.size).swapaxes(2, 3)
        whole = parts.reshape(-1, rows * self.size, columns * self.size)
        whole = np.roll(whole, (self.shift, self.shift), (1, 2))
        return whole[:, : self.grid[0], : self.grid[1]]

    def distances(self, patch: Grid) -> Float[np.ndarray, " h"]:
        """See `Sight.distances`."""
        step = (patch[0] * self.coarser, patch[1] * self.coarser)
        return attention_distance(self.weights, places((self.size, self.size), step))


def places(grid: Grid, step: Grid = (1, 1)) -> Float[np.ndarray, "P 2"]:
    """(row, column) of the patches of a grid, row by row, in pixels where `step` is a patch."""
    tags = nodes_of_grid(*grid).tags
    where = np.stack([np.asarray(tags[name][0]) for name in ("row", "column")], axis=-1)
    return where * np.asarray(step, np.float64)


def tower_of(model: Any) -> str:
    """The name of the tower that reads pictures.

    Raises:
        ValueError: a model without one.
    """
    for name, tower in getattr(model, "towers", {}).items():
        if "pixel_values" in tower.embed.raw:
            return name
    raise ValueError(
        f"{model.config.model_type} reads no pictures, so that nothing is drawn of one"
    )


def sight(model: Model, inputs: Mapping[str, Any]) -> Sight:
    """What the tower of images of a model does with one picture.

    Args:
        inputs: of one picture, as the processor of the model gives them. MAE hides nothing here.

    Raises:
        ValueError: a model that reads no pictures, or inputs that its tower does not take.
    """
    model = _seeing_all(model)
    name = tower_of(model)
    tower: Any = model.towers[name]  # type: ignore[attr-defined]
    embed = tower.embed
    own = tower.own({n: np.asarray(x)[:1] for n, x in inputs.items() if x is not None})
    if np.ndim(own["pixel_values"]) == 5:  # several images of a row (Idefics)
        own["pixel_values"] = own["pixel_values"][:, :1]
    pixels = own["pixel_values"]
    trained = getattr(getattr(embed, "spec", None), "image", None)
    if "interpolate_pos_encoding" in embed.arguments and trained != pixels.shape[-2:]:
        own["interpolate_pos_encoding"] = True
    embed.check(own)
    grid, patch, picture = _picture_of(embed, own)
    weights = _weights_of(model, name, {tower.prefix + n: x for n, x in own.items()})
    stages = getattr(tower.stack.spec, "stages", None)
    windows: tuple[Windows, ...] = ()
    front = 0
    if stages is not None:
        windows, weights = _windows_of(stages, tower.stack.spec.sizes(*grid), weights), ()
    elif weights:
        count = math.prod(grid)
        front = 0 if isinstance(embed, FlatPatchEmbedder) else weights[0].shape[-1] - count
        weights = tuple(each[..., : front + count, : front + count] for each in weights)
    positions = _positions_of(embed, grid)
    return Sight(picture, grid, patch, front, weights, windows, filters_of(embed), positions)


def _seeing_all(model: Any) -> Any:
    """The model with no patch hidden (MAE)."""
    if not getattr(model.config, "mask_ratio", 0.0):
        return model
    plan = replace(model.plan, config=model.config.replace(mask_ratio=0.0))
    return merge(split(plan.build())[0], params(model))


def _weights_of(model: Any, name: str, inputs: dict[str, Any]) -> tuple[np.ndarray, ...]:
    definition, values = split(model)
    flags = {n: x for n, x in inputs.items() if isinstance(x, bool)}
    arrays = {n: x for n, x in inputs.items() if n not in flags}

    @jax.jit
    def run(values: Any, arrays: Any) -> Any:
        built = merge(definition, values)
        return built.tower_output(name, output_attentions=True, **arrays, **flags).get("attentions")

    return tuple(np.asarray(each, np.float32) for each in run(values, arrays) or ())


def _windows_of(stages: Any, sizes: Any, weights: Any) -> tuple[Windows, ...]:
    """The windows of the last layer of each stage; () of stages of convolutions."""
    found = []
    for number, (stage, size, each) in enumerate(zip(stages, sizes[:-1], weights)):
        op = stage.stack.blocks[-1][0].op
        assert isinstance(op, WindowSpec)
        side, shift = op.placed(*size)
        found.append(Windows(each, size, side, shift, 2**number))
    return tuple(found)


def _picture_of(embed: Any, inputs: Mapping[str, Any]) -> tuple[Grid, Grid, np.ndarray]:
    """(the grid of patches, the size of a patch, the pixels from 0 to 1)."""
    pixels = np.asarray(inputs["pixel_values"], np.float32)
    if isinstance(embed, FlatPatchEmbedder):
        rows, columns = (int(n) for n in inputs["spatial_shapes"][0])
        high, wide = embed.spec.patch
        parts = pixels[0, : rows * columns].reshape(rows, columns, high, wide, -1)
        image = parts.swapaxes(1, 2).reshape(rows * high, columns * wide, -1)
        return (rows, columns), (high, wide), _levels(image)
    image = np.moveaxis(pixels.reshape(-1, *pixels.shape[-3:])[0], 0, -1)
    grid: Any = embed.grid_of(image.shape[:2])
    return grid, (image.shape[0] // grid[0], image.shape[1] // grid[1]), _levels(image)


def _levels(image: np.ndarray) -> np.ndarray:
    """Three channels from 0 to 1; the processor's normalisation is undone up to a scale."""
    low, high = image.min(), image.max()
    image = (image - low) / (high - low if high > low else 1)
    return image if image.shape[-1] == 3 else np.repeat(image.mean(-1, keepdims=True), 3, -1)


def _positions_of(embed: Any, grid: Grid) -> np.ndarray | None:
    """The positions that a tower adds to the patches of a grid; None where it adds none. Those of
    flat patches are on the square on which they are learned."""
    if getattr(embed, "position", None) is None:
        return None
    if isinstance(embed, FlatPatchEmbedder):
        table, grid = embed.position[...], (embed.spec.side, embed.spec.side)
    elif hasattr(embed, "positions_of"):
        table = embed.positions_of(grid)
    else:
        table = embed.rows.resampled(embed.position[...], grid)
    patches = np.asarray(table, np.float32)[-math.prod(grid) :]
    return patches.reshape(*grid, -1)


def filters_of(embed: Any) -> Float[np.ndarray, "N p q C"] | None:
    """The filters of a stem: the projection of patches, or the first convolution; None where
    neither is of pixels."""
    if isinstance(embed, FlatPatchEmbedder):
        patch = np.asarray(embed.patch[...], np.float32)
        return patch.T.reshape(-1, *embed.spec.patch, embed.spec.channels)
    others = {path: x for path, x in flatten(params(embed)).items() if np.ndim(x) == 4}
    patch = others.pop("patch", None)
    kernels = [] if patch is None else [patch.transpose(3, 1, 2, 0)]
    kernels += [x.transpose(3, 0, 1, 2) for x in others.values()]
    return next((np.asarray(x, np.float32) for x in kernels if x.shape[-1] in (1, 3)), None)
