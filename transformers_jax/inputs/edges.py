"""Checks of graphs that are passed as lists of edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.graph import Listed, Mask
from transformers_jax.inputs.arguments import dtype_of, holds, readable


def edge_list(name: str, value: Any, nodes: Sequence[int | None], mask: Any = None) -> None:
    """Raises ValueError for an array that is no list of edges, or of which an edge names no node.

    Args:
        nodes: how many there are where edges begin, and where they end; None: not known.
        mask: which entries are edges; without one, an entry of -1 at both ends is none.
    """
    shape = np.shape(value)
    if len(shape) not in (2, 3) or shape[-2] != 2:
        came = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        raise ValueError(
            f"{name} has shape {came}; expected (2, edges), or (graphs, 2, edges): the numbers of "
            "the nodes where each edge begins, and where it ends"
        )
    if not holds(value, jnp.integer):
        raise ValueError(
            f"{name} must hold integers, the numbers of nodes, but its dtype is {dtype_of(value)}"
        )
    known, there = readable(value), None if mask is None else readable(mask)
    if known is None or (mask is not None and there is None):
        return
    known = known if known.ndim == 3 else known[None]
    is_edge = ~(known == -1).all(1) if there is None else np.atleast_2d(there) > 0
    for end, count in enumerate(nodes):
        if count is None:
            continue
        wrong = ((known[:, end] < 0) | (known[:, end] >= count)) & is_edge
        if wrong.any():
            row, edge = (int(i) for i in np.argwhere(wrong)[0])
            place = [end, edge] if len(shape) == 2 or len(known) == 1 else [row, end, edge]
            raise ValueError(
                f"{name}{place} is {known[row, end, edge]}, which names no node: there are "
                f"{count}, numbered from 0 to {count - 1}"
            )


def edge_features(name: str, value: Any, edges: int | None, width: int | None = None) -> None:
    """Raises ValueError for features that are not a row of numbers for each edge of a list."""
    shape = np.shape(value)
    fits = len(shape) in (2, 3) and edges in (None, shape[-2]) and width in (None, shape[-1])
    if not fits:
        expected = (
            f"({'edges' if edges is None else edges}, {'features' if width is None else width})"
        )
        raise ValueError(
            f"{name} has shape {shape}; expected {expected}: the features of each edge"
        )
    if not holds(value, jnp.floating):
        raise ValueError(f"{name} must hold floating-point numbers, not {dtype_of(value)}")


def lists(
    values: Mapping[str, Any], masks: Sequence[Mask], sides: Mapping[str, tuple[Any, Any]]
) -> set[str]:
    """The names of those pair arrays that are lists of edges, or their features, which are checked;
    `sides` are how many queries and keys there are.

    Raises:
        ValueError: as of `edge_list` and `edge_features`.
    """
    names: set[str] = set()
    parts = [part for mask in masks for part in mask.parts() if isinstance(part, Listed)]
    for part in dict.fromkeys(parts):
        if part.name not in values:
            continue
        queries, keys = sides.get(part.name, (None, None))
        edge_list(f"pairs[{part.name!r}]", values[part.name], (keys, queries))
        names.add(part.name)
        if part.features is not None and part.features in values:
            label, count = f"pairs[{part.features!r}]", np.shape(values[part.name])[-1]
            edge_features(label, values[part.features], count)
            names.add(part.features)
    return names
