"""The ranges of the numbers that records hold."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def check_rate(where: str, value: Any) -> None:
    """Raises ValueError for what is no rate of dropout: what remains is divided by 1 - rate."""
    if not (isinstance(value, Real) and 0 <= value < 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1)")


def check_count(where: str, value: Any) -> None:
    """Raises ValueError for what is no positive whole number."""
    if not (isinstance(value, Integral) and not isinstance(value, bool) and value >= 1):
        raise ValueError(f"{where} is {value!r}; expected a whole number, at least 1")


def check_probability(where: str, value: Any) -> None:
    """Raises ValueError for what is no probability."""
    if not (isinstance(value, Real) and 0 <= value <= 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1]")


def check_positive(where: str, value: Any) -> None:
    """Raises ValueError for what is no number above 0."""
    if not (isinstance(value, Real) and value > 0):
        raise ValueError(f"{where} is {value!r}; expected a number above 0")
