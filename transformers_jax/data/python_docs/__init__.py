"""`python_docs`: the running interpreter's own documentation, about two million characters.

The language reference's topics (pydoc) and the docstrings of the standard library, each once, as a
TFDS dataset that is built on the spot: nothing is downloaded, nothing is carried along. The text
differs from one Python to the next, so every run records a fingerprint of it.

builder.py     the TFDS builder
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import itertools
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from transformers_jax.extras import need
from transformers_jax.publish import waiting_lock

SKIPPED = frozenset("test tests idlelib lib2to3 site-packages __pycache__ turtledemo".split())


class Document(NamedTuple):
    """One piece of text: where it is from and what it describes."""

    module: str
    name: str
    text: str


def documents() -> Iterator[Document]:
    """The topics, then the docstrings module by module; a text that occurs twice comes once."""
    texts: set[str] = set()
    for document in itertools.chain(_topics(), _docstrings()):
        text = document.text.strip()
        if len(text) >= 20 and text not in texts:
            texts.add(text)
            yield document._replace(text=text)


def split_of(module: str) -> str:
    """ "train" or "validation" (one module in ten): all of a module is on one side."""
    digest = hashlib.sha256(module.encode()).digest()
    return "validation" if digest[0] % 10 == 0 else "train"


def version() -> str:
    """Which interpreter's documentation: text differs between patch releases too."""
    return f"{platform.python_implementation().lower()}-{platform.python_version()}"


def _topics() -> Iterator[Document]:
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:  # some distributions leave it out
        return
    for name in sorted(topics):
        yield Document(f"topics.{name}", name, topics[name])


def modules() -> Iterator[tuple[str, ast.Module]]:
    """(name, syntax tree) of the modules of the standard library, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED.intersection(parts) or parts[0] == "pydoc_data":
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        yield ".".join(parts).removesuffix(".__init__"), tree


def _docstrings() -> Iterator[Document]:
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield Document(module, getattr(node, "name", module), text)


def cache_dir() -> Path:
    """Where prepared data and compiled programs are kept between runs."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "transformers_jax"
    return Path(os.environ.get("TRANSFORMERS_JAX_CACHE", default)).expanduser()


def load() -> dict[str, list[Document]]:
    """{"train": [...], "validation": [...]} in the order of the builder, prepared at first use.

    Raises:
        ValueError: tensorflow_datasets or array_record are not installed.
    """
    what = "python_docs (or pass --data.path FILE)"
    need("array_record", "train", what)
    builders = need("transformers_jax.data.python_docs.builder", "train", what)
    folder = cache_dir() / "datasets"
    open_there = lambda: builders.PythonDocs(data_dir=str(folder), config=version())
    if not Path(open_there().data_path).exists():
        with waiting_lock(folder / f".{version()}.lock"):  # a second process finds it prepared
            builder = open_there()
            if not Path(builder.data_path).exists():
                builders.quietly(builder.download_and_prepare)
    builder = open_there()  # one that was opened before the data came knows of no splits
    by_split = {}
    for split in ("train", "validation"):
        rows = list(builder.as_data_source(split))
        rows.sort(key=lambda row: int(row["number"]))
        by_split[split] = [_document(row) for row in rows]
    return by_split


def _document(row: dict[str, Any]) -> Document:
    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
    return Document(text(row["module"]), text(row["name"]), text(row["text"]))
