"""Tokens on a grid, as those of an image: their tags `row` and `column`, and windows of the grid.

Tags are NumPy arrays, known while tracing: the height and the width of a grid are never traced.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transformers_jax.graph.nodes import Nodes


def grid(rows: int, columns: int) -> Nodes:
    """The nodes of a grid, row by row."""
    index: Any = np.arange(rows * columns, dtype=np.int32)[None]
    return Nodes({"index": index, "row": index // columns, "column": index % columns})


def size_of(nodes: Nodes) -> tuple[int, int]:
    """(rows, columns) of the grid of which these are all the nodes, row by row.

    Raises:
        ValueError: nodes that are no whole grid, or whose tags are not known while tracing.
    """
    row, column = nodes.tags.get("row"), nodes.tags.get("column")
    if isinstance(row, np.ndarray) and isinstance(column, np.ndarray) and row.size:
        rows, columns = int(row.max()) + 1, int(column.max()) + 1
        expected = grid(rows, columns)
        if row.shape == column.shape == expected.tags["row"].shape and (
            (row == expected.tags["row"]).all() and (column == expected.tags["column"]).all()
        ):
            return rows, columns
    raise ValueError(
        "these tokens are no whole grid of rows and columns; make their nodes by "
        "graph.grid.grid(rows, columns)"
    )


def windowed(rows: int, columns: int, size: int, shift: int = 0) -> Nodes:
    """The nodes of a grid whose windows of size x size tokens are displaced by `shift` rows and
    columns, in the order of the windows, each row by row (Liu et al. 2021, section 3.2).

    The grid is rolled by `shift` and cut into windows. What the roll has carried over an edge does
    not belong to what it meets there: the tag `window` numbers the windows, `region` tells apart
    what lay on opposite edges of the image. Tokens of a window are those with the same `window`,
    and those that attend to one another have the same `region` as well (`Same("window") &
    Same("region")`); `row` and `column` are counted in the rolled grid.

    Raises:
        ValueError: windows that do not fill the grid.
    """
    if rows % size or columns % size:
        raise ValueError(f"windows of {size} x {size} tokens do not fill {rows} x {columns}")
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int32), columns)
    carried = lambda place, length: (place >= length - shift).astype(np.int32)
    region = 2 * carried(row, rows) + carried(column, columns)
    window = row // size * (columns // size) + column // size
    origin = (row + shift) % rows * columns + (column + shift) % columns
    tags = {"index": origin, "row": row, "column": column, "window": window, "region": region}
    ordered = {name: by_window(tag, rows, columns, size) for name, tag in tags.items()}
    return Nodes({name: tag.reshape(1, -1).astype(np.int32) for name, tag in ordered.items()})


def by_window(x: Any, rows: int, columns: int, size: int) -> Any:
    """[... windows, size * size, *] of what is [rows * columns, *], with nothing in front."""
    high, wide = rows // size, columns // size
    parts = x.reshape(high, size, wide, size, *x.shape[1:]).swapaxes(1, 2)
    return parts.reshape(high * wide, size * size, *x.shape[1:])
