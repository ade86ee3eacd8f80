"""Files and names in docs/architecture.md exist."""

import re
import sys
import threading
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import transformers_jax as tj
from tests.test_layers import LAYERS
from transformers_jax.data.config import Data
from transformers_jax.data.prefetch import prefetched
from transformers_jax.objectives import Example, MaskedLM
from transformers_jax.objectives.example import Piece
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.folder import RunFolder
from transformers_jax.training.loop import Loop
from transformers_jax.training.prepare import prepare

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


# ---------------------------------------------------------------- the way of a batch


def carries(value):
    """Whether this is a batch, or what one is made of."""
    if type(value) in (list, tuple):
        return any(map(carries, value[:2]))
    return isinstance(value, Example | Piece) or (type(value) is dict and "input_ids" in value)


def traced(work):
    """The files of the package in which a function gets or returns a batch while `work` runs, also
    in the threads that it starts."""
    package, files = f"{ROOT}/transformers_jax/", set()

    def profile(frame, event, returned):
        file = frame.f_code.co_filename
        if event in ("call", "return") and file.startswith(package):
            values = list(frame.f_locals.values()) if event == "call" else [returned]
            if any(map(carries, values)):
                files.add(file.removeprefix(package))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return files


@pytest.fixture
def loop(tmp_path):
    """The loop of a small BERT on packed rows, before its first step."""
    lines = [f"line {n}: {n} times {n % 7} is {n * (n % 7)}.\n" for n in range(99)]
    (tmp_path / "text.txt").write_text("".join(lines))
    config = TrainConfig(
        model=tj.BertConfig(
            vocab_size=300,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=64,
        ),
        data=Data(
            path=str(tmp_path / "text.txt"),
            tokenizer="byte",
            documents="line",
            rows="packed",
            length=48,
            batch=4,
        ),
        objective=MaskedLM(),
        steps=2,
        out=str(tmp_path / "run"),
    )
    checkpoints = MagicMock()
    checkpoints.steps.return_value, checkpoints.newest.return_value = [], None
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run", "auto")
    run = prepare(config, folder, checkpoints, lambda line: None, MagicMock())
    return Loop(run, MagicMock(), MagicMock(), MagicMock(), MagicMock())


def test_a_batch_passes_the_files_that_are_listed(loop):
    of_call, of_training = PAGE.split("## The way of a batch")[1].split("```")[1:4:2]
    listed = re.findall(r"^([\w/]+\.py) ", of_training, re.MULTILINE)
    assert len(listed) <= 12

    for part in loop.run.stream.parts:  # what the checks before the first step have made
        part.example.cache_clear()

    def step():
        batches = prefetched(loop.run.stream, loop.position, loop.rows_at)
        loop.step(1, batches)
        batches.close()

    files = traced(step)
    assert int(loop.state.step) == 1
    sides = ("data/", "training/", "objectives/")
    assert {file for file in files if file.startswith(sides)} | {"processes.py"} == set(listed)
    models = set(re.findall(r"models/[\w/]+\.py", of_call))
    assert {file for file in files if file.startswith("models/")} == models
    assert "processes.py" in files
