"""Texts that an encoder-decoder writes: rows of two sides, and figures of what is written."""

import functools

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import Summarization, Translation
from transformers_jax.training.evaluation_sets import criterion

ONES = "zero one two three four five six seven eight nine".split()


def numbers(count):
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, 10, draw.integers(1, 4)) for _ in range(count)]
    return [
        {"source": " ".join(ONES[n] for n in row), "target": " ".join(str(n) for n in row)}
        for row in rows
    ]


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """The directory of a tiny T5 with its tokenizer."""
    folder = tmp_path_factory.mktemp("writer")
    texts = [text for record in numbers(200) for text in record.values()]
    tokenizer = train_tokenizer("unigram", texts, 300, roles=("pad", "eos", "unk"))
    config = tj.T5Config(
        vocab_size=tokenizer.max_id + 1, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4,
        num_decoder_layers=1, pad_token_id=tokenizer.special_id("pad"),
        eos_token_id=tokenizer.special_id("eos"),
        decoder_start_token_id=tokenizer.special_id("pad"), dropout_rate=0.0,
    )  # fmt: skip
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder)
    tokenizer.save(folder)
    return folder


def test_a_row_has_the_source_and_the_target(writer):
    records = numbers(6)
    corpus = corpus_of(writer, records, Translation(prefix="two "))
    tokenizer = corpus.tokenizer
    for example, record in zip(corpus.train.examples, records):
        assert tokenizer.decode(example.tokens["input_ids"], skip_special_tokens=True).strip() == (
            f"two {record['source']}"
        )
        labels = example.target["labels"]
        assert tokenizer.decode(labels, skip_special_tokens=True).strip() == record["target"]
    assert corpus.task.max_new_tokens == corpus.form.target_length + 1
    cut = corpus_of(writer, records, Translation(), target_length=1)
    assert {len(example.target["labels"]) for example in cut.train.examples} == {1}


def test_right_texts_have_the_best_figures(writer):
    records = numbers(6)
    for task, name, best in ((Translation(), "chrf", 100), (Summarization(), "rouge1", 1)):
        renamed = [{"document": r["source"], "summary": r["target"], **r} for r in records]
        corpus = corpus_of(writer, renamed, task)
        ids = [example.target["labels"] for example in corpus.train.examples]
        width = max(map(len, ids))
        rows = np.array([np.pad(row, (0, width - len(row)), constant_values=-1) for row in ids])
        figures = corpus.task.metrics({"sequences": rows}, corpus.train, corpus.form)
        assert figures[name] == pytest.approx(best)
        assert figures["exact_match"] == 1
        wrong = corpus.task.metrics({"sequences": rows[::-1]}, corpus.train, corpus.form)
        assert wrong["exact_match"] < 1


def test_a_model_writes_in_evaluations_and_predictions(writer, tmp_path):
    records = numbers(96)
    run = finetune(
        writer, "translation", records, out=str(tmp_path / "run"), epochs=2, learning_rate=1e-2,
        rows="padded", length=8, batch=32,
    )  # fmt: skip
    assert {"bleu", "chrf", "exact_match", "loss", "written_tokens"} <= run.metrics.keys()
    found = tj.predict(run.folder, [{"source": record["source"]} for record in records[:9]])
    assert all(set(one) == {"text"} for one in found)
    figures = tj.evaluate(run.folder, records[:9])
    right = [one["text"] == record["target"] for one, record in zip(found, records)]
    assert figures["exact_match"] == pytest.approx(np.mean(right))


def test_the_best_translation_is_chosen_by_another_figure_where_bleu_is_none():
    lines = [{"eval_bleu": 0.0, "eval_exact_match": value} for value in (0.5, 0.9)]
    of = lambda task: [criterion(task).loss(line) for line in lines]
    assert of(Translation()) == [0, 0]  # the control
    assert of(Translation(best="exact_match")) == [-0.5, -0.9]
    with pytest.raises(ValueError, match="exact_match"):
        Translation(best="rouge")


def test_texts_are_drawn_where_a_temperature_is_given(writer):
    of = functools.partial(tj.predict, writer, task="translation", max_new_tokens=6)
    records = numbers(6)
    drawn = of(records, temperature=9.0)
    assert drawn == of(records, temperature=9.0) != of(records)
    assert len("".join(one["text"] for one in of(records, temperature=9.0, max_new_tokens=1))) < (
        len("".join(one["text"] for one in drawn))
    )
