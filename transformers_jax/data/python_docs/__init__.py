"""`python_docs`: the running interpreter's own documentation, about two million characters.

The language reference's topics (pydoc) and the docstrings of the standard library, each once, as a
TFDS dataset that is built on the spot: nothing is downloaded, nothing is carried along. The text
differs from one Python to the next, so every run records a fingerprint of it.

documents.py   the texts, as Python has them
builder.py     the TFDS builder
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transformers_jax.data.python_docs.documents import Document, documents, split_of, version
from transformers_jax.data.texts import need

__all__ = ["Document", "cache_dir", "documents", "load", "split_of", "version"]


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
    builder = builders.PythonDocs(data_dir=str(cache_dir() / "datasets"), config=version())
    if not Path(builder.data_path).exists():
        builders.quietly(builder.download_and_prepare)
    by_split = {}
    for split in ("train", "validation"):
        rows = list(builder.as_data_source(split))
        rows.sort(key=lambda row: int(row["number"]))
        by_split[split] = [_document(row) for row in rows]
    return by_split


def _document(row: dict[str, Any]) -> Document:
    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
    return Document(text(row["module"]), text(row["name"]), text(row["text"]))
