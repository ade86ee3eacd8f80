"""`sums`: two numbers and their sum, "314159+271828=" and " 585987"; `sums_in_steps`: the same, and
in front of the sum what is written on the way to it (Nye et al. 2021, "Show Your Work").

A step is a column of the sum, from the right: its two digits, what was carried, and what they are
together, in two digits, "9+8+0=17". All numbers have as many digits, so that a step stands at the
same place in each text. Each pair of numbers is of one split.
"""

from __future__ import annotations

import random
from typing import Any

from transformers_jax.data.generated.splits import split_of

DIGITS, PAIRS = 6, 20_000


def steps(a: int, b: int) -> str:
    """The columns of a sum, from the right, as they are added."""
    written, carry = [], 0
    for x, y in zip(reversed(str(a)), reversed(str(b))):
        total = int(x) + int(y) + carry
        written.append(f"{x}+{y}+{carry}={total:02}")
        carry = total // 10
    return " ".join(written)


def records(split: str, in_steps: bool = False) -> list[dict[str, Any]]:
    """The records of a split: `prompt` and `response`, with what is written on the way, or not."""
    draw, found = random.Random(0), []
    for _ in range(PAIRS):
        a, b = (draw.randrange(10 ** (DIGITS - 1), 10**DIGITS) for _ in range(2))
        if split_of(f"{a}+{b}") == split:
            answer = f" {a + b:0{DIGITS + 1}}"
            response = f" {steps(a, b)} is{answer}" if in_steps else answer
            found.append({"prompt": f"{a}+{b}=", "response": response})
    return found
