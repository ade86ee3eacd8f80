"""The ranges of the numbers that records hold."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a real number, of Python or NumPy."""
    return isinstance(value, Real)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, of Python or NumPy, and not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_rate(where: str, value: Any) -> None:
    """Raises ValueError for what is no rate of dropout: what remains is divided by 1 - rate."""
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1)")


def check_count(where: str, value: Any) -> None:
    """Raises ValueError for what is no positive whole number."""
    if not (is_whole(value) and value >= 1):
        raise ValueError(f"{where} is {value!r}; expected a whole number, at least 1")


def check_probability(where: str, value: Any) -> None:
    """Raises ValueError for what is no probability."""
    if not (is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1]")


def check_positive(where: str, value: Any) -> None:
    """Raises ValueError for what is no number above 0."""
    if not (is_number(value) and value > 0):
        raise ValueError(f"{where} is {value!r}; expected a number above 0")
