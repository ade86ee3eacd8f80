"""`numbers`: a number in words and in digits: "three hundred and five" and "305".

Numbers have one to six digits, the least is 1: of each length five thousand, or all that there are.
Each comes once, with "and", as in Britain, or without, as in America, and is of one split.
"""

from __future__ import annotations

import random
from typing import Any

from transformers_jax.data.generated.splits import split_of

DIGITS, OF_A_LENGTH = 6, 5000
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(number: int, joint: str = " and ") -> str:
    """A number below a million in words; `joint` is what stands in front of tens and units."""
    if number < 20:
        return SMALL[number]
    if number < 100:
        unit = number % 10
        return TENS[number // 10 - 2] + (f"-{SMALL[unit]}" if unit else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, size)
    text = f"{in_words(head, joint)} {name}"
    if not rest:
        return text
    return text + (joint if rest < 100 else " ") + in_words(rest, joint)


def records(split: str) -> list[dict[str, Any]]:
    """The records of a split: `source` and `target`."""
    draw, found = random.Random(0), []
    for length in range(1, DIGITS + 1):
        some = range(10 ** (length - 1), 10**length)
        for number in draw.sample(some, min(len(some), OF_A_LENGTH)):
            joint = draw.choice((" and ", " "))
            if split_of(str(number)) == split:
                found.append({"source": in_words(number, joint), "target": str(number)})
    draw.shuffle(found)
    return found
