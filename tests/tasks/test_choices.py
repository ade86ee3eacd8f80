"""Candidates of a text, read behind it and compared."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax.data.packing import assemble
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import MultipleChoice
from transformers_jax.tasks.base import TaskObjective
from transformers_jax.tasks.corpus import layout_of

RECORDS = [
    {"context": "the film", "choices": ["was good", "a very sad story", "fine"], "label": 2},
    {"context": "a book and the plot", "choices": ["bad", "good", "ugly"], "label": "good"},
]


def test_each_candidate_is_read_behind_the_text(encoder):
    corpus = corpus_of(encoder, RECORDS, MultipleChoice())
    tokens = corpus.train.examples[0].tokens
    pairs = corpus.tokenizer.batch(["the film"] * 3, RECORDS[0]["choices"])
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert (tokens[name] == pairs[name]).all(), name
    assert [example.once["labels"] for example in corpus.train.examples] == [2, 1]
    names = ["a", "b", "c"]
    columns = [
        {"context": r["context"], **dict(zip(names, r["choices"])), "label": r["label"]}
        for r in RECORDS
    ]
    apart = corpus_of(encoder, columns, MultipleChoice(), text_pair="a,b,c")
    assert apart.fingerprint == corpus.fingerprint


def test_the_loss_is_that_of_the_head_and_empty_rows_count_for_nothing(encoder):
    corpus = corpus_of(encoder, RECORDS, MultipleChoice())
    batch = assemble([[one] for one in corpus.train.examples] + [[]], layout_of(corpus))
    assert batch["input_ids"].shape[:2] == (3, 3)
    config = tj.AutoConfig.from_pretrained(encoder).replace(initializer_range=0.5)
    model = tj.from_config(config, head="multiple_choice", key=jax.random.key(1))
    loss, _ = TaskObjective(corpus.task)(model, batch, None)
    own = {name: value[:2] for name, value in batch.items() if name != "number"}
    assert np.allclose(loss, model(**own).loss, rtol=1e-6)
    assert not np.allclose(loss, model(**{**own, "labels": own["labels"] * 0}).loss, rtol=1e-3)


def test_predictions_are_numbers_and_texts_with_scores(encoder):
    corpus = corpus_of(encoder, RECORDS, MultipleChoice())
    answers = {"logits": np.array([[0.0, 1.0, 3.0], [2.0, 1.0, 0.0]])}
    found = corpus.task.predictions(answers, corpus.train, corpus.form)
    assert [(one["choice"], one["text"]) for one in found] == [(2, "fine"), (0, "bad")]
    assert sum(found[0]["scores"]) == pytest.approx(1)
    assert corpus.task.metrics(answers, corpus.train, corpus.form) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choices": ["one"]}, "expected a list of candidates"),
        ({"choices": ["one", "two"]}, "has 2 candidates and .* has 3"),
        ({"label": 3}, "holds 3; expected the number of a candidate, from 0 to 2"),
        ({"label": "none"}, "holds 'none'; expected the number"),
        ({"label": True}, "holds True"),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_place(encoder, change, words):
    with pytest.raises(ValueError, match=rf"t\[1\].*{words}"):
        corpus_of(encoder, [RECORDS[0], {**RECORDS[1], **change}], MultipleChoice())


def test_a_model_learns_to_choose(encoder, tmp_path):
    draw, records = np.random.default_rng(0), []
    for _ in range(160):
        words = [str(word) for word in draw.permutation(["good", "bad", "sad", "fine"])[:3]]
        number = int(draw.integers(3))
        records.append({"context": words[number], "choices": words, "label": number})
    run = finetune(
        encoder, "multiple_choice", records, out=str(tmp_path / "run"), epochs=1,
        learning_rate=1e-2, rows="padded", length=8,
    )  # fmt: skip
    assert {"accuracy", "loss"} <= run.metrics.keys()
    assert len(tj.predict(run.folder, records[:3])) == 3
