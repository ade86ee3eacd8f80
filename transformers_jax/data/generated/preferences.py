"""`preferences`: of two first lines of docstrings, that which begins with "Return " is preferred.

The prompts are those of `docstrings`. Of each function one answer is its own first line; the other
is that of another function, of the same split, so that one of them begins with the word and one
does not: what is preferred can be counted in what a model writes.
"""

from __future__ import annotations

from typing import Any

from transformers_jax.data.generated import docstrings

PREFERRED = "Return "


def records(split: str) -> list[dict[str, Any]]:
    """{"prompt": "def name(parameters):\\n", "chosen": a line, "rejected": a line}."""
    lines = docstrings.records(split)
    kinds = {True: list[str](), False: list[str]()}
    for line in lines:
        kinds[_preferred(line)].append(line["response"])
    found = []
    for number, line in enumerate(lines):
        others = kinds[not _preferred(line)]
        answers = (line["response"], others[number % len(others)])
        chosen, rejected = answers if _preferred(line) else answers[::-1]
        found.append({"prompt": line["prompt"], "chosen": chosen, "rejected": rejected})
    return found


def _preferred(line: dict[str, Any]) -> bool:
    return bool(line["response"].startswith(PREFERRED))
