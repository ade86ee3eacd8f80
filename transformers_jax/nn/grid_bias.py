"""A learned bias per head for the offset between two patches of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Key, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.grid import Grid, GridRows, Resampling
from transformers_jax.nn.param import param

OTHERS = 3  # rows of a table behind those of offsets: from the class token, to it, within it


def grid_of(nodes: Nodes) -> Grid:
    """How many patches the image of these nodes has from top to bottom, and across.

    Raises:
        ValueError: nodes that are no patches, or whose places are not known while tracing.
    """
    places = [nodes.tag(name) for name in ("row", "column")]
    if not all(isinstance(place, np.ndarray) for place in places):
        raise ValueError("the places of patches must be known while tracing, as NumPy arrays")
    rows, columns = (int(np.max(place)) + 1 for place in places)
    return rows, columns


@dataclass(frozen=True)
class GridBiasRule(ScoreRule):
    """score[h, t, s] = table[offset from patch s to patch t, h], on a grid of this size; the last
    rows are for pairs of which one, or both, are no patches."""

    grid: Grid

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        rows, columns = self.grid
        first = (2 * rows - 1) * (2 * columns - 1)
        queries, keys = ([n.tag("row"), n.tag("column")] for n in (qn, kn))
        down, across = (t[:, :, None] - s[:, None, :] for t, s in zip(queries, keys))
        index = (down + rows - 1) * (2 * columns - 1) + across + columns - 1
        from_class, to_class = queries[0][:, :, None] < 0, keys[0][:, None, :] < 0
        index = jnp.where(from_class, first, jnp.where(to_class, first + 1, index))
        index = jnp.where(from_class & to_class, first + 2, index)
        return jnp.moveaxis(jnp.take(params["table"], index, axis=0, mode="clip"), -1, 1)


class GridBias(nnx.Module):
    """The table of such biases, of a stack or of a layer, whose bias adds to that of the stack."""

    def __init__(self, bias: spec.GridBias):
        # Files lay a table of an oblong grid out with its sides exchanged, as the reference reads
        # it, which interpolates it then; of a square one they are alike.
        rows, columns = bias.grid
        self.rows = GridRows(
            (2 * columns - 1, 2 * rows - 1), behind=OTHERS, how=Resampling("bilinear")
        )
        sizes = {"position": self.rows.count, "heads": bias.heads}
        self.table = param("position heads", sizes, spec.ZEROS)
        self.table.set_metadata(grid=self.rows)

    def __call__(
        self,
        shared: Score | None = None,
        attention: Any = None,
        key: Key | None = None,
        nodes: Nodes | None = None,
    ) -> Score:
        """The score on the grid of these nodes, of any size."""
        assert nodes is not None
        rows, columns = grid = grid_of(nodes)
        table = self.table[...].astype(wide(self.table[...]))
        table = self.rows.resampled(table, (2 * rows - 1, 2 * columns - 1))
        if shared is not None:
            table = table + shared.params["table"]
        return Score(GridBiasRule(grid), {"table": table})
