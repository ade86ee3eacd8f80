"""`entities`: which words of a docstring are names, and of what?

Paragraphs of the docstrings of the running interpreter. Names of modules, classes, exceptions,
functions and parameters are marked: those that the syntax trees of the standard library define, and
parameters of the function that is described. A name that is a word of English as well (`file`,
`Message`, `read`) is one only where its writing says so: a parameter in quotes, a function with
parentheses, a class before "object". All paragraphs of a module are on one side of the split.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from transformers_jax.data import python_docs
from transformers_jax.data.generated.splits import split_of

NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
OF_A_CLASS = re.compile(r"\s+(?:object|instance|class|subclass)")
OF_A_MODULE = re.compile(r"['\"`]*\s+(?:module|package)\b")
ROLE = re.compile(r"^\s*(?:--|:\s)")  # behind a parameter, in a list of them
QUOTES = ("'", '"', "`", "*")
ENGLISH = 5  # modules that write a word and define no parameter of this name
SHORTEST, LONGEST = 40, 400  # characters of a paragraph
BARE = 4  # of this many paragraphs without a name, one is kept


class Documented(NamedTuple):
    """A docstring, and the parameters of what it describes."""

    module: str
    text: str
    parameters: frozenset[str]


@dataclass(frozen=True)
class Namespace:
    """The names that the standard library defines."""

    modules: frozenset[str]
    classes: frozenset[str]
    exceptions: frozenset[str]
    functions: frozenset[str]
    english: frozenset[str]
    """words, in lower case, that are no names by themselves"""


def records(split: str) -> list[dict[str, Any]]:
    """{"text": a paragraph, "entities": [{"start", "end", "label"}]} of the modules of a split."""
    return [record for module, record in _paragraphs() if split_of(module) == split]


@functools.cache  # the interpreter stays the same, and reading its files takes seconds
def _paragraphs() -> list[tuple[str, dict[str, Any]]]:
    documented, names = _read()
    found, seen = [], set[str]()
    for one in documented:
        for text in re.split(r"\n\s*\n", one.text):
            text = " ".join(text.split())
            if not SHORTEST <= len(text) <= LONGEST or ">>>" in text or text.casefold() in seen:
                continue
            seen.add(text.casefold())
            spans = [
                {"start": start, "end": end, "label": label}
                for start, end, label in entities(text, one, names)
            ]
            if spans or len(seen) % BARE == 0:
                found.append((one.module, {"text": text, "entities": spans}))
    return found


def entities(text: str, one: Documented, names: Namespace) -> Iterator[tuple[int, int, str]]:
    """(start, end, label) of each name in a text of a docstring, from left to right."""
    for match in NAME.finditer(text):
        whole, start = match[0], match.start()
        head, _, last = whole.rpartition(".")
        if whole in names.modules and "." in whole:
            yield start, match.end(), "module"
            continue
        if head in names.modules:
            yield start, start + len(head), "module"
        label = _label(last, text, match.end() - len(last), bool(head), one, names)
        if label is not None:
            yield match.end() - len(last), match.end(), label


def _label(
    name: str, text: str, start: int, dotted: bool, one: Documented, names: Namespace
) -> str | None:
    before, after = text[:start], text[start + len(name) :]
    english, called = name.lower() in names.english, dotted or after.startswith("(")
    if name in one.parameters and not dotted:
        quoted = before.endswith(QUOTES) and after.startswith(QUOTES)
        return "parameter" if quoted or ROLE.match(after) or not english else None
    if name in names.exceptions or name in names.classes:
        kind = "exception" if name in names.exceptions else "class"
        written = (not english and any(map(str.islower, name))) or hasattr(builtins, name)
        return kind if written or called or OF_A_CLASS.match(after) else None
    if name in names.functions and (called or "_" in name.strip("_") or name[:2] == "__"):
        return "function"
    if name in names.modules and not dotted:
        itself = one.module.rpartition(".")[2] == name
        return "module" if OF_A_MODULE.match(after) or not (english or itself) else None
    return None


# ---------------------------------------------------------------- what there is


def _read() -> tuple[list[Documented], Namespace]:
    documented, modules = list[Documented](), set[str]()
    bases, functions = dict[str, set[str]](), set[str]()
    for module, tree in python_docs.modules():
        modules.add(module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(map(_last_name, node.bases))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions.add(node.name)
            elif not isinstance(node, ast.Module):
                continue
            if text := ast.get_docstring(node):
                documented.append(Documented(module, text, _parameters(node)))
    exceptions = {name for name, value in vars(builtins).items() if _is_exception(value)}
    while more := {name for name, some in bases.items() if some & exceptions} - exceptions:
        exceptions |= more
    public = lambda found: frozenset(x for x in found if x[0] != "_" and len(x) > 2)
    written = lambda found: frozenset(x for x in public(found) if x[0].isupper())
    names = Namespace(
        modules=frozenset(modules - {"this"} | {"os.path"}),
        classes=written(bases.keys() - exceptions),
        exceptions=written(exceptions),
        functions=public(functions) | {x for x in functions if x.startswith("__")},
        english=_english(documented),
    )
    return documented, names


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _parameters(node: ast.AST) -> frozenset[str]:
    """Those of a function, or of the `__init__` of a class."""
    if isinstance(node, ast.ClassDef):
        made = [one for one in node.body if getattr(one, "name", "") == "__init__"]
        return _parameters(made[0]) if made else frozenset()
    arguments = getattr(node, "args", None)
    if not isinstance(arguments, ast.arguments):
        return frozenset()
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one]
    return frozenset(one.arg for one in every) - {"self", "cls"}


def _english(documented: list[Documented]) -> frozenset[str]:
    """The words that the docstrings of several modules have, where they are no parameters."""
    where: dict[str, set[str]] = defaultdict(set)
    for one in documented:
        for word in {
            *re.findall(r"(?<![\w.])[A-Za-z]?[a-z]+(?![\w.(])", one.text)
        } - one.parameters:
            where[word.lower()].add(one.module)
    return frozenset(word for word, modules in where.items() if len(modules) >= ENGLISH)
