"""`docstrings`: what does a function do, by its name and its parameters?

The functions and methods of the standard library of the running interpreter that have a docstring:
a prompt is the line of its `def`, the response the first line of the docstring. All functions of a
name are of one split.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

from transformers_jax.data import python_docs
from transformers_jax.data.generated.splits import split_of

LONGEST = 120  # characters of a prompt, and of a response
SHORTEST = 10
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def records(split: str) -> list[dict[str, Any]]:
    """{"prompt": "def name(parameters):\\n", "response": a line}, those of a split."""
    return [record for name, record in _functions() if split_of(name) == split]


@functools.cache  # the interpreter stays the same, and reading its files takes seconds
def _functions() -> list[tuple[str, dict[str, Any]]]:
    """(name, record) of each function; of those with equal prompts, or equal names and responses,
    the first."""
    found, seen = [], set[tuple[str, str]]()
    for _, tree in python_docs.modules():
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, FUNCTIONS) else None
            if not text or not isinstance(node, FUNCTIONS):
                continue
            prompt = f"def {node.name}({ast.unparse(node.args)}):\n"
            response = text.strip().partition("\n")[0].strip()
            keys = {(prompt, ""), (node.name, response)}
            long = max(len(prompt), len(response)) > LONGEST
            if long or len(response) < SHORTEST or not response.isascii() or keys & seen:
                continue
            seen |= keys
            found.append((node.name, {"prompt": prompt, "response": response}))
    return found
