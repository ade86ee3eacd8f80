"""Files and names in docs/architecture.md exist."""

import re
from pathlib import Path

import pytest

from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
QUESTIONS = re.findall(r"^\| (where .*?|what .*?|which .*?) \| (.*) \|$", PAGE, re.MULTILINE)


def test_the_architecture_page_answers_thirty_questions():
    assert len(QUESTIONS) >= 30


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_each_answer_names_existing_files_and_names(question, answer):
    quoted = re.findall(r"`([^`]+)`", answer)
    files = [word for word in quoted if word.endswith((".py", "/"))]
    for file in files:
        assert (ROOT / "transformers_jax" / file).exists(), file
    texts = [path.read_text() for path in (ROOT / "transformers_jax").rglob("*.py")]
    for name in set(quoted) - set(files):
        last = re.split(r"[.(\[]", name.removesuffix("()"))[-1].rstrip(")'\"]=") or name
        assert any(last in text for text in texts), name


def test_the_documented_layers_are_those_of_the_layer_test():
    layers = PAGE.split("## The layers of the package")[1].split("```")[1]
    for names in LAYERS:
        for name in names:
            assert name == "__main__" or name in layers, name
