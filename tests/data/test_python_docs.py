"""The Python documentation as a dataset: each text once, whole modules on one side of the split."""

import itertools
import os
import subprocess
import sys

import pytest

from transformers_jax.data import python_docs
from transformers_jax.data.python_docs import Document, builder


@pytest.fixture(scope="module")
def some():
    return list(itertools.islice(python_docs.documents(), 300))


def test_the_documentation_is_real_text_and_comes_once(some):
    texts = [document.text for document in some]
    assert len(set(texts)) == len(texts) == 300
    assert any(d.module == "topics.assert" and "AssertionError" in d.text for d in some)
    assert any(not d.module.startswith("topics.") for d in some)


def test_about_one_module_in_ten_is_held_out():
    count = sum(python_docs.split_of(f"module{n}") == "validation" for n in range(1000))
    assert 60 < count < 140


def test_the_dataset_is_built_once_and_read_in_order(monkeypatch, tmp_path):
    modules = [f"module{n // 3}" for n in range(60)]
    documents = [Document(name, f"f{n}", f"text number {n}, é") for n, name in enumerate(modules)]
    calls = []
    monkeypatch.setattr(builder, "documents", lambda: calls.append(1) or iter(documents))
    monkeypatch.setenv("TRANSFORMERS_JAX_CACHE", str(tmp_path))
    first, second = python_docs.load(), python_docs.load()
    assert len(calls) == 1
    assert first == second
    assert sorted(first["train"] + first["validation"]) == sorted(documents)
    assert first["train"] == [d for d in documents if python_docs.split_of(d.module) == "train"]
    sides = [{d.module for d in first[split]} for split in ("train", "validation")]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_two_processes_prepare_an_empty_cache_at_once_and_both_read_all(tmp_path):
    program = """
import time
from transformers_jax.data import python_docs
from transformers_jax.data.python_docs import Document, builder
some = [Document(f"module{n}", "f", f"text number {n}") for n in range(60)]
builder.documents = lambda: time.sleep(1) or iter(some)
print(*(len(documents) for documents in python_docs.load().values()))
"""
    environment = {**os.environ, "TRANSFORMERS_JAX_CACHE": str(tmp_path), "PYTHONPATH": os.getcwd()}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    (one, error), (other, errors) = (process.communicate() for process in both)
    assert one == other, error + errors
    assert sum(map(int, one.split())) == 60


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    import importlib

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"transformers-jax\[train\]"):
        python_docs.load()
