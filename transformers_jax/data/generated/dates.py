"""`dates`: a day as people write it, and as ISO 8601 does: "May 3rd, 1979" and "1979-05-03";
`dotted_dates`: the same writings, and the day first: "03.05.1979".

Every day of a hundred years comes once, in one of twelve writings, and is of one split.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from typing import Any

from transformers_jax.data.generated.splits import split_of

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
DAYS = (LAST - FIRST).days + 1


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th, ..., 11th, ..."""
    teen = 10 < day % 100 < 14
    return f"{day}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


WRITINGS: tuple[Callable[[datetime.date], str], ...] = (
    lambda d: f"{d.day} {d:%B} {d.year}",
    lambda d: f"{d.day} {d:%b} {d.year}",
    lambda d: f"{d:%B} {d.day}, {d.year}",
    lambda d: f"{d:%B} {ordinal(d.day)}, {d.year}",
    lambda d: f"{ordinal(d.day)} of {d:%B} {d.year}",
    lambda d: f"{d:%A}, {d.day} {d:%B} {d.year}",
    lambda d: f"{d:%a} {d:%b} {d.day} {d.year}",
    lambda d: f"{d.day}-{d:%b}-{d:%y}",
    lambda d: f"{d:%d.%m.%y}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d:%Y/%m/%d}",
)
"""Dots mean day first, slashes month first (or year first, with four digits); two digits of a year
are 1950 to 2049. So every text has one answer."""


def records(split: str, form: str = "%Y-%m-%d") -> list[dict[str, Any]]:
    """The records of a split: `source` and `target`, which is of a form of `strftime`."""
    draw, found = random.Random(0), []
    for number in range(DAYS):
        day, write = FIRST + datetime.timedelta(number), draw.choice(WRITINGS)
        if split_of(day.isoformat()) == split:
            found.append({"source": write(day), "target": day.strftime(form)})
    return found
