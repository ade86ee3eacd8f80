"""Attention within windows of a grid, displaced in every other layer (Liu et al. 2021, 3.2).

The graph is `Same("window") & Same("region")` (`graph.grid.windowed`). As all edges lead within a
window, tokens are regrouped by windows and each window is a row: the cost is linear in the number
of tokens. Nothing else is different from attention over the whole grid under this mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.graph import Edges, Mask, Nodes, Same, connect
from transformers_jax.graph.grid import size_of, windowed
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.operation import OpResult
from transformers_jax.nn.param import param

WITHIN = Same("window") & Same("region")


@dataclass(frozen=True)
class WindowSpec(AttentionSpec):
    """Attention within windows of `window` x `window` tokens, displaced by `shift`.

    Attributes:
        clamped: whether the window is no larger than the shorter side of the grid of a call, and
            not displaced where it covers that side (Swin; in Swin V2 the size is decided once).
    """

    window: int = 7
    shift: int = 0
    clamped: bool = True
    mask: Mask = WITHIN

    drawn = False

    def placed(self, rows: int, columns: int) -> tuple[int, int]:
        """(size, shift) of the windows of a grid."""
        if not self.clamped or min(rows, columns) > self.window:
            return self.window, self.shift
        return min(rows, columns), 0

    def build(self, width, initial, source=None) -> WindowAttention:
        return WindowAttention(self, width, initial)

    def flops(self, width, queries, keys, edges) -> spec.OpFlops:
        dense = super().flops(width, queries, keys, lambda mask: 0)
        near = 4.0 * self.heads * self.kv * queries * self.window**2
        return dense._replace(attention=near)

    def describe(self) -> str:
        moved = f", displaced by {self.shift}" if self.shift else ""
        size = f"{self.window} x {self.window}"
        return f"{super().describe()}, windows of {size}{moved}, {self.mask}"


@dataclass(frozen=True)
class GridRule(ScoreRule):
    """score[h, t, s] = table[(rows from s to t, columns from s to t), h], of a table over distances
    from -(window - 1) to window - 1 along both axes."""

    window: int

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        table, side = params["table"], 2 * self.window - 1
        apart = lambda tag: qn.tag(tag)[:, :, None] - kn.tag(tag)[:, None, :] + self.window - 1
        rows = apart("row") * side + apart("column")
        return jnp.moveaxis(jnp.take(table, rows, axis=0, mode="clip"), -1, 1)


@dataclass(frozen=True)
class GridTable(spec.OwnScore):
    """A learned number for each head and each distance of rows and columns within a window (Liu et
    al. 2021, equation 4)."""

    window: int

    def build(self, attention, initial):
        return GridTableScore(self, attention.heads)


class GridTableScore(nnx.Module):
    """See `GridTable`."""

    def __init__(self, table: GridTable, heads: int):
        self.window = table.window
        sizes = {"distances": (2 * table.window - 1) ** 2, "heads": heads}
        self.table = param("distances heads", sizes, spec.Draw("normal", 0.02, 2.0))

    def __call__(
        self, shared: Any = None, attention: Any = None, key: Any = None, nodes: Any = None
    ) -> Score:
        table = self.table[...]
        return Score(GridRule(self.window), {"table": table.astype(wide(table))})


class WindowAttention(Attention):
    """See `WindowSpec`. Windows that reach beyond the grid are filled up with zeros, which are
    tokens as all others: keys of the biases alone (as in the released code)."""

    spec: WindowSpec

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        rows, columns = size_of(context.nodes)
        size, shift = self.spec.placed(rows, columns)
        high, across = (-(-length // size) * size for length in (rows, columns))
        image = x.reshape(x.shape[0], rows, columns, -1)
        image = jnp.pad(image, ((0, 0), (0, high - rows), (0, across - columns), (0, 0)))
        image = jnp.roll(image, (-shift, -shift), (1, 2)) if shift else image
        parts = regrouped(image, size)
        attended = self(
            parts,
            edges_within(windowed(high, across, size, shift), x.shape[0], size, bool(shift)),
            key=key,
            how=context.how,
            with_weights="weights" in context.collect,
        )
        image = ungrouped(attended.x, high, across, size)
        image = jnp.roll(image, (shift, shift), (1, 2)) if shift else image
        y = image[:, :rows, :columns].reshape(x.shape)
        weights = attended.weights
        return OpResult(y, None, {} if weights is None else {"weights": weights})


def regrouped(image: Float[Array, "B H W D"], size: int) -> Float[Array, "B*N size*size D"]:
    """The tokens of an image with a row for each window."""
    B, rows, columns, D = image.shape
    parts = image.reshape(B, rows // size, size, columns // size, size, D)
    return parts.swapaxes(2, 3).reshape(-1, size * size, D)


def ungrouped(
    parts: Float[Array, "B*N size*size D"], rows: int, columns: int, size: int
) -> Float[Array, "B H W D"]:
    """The inverse of `regrouped`."""
    parts = parts.reshape(-1, rows // size, columns // size, size, size, parts.shape[-1])
    return parts.swapaxes(2, 3).reshape(-1, rows, columns, parts.shape[-1])


def edges_within(nodes: Nodes, images: int, size: int, displaced: bool) -> Edges:
    """The edges within the windows of so many images, each window a row. Where windows are not
    displaced, all of them have the edges of one."""
    count, length = nodes.length // size**2, size**2
    place = np.divmod(np.arange(length, dtype=np.int32)[None], size)
    tags: dict[str, Any] = {
        "index": np.arange(length, dtype=np.int32)[None],
        "row": place[0],
        "column": place[1],
    }
    of_window: dict[str, Any] = {
        n: nodes.tags[n].reshape(count, length) for n in ("window", "region")
    }
    if not displaced:
        of_window = {name: tag[:1] for name, tag in of_window.items()}
    else:
        of_window = {name: repeated(tag, images) for name, tag in of_window.items()}
    return connect(WITHIN, Nodes({**tags, **of_window})).draw()


def repeated(tag: np.ndarray, images: int) -> Array:
    """The tag [windows T] of one image for all windows of so many. At run time: out of constants
    XLA would draw the edges of the whole batch while compiling."""
    tag = jax.lax.optimization_barrier(jnp.asarray(tag))
    each = jnp.broadcast_to(tag, (images, *tag.shape))
    return each.reshape(-1, tag.shape[1])
