"""`imports`: the modules of the standard library, and which imports which: of what package is each?

One graph, the same in every split. A node is a module of the running interpreter, and an edge leads
each way between two of which one imports the other. What a node knows of itself are the words of
its docstring and of the names that it defines, but for the names of the packages. Its class is its
package, if that has `MEMBERS` modules or more; others are in the graph and have none. Classes are
known of the nodes of the split alone: of each class the first few (`FEW`), by the hash of their
names, are trained on, the next ones are for validation, and all others are the test split.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MEMBERS = 10  # modules of a package that is a class
WORDS = 400  # that nodes are described by: those of most modules
FEW = {"train": 5, "validation": 3}
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}
WORD = re.compile(r"[A-Z]?[a-z]{2,}")


def records(split: str) -> list[dict[str, Any]]:
    """The graph, {"x": Float[N F], "edge_index": Int[2 E], "label": a package or None of each node,
    "name": of each node}, with the classes of a split."""
    names, x, edges, packages = _graph()
    splits = _splits(names, packages)
    label = [own if here == split else None for own, here in zip(packages, splits)]
    return [{"x": x, "edge_index": edges, "label": label, "name": list(names)}]


def _splits(names: list[str], packages: list[str | None]) -> list[str]:
    """The split of each node."""
    order = sorted(range(len(names)), key=lambda n: hashlib.sha256(names[n].encode()).digest())
    seen, splits = Counter[str | None](), [""] * len(names)
    for number in order:
        place, package = seen[packages[number]], packages[number]
        few = [split for split, count in FEW.items() for _ in range(count)]
        splits[number] = few[place] if place < len(few) else "test"
        seen[package] += 1
    return splits


@functools.cache  # the interpreter stays the same, and reading its files takes seconds
def _graph() -> tuple[list[str], np.ndarray, np.ndarray, list[str | None]]:
    """(names, words Float[N F], edges Int[2 E], the package or None) of the modules."""
    modules = dict(sorted(_modules()))
    numbers = {name: number for number, name in enumerate(modules)}
    counts = Counter(name.partition(".")[0] for name in modules)
    classes = {name for name, count in counts.items() if count >= MEMBERS}
    imported = {
        (numbers[name], numbers[other])
        for name, (tree, package) in modules.items()
        for other in _imports(tree, package, numbers)
        if other != name
    }
    both = sorted(imported | {(b, a) for a, b in imported})
    words = [_words(tree) - classes for tree, _ in modules.values()]
    common = Counter(word for some in words for word in some)
    chosen = sorted(common, key=lambda word: (-common[word], word))[:WORDS]
    x = np.array([[word in some for word in chosen] for some in words], np.float32)
    x /= np.maximum(np.sqrt(x.sum(1, keepdims=True)), 1)
    packages = [name.partition(".")[0] for name in modules]
    label = [package if package in classes else None for package in packages]
    return list(modules), x, np.array(both, np.int32).T, label


def _modules() -> Iterator[tuple[str, tuple[ast.Module, str]]]:
    """(name, (syntax tree, the package that relative imports begin with)) of each module."""
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if SKIPPED.intersection(parts) or not all(part.isidentifier() for part in parts):
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # examples of what is none
        package = parts[:-1]
        name = package if parts[-1] == "__init__" else parts
        if name:
            yield ".".join(name), (tree, ".".join(package))


def _imports(tree: ast.Module, package: str, known: dict[str, int]) -> Iterator[str]:
    """The names of the modules that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if found := next((one for one in _longest_first(name) if one in known), None):
                yield found


def _longest_first(name: str) -> Iterator[str]:
    """a.b.c, a.b, a of a.b.c."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _words(tree: ast.Module) -> set[str]:
    """The words of a module's docstring and of the names that it defines."""
    texts = [ast.get_docstring(tree) or ""]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    texts += [node.name for node in ast.walk(tree) if isinstance(node, defined)]
    return {word.lower() for text in texts for word in WORD.findall(text)}
