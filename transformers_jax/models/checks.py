"""Checks of inputs on the host, before anything is compiled.

JAX clamps, wraps or drops indices that are out of range, each silently, so a wrong id would train
a wrong row. Every check names the argument, the place, what came and what was expected.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def at(array: np.ndarray, wrong: np.ndarray) -> str:
    """The place and the value of the first wrong entry: "[1, 7] is 99"."""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{list(place)} is {array[place]}"


def integers(name: str, value: Any, rank: int | None = 2) -> np.ndarray:
    """The array, if it holds integers and has the rank."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, but its dtype is {array.dtype}")
    if rank is not None and array.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, but its shape is {array.shape}")
    return array


def ids(name: str, value: Any, size: int, what: str = "vocabulary", rank: int | None = 2) -> None:
    """Ids lie in [0, size)."""
    array = integers(name, value, rank)
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}); give at least one token")
    wrong = (array < 0) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}, outside the {what} [0, {size}); "
            "check that tokenizer and model belong together"
        )


def labels(name: str, value: Any, size: int, rank: int | None = None) -> None:
    """Labels lie in [0, size), or are -100 where there is nothing to predict."""
    array = integers(name, value, rank)
    wrong = ((array < 0) & (array != -100)) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected -100 (ignored) or a class in [0, {size})"
        )


def same_shape(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """One value per token."""
    if np.shape(value) != tuple(shape):
        raise ValueError(f"{name} has shape {np.shape(value)}, but {like} has {tuple(shape)}")


def mask(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """An attention mask is 1 (or True) for tokens and 0 for padding, one number per token."""
    array = np.asarray(value)
    same_shape(name, array, shape, like)
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected 1 for a token and 0 for padding "
            "(other graphs are masks: from_pretrained(..., mask=), pairs=)"
        )


def length(name: str, count: int, limit: int | None) -> None:
    """A row is no longer than the learned positions."""
    if limit is not None and count > limit:
        raise ValueError(
            f"{name} has {count} tokens, but the model has {limit} positions; "
            f"truncate to {limit} or use a model with more"
        )
