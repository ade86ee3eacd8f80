"""Checkpoints that were trained on images of another size: their tables of positions, resampled."""

from __future__ import annotations

import logging
import math
from collections.abc import Container
from dataclasses import replace
from typing import Any

from transformers_jax.hub.files import Checkpoint
from transformers_jax.hub.table import Table
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.grid import Grid, GridRows
from transformers_jax.nn.param import axes, flatten, params

log = logging.getLogger("transformers_jax")


def resampled(
    checkpoint: Checkpoint,
    table: Table,
    model: Model,
    stored: FamilyConfig,
    overrides: Container[str],
) -> Checkpoint:
    """The checkpoint, its tables on grids of another size resampled for this (abstract) model.

    The size of a stored grid is what `stored`, the config beside the file, says; where the number
    of its rows is another, the grid is a square. Unless the caller says a size of images (among the
    `overrides`) nothing is resampled: a file that does not fit its config is refused by its shapes.
    """
    ours = grids(model)
    if not ours:
        return checkpoint
    before = grids(replace(model.plan, config=stored).build())
    if before == ours and "image_size" not in overrides:
        return checkpoint
    leaves = flatten(params(model))
    fills = table.fills({path: leaf.shape for path, leaf in leaves.items()})
    values: dict[str, Any] = {}
    for name, tensor in checkpoint.tensors.items():
        fill = fills.get(table.spelled(name, fills))
        path = "" if fill is None else fill.row.ours[0]
        if fill is None or path not in ours or tensor.shape == fill.shape:
            continue
        if len(tensor.shape) != len(fill.shape) or tensor.shape[-1] != fill.shape[-1]:
            continue  # of another width: refused by its shape
        old = stored_grid(tensor.shape[-2], ours[path], before.get(path))
        if old is not None:
            rows = replace(ours[path], grid=old)
            whole: Any = tensor.read()
            values[name] = rows.resampled(whole, ours[path].grid)
            sizes = (f"{grid[0]} x {grid[1]}" for grid in (old, ours[path].grid))
            log.info("%s: %s is resampled from %s", checkpoint.path, name, " to ".join(sizes))
    return checkpoint.with_values(values) if values else checkpoint


def grids(model: Model) -> dict[str, GridRows]:
    """{path: what its rows stand for} of the parameters whose rows are the points of a grid."""
    named = flatten(axes(model)).items()
    return {path: names.grid for path, names in named if names.grid is not None}


def stored_grid(count: int, ours: GridRows, before: GridRows | None) -> Grid | None:
    """The grid of a table of so many rows: that of the config beside the file, or a square; None
    where it is neither."""
    if before is not None and before.count == count:
        return before.grid
    points = count - ours.front - ours.behind
    side = math.isqrt(max(points, 0))
    return (side, side) if side and side * side == points else None
