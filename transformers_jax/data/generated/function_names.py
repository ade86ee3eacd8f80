"""`function_names`: what is the function, or class, called that a docstring describes?

The docstrings of the running interpreter (`python_docs`), about 6,000: of each the first paragraph,
and the words of the qualified name ("uuid find mac near keyword"). Classes and functions of one
name in a module come once. Splits are by the hash of the name, so that no split holds a name of
another; words that they share are what is learned.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from transformers_jax.data import python_docs
from transformers_jax.data.generated.splits import split_of

WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
LEAST = 3  # words of a docstring that says something


def words(text: str) -> list[str]:
    """The words of a name or of a text, in lower case: those of "camelCase" and "snake_case"."""
    return [word.lower() for word in WORD.findall(text)]


def records(split: str) -> list[dict[str, Any]]:
    """{"query": the first paragraph of a docstring, "document": the words of the name}."""
    return [
        {"query": query, "document": name}
        for name, query in _named().items()
        if split_of(name) == split
    ]


@functools.cache  # the interpreter stays the same, and reading its files takes seconds
def _named() -> dict[str, str]:
    """{qualified name, by its words: the first paragraph of its docstring}."""
    found: dict[str, str] = {}
    for document in python_docs.documents():
        if document.module.startswith("topics.") or document.name == document.module:
            continue
        paragraph = " ".join(document.text.split("\n\n")[0].split())
        name = " ".join(words(f"{document.module}.{document.name}"))
        if len(words(paragraph)) >= LEAST:
            found.setdefault(name, paragraph)
    return found
