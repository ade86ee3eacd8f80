"""docs/zoo.md and the README's table of families are what the code does. Write them anew with

python -m tests.docs.measure_zoo
TRANSFORMERS_JAX_WRITE_DOCS=1 python -m pytest tests/docs/test_zoo_docs.py
"""

import dataclasses
import os

import pytest

from tests.docs import zoo, zoo_docs
from transformers_jax.models import FAMILIES, MODULES

PAGE, README = zoo.ROOT / "docs" / "zoo.md", zoo.ROOT / "README.md"
OLD = "is old; see the top of tests/docs/test_zoo_docs.py"


@pytest.fixture(scope="module")
def families():
    return zoo.families()


def test_the_page_of_families_is_up_to_date(families):
    text, readme = zoo_docs.page(families), zoo_docs.with_table(README.read_text(), families)
    if os.environ.get("TRANSFORMERS_JAX_WRITE_DOCS"):
        PAGE.write_text(text)
        README.write_text(readme)
    assert PAGE.read_text() == text, f"docs/zoo.md {OLD}"
    assert README.read_text() == readme, f"README.md {OLD}"


def test_every_family_and_every_case_has_a_row(families):
    text = zoo_docs.page(families)
    towers = zoo.towers_of_cases()
    assert all(f"| `{kind}` |" in text or kind in towers for kind in (*FAMILIES, *MODULES))
    assert all(f"\n| {name} |" in text for name in zoo.present()["cases"])
    assert not [family.kind for family in families if not family.cases], "families without a case"


def test_every_case_and_every_step_has_been_measured():
    measured, there = zoo.results(), zoo.present()
    assert not zoo.unmeasured(measured, there), "python -m tests.docs.measure_zoo"
    del measured["cases"]["gpt2"]
    measured["cases"]["bart"]["export"] = "differs"
    there["steps"]["gpt2"] = "changed"
    there["steps"]["new"] = "new"
    wrong = ["cases/bart", "cases/gpt2", "steps/gpt2", "steps/new"]
    assert zoo.unmeasured(measured, there) == wrong


def test_every_measured_case_conforms_and_is_written_back(families):
    for family in families:
        for name, result in [*family.cases.items(), *family.steps.items()]:
            assert zoo.is_good(result), name


def test_the_page_changes_with_what_was_measured(families):
    changed = dataclasses.replace(families[0], steps={"one": {"gradient": 0.5}})
    assert zoo_docs.page([changed, *families[1:]]) != zoo_docs.page(families)


TEXT = '''"""A file."""

from a import (
    b,
)

x = 1  # one

# two
table = """
a

b
"""
'''


def test_code_lines_exclude_comments_blanks_and_docstrings():
    assert zoo.code_lines(TEXT) == 3 + 1 + 4
    assert zoo.code_lines(TEXT + 'def f():\n    """Says."""\n    return x\n') == 3 + 1 + 4 + 2
