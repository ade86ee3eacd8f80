"""Checks of labels: one per token or one per row, as a head is trained."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.inputs.arguments import holds
from transformers_jax.inputs.checks import at, integers, same_shape


def per_token(
    name: str, value: Any, size: int, shape: tuple[int, ...], like: str = "the input"
) -> None:
    """A label of `size` for each token."""
    labels(name, value, size, 2)
    same_shape(name, value, shape, like)


def labels(name: str, value: Any, size: int, rank: int | None = None) -> None:
    """Labels lie in [0, size), or are -100 where there is nothing to predict."""
    array = integers(name, value, rank)
    if array is None:
        return
    wrong = ((array < 0) & (array != -100)) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected -100 (ignored) or a class in [0, {size})"
        )


def positions(name: str, value: Any) -> None:
    """Positions in rows, or -100 for nothing to predict; those beyond a row are ignored."""
    array = integers(name, value, None)
    if array is None:
        return
    wrong = (array < 0) & (array != -100)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected a position in the row, counted from 0, or -100 "
            "(ignored, as are positions beyond the row)"
        )


def per_row(name: str, value: Any, rows: int, columns: int = 1) -> None:
    """One value per row, or `columns` of them."""
    shape = np.shape(value)
    expected = (rows,) if columns == 1 else (rows, columns)
    if shape not in (expected, (rows, columns)):
        raise ValueError(f"{name} has shape {shape}; expected {expected} for {rows} rows of input")


def classes(name: str, value: Any, rows: int, count: int, problem: str | None) -> None:
    """Labels of whole rows: a class, or a number for each of `count` outputs."""
    if problem is None:
        single = count > 1 and holds(value, jnp.integer)
    else:
        single = problem == "single_label_classification"
    if single:
        labels(name, value, count)
        per_row(name, value, rows)
    else:
        per_row(name, value, rows, count)
