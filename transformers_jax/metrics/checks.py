"""What predictions and references must be: each check returns the array or list that it read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

SHOWN = 3  # of what is wrong, this many are named


def named(wrong: Sequence[str]) -> str:
    """The first of what is wrong, and how many more there are."""
    more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return ", ".join(wrong[:SHOWN]) + more


def _at(name: str, array: np.ndarray, bad: np.ndarray) -> str:
    places = np.argwhere(bad)
    return named([f"{name}[{', '.join(map(str, at))}] = {array[tuple(at)]}" for at in places])


def _array(name: str, values: Any, rank: int, of_what: str) -> np.ndarray:
    """The values as an array of this rank that is not empty."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected {of_what}; the rows differ in length") from error
    if array.ndim != rank:
        raise ValueError(f"{name}: expected {of_what}, got the shape {array.shape}")
    if not array.size:
        raise ValueError(f"{name} is empty (shape {array.shape}); a metric needs an example")
    return array


def integers(name: str, values: Any, of_what: str, rank: int = 1) -> Int[np.ndarray, "..."]:
    """The values as int64; raises ValueError for any others."""
    array = _array(name, values, rank, of_what)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected {of_what}, got {array.dtype}")
    return array.astype(np.int64)


def class_numbers(name: str, values: Any, classes: int) -> Int[np.ndarray, " N"]:
    """Numbers of classes; raises ValueError for those that are none of the classes."""
    array = integers(name, values, "the number of a class for each example")
    if (bad := (array < 0) | (array >= classes)).any():
        raise ValueError(
            f"{name} holds numbers outside of the {classes} classes 0 to {classes - 1}: "
            f"{_at(name, array, bad)}; leave out what is not scored, such as labels of -100"
        )
    return array


def numbers(name: str, values: Any, rank: int = 1) -> Float[np.ndarray, "..."]:
    """The values as float64, all of them finite."""
    of_what = "a number for each example" if rank == 1 else "a vector for each example"
    array = _array(name, values, rank, of_what)
    if array.dtype.kind in "USMmc":  # texts, times and complex numbers
        raise ValueError(f"{name}: expected {of_what}, got {array.dtype}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected {of_what}, got {array.dtype}") from None
    if not (finite := np.isfinite(array)).all():
        raise ValueError(f"{name} holds what is no finite number: {_at(name, array, ~finite)}")
    return array


def truths(name: str, values: Any) -> Bool[np.ndarray, "N C"]:
    """True or False for each example and class; 0 and 1 are read as these."""
    array = _array(name, values, 2, "true or false for each example and class")
    if (bad := ~((array == 0) | (array == 1))).any():
        raise ValueError(
            f"{name} holds what is neither true nor false: {_at(name, array, bad)}; "
            "compare probabilities with a threshold first, such as `probabilities > 0.5`"
        )
    return array.astype(bool)


def sequence(name: str, values: Any, of_what: str, valid: Callable[[Any], bool]) -> list[Any]:
    """The values as a list that is not empty, each of them `valid`."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}: expected a list of {of_what}, got {type(values).__name__}")
    each = list(values)
    if not each:
        raise ValueError(f"{name} is empty; a metric needs an example")
    wrong = [
        f"{name}[{at}] is {type(value).__name__} {value!r:.40}"
        for at, value in enumerate(each)
        if not valid(value)
    ]
    if wrong:
        raise ValueError(f"{name}: expected a list of {of_what}; {named(wrong)}")
    return each


def texts(name: str, values: Any) -> list[str]:
    """The values as a list of texts that is not empty; a text may be."""
    return sequence(name, values, "texts", lambda value: isinstance(value, str))


def lists_of_texts(name: str, values: Any, of_what: str) -> list[list[str]]:
    """The values as a list of lists of texts; the inner ones may be empty."""
    each = sequence(
        name,
        values,
        of_what,
        lambda value: isinstance(value, Iterable) and not isinstance(value, str),
    )
    inner = [list(value) for value in each]
    wrong = [
        f"{name}[{row}][{at}] is {type(text).__name__} {text!r:.40}"
        for row, values in enumerate(inner)
        for at, text in enumerate(values)
        if not isinstance(text, str)
    ]
    if wrong:
        raise ValueError(f"{name}: expected a list of {of_what}; {named(wrong)}")
    return inner


def same_length(**values: Any) -> None:
    """Raises ValueError where these differ in length (arrays: in shape)."""
    shapes = {
        name: np.shape(x) if isinstance(x, np.ndarray) else len(x) for name, x in values.items()
    }
    if len(set(shapes.values())) > 1:
        words = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"there must be one prediction for each reference, but lengths are {words}"
        )
