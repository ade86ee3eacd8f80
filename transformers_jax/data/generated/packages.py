"""`packages`: from which package of the standard library is a docstring?

The docstrings of the running interpreter (`python_docs`) whose package is one of the eight with
most of them, about 2,700. Texts that differ in case and spaces alone come once: no split holds a
text of another. Half of the records are trained on and four in ten are the test split, so that a
point of accuracy is more than its standard error there.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

from transformers_jax.data import python_docs
from transformers_jax.data.generated.splits import split_of

CLASSES = 8
TEST = 4  # tenths of the records


def records(split: str) -> list[dict[str, Any]]:
    """{"text": a docstring, "label": its package}: those of a split, by the hash of the text."""
    return [
        {"text": text, "label": label}
        for key, (text, label) in _docstrings().items()
        if split_of(key, TEST) == split
    ]


@functools.cache  # the interpreter stays the same, and reading its files takes seconds
def _docstrings() -> dict[str, tuple[str, str]]:
    """{a text without its case and spaces: (the text, its package)} of the packages with most."""
    found: dict[str, tuple[str, str]] = {}
    for document in python_docs.documents():
        package = document.module.partition(".")[0]
        found.setdefault("".join(document.text.casefold().split()), (document.text, package))
    common = {name for name, _ in Counter(name for _, name in found.values()).most_common(CLASSES)}
    return {key: one for key, one in found.items() if one[1] in common}
