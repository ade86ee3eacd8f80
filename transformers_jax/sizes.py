"""Numbers from users: sizes of files and memory, counts, and those that would fit."""

from __future__ import annotations

import re
from numbers import Real
from typing import Any

import numpy as np

UNITS = {unit: 10**power for unit, power in (("", 0), ("k", 3), ("m", 6), ("g", 9), ("t", 12))}
UNITS |= {f"{unit}i": 2**power for unit, power in (("k", 10), ("m", 20), ("g", 30), ("t", 40))}


def parse_bytes(name: str, size: int | str) -> int:
    """Bytes of a number or of a text: "5GB" is 5 x 10^9, "5GiB" 5 x 2^30, "4096" or "4096B" 4096.

    Raises:
        ValueError: no size above 0; `name` says of what.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", str(size).strip().lower())
    count = int(float(match[1]) * UNITS[match[2] or ""]) if match else 0
    if count <= 0:
        raise ValueError(
            f"{name} is {size!r}; expected bytes above 0, as a number or a text such as '5GB' "
            "(10^9 each) or '5GiB' (2^30 each)"
        )
    return count


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless `value`, which messages call `name`, is a whole number from `least`
    on; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def check_rate(where: str, value: Any) -> None:
    """Raises ValueError for what is no rate of dropout: what remains is divided by 1 - rate."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1)")


def check_probability(where: str, value: Any) -> None:
    """Raises ValueError for what is no probability."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{where} is {value!r}; expected a number in [0, 1]")


def check_positive(where: str, value: Any) -> None:
    """Raises ValueError for what is no number above 0."""
    if not (_is_number(value) and value > 0):
        raise ValueError(f"{where} is {value!r}; expected a number above 0")


def nearest_multiples(value: int, step: int) -> str:
    """The multiples of `step` beside `value`, as text: "4 and 8", or "8" when below it is none."""
    below = value // step * step
    return f"{below} and {below + step}" if below else str(step)


def nearest_divisors(value: int, total: int) -> str:
    """The divisors of `total` beside `value`, as text: "4 or 8", or "4" if it is one."""
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    below = max((d for d in divisors if d <= value), default=1)
    above = min((d for d in divisors if d >= value), default=total)
    return str(below) if below == above else f"{below} or {above}"
