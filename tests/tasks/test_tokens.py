"""Classes of words: aligned with tokens, scored as seqeval does, predicted with characters."""

import sys

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Table
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.models.plan import Plan
from transformers_jax.nn.loss import IGNORED
from transformers_jax.pretrained import head_of
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import TokenClassification
from transformers_jax.tasks.corpus import read_task

WORDS = [["the", "lovely", "story", "was", "unseen"], ["awful", "plot", "."]]
TAGS = [["O", "B-X", "I-X", "O", "B-Y"], ["B-Y", "O", "O"]]


def corpus_of(encoder, records, task=TokenClassification(), **settings):
    tokenizer, config = load_tokenizer(encoder), tj.AutoConfig.from_pretrained(encoder)
    model = Plan(config, head_of(config, task.head)).build()
    data = Table(train="t", validation_fraction=0, **settings)
    with pytest.MonkeyPatch.context() as patch:
        table = {"train": of_python("t", records)}
        patch.setattr("transformers_jax.tasks.corpus.read_tables", lambda *_: table)
        return read_task(data, task, tokenizer, model)


def tagged():
    return [{"tokens": words, "ner_tags": tags} for words, tags in zip(WORDS, TAGS)]


def perfect(corpus, tags):
    """Logits that say these tags, at the first token of each word."""
    width = max(len(one.tokens["input_ids"]) for one in corpus.train.examples)
    logits = np.zeros((len(tags), width, len(corpus.form.classes)))
    for row, detail, some in zip(logits, corpus.train.details, tags):
        for token, tag in zip(detail.first, some):
            row[token, corpus.form.classes.index(tag)] = 5.0
    return {"logits": logits}


def test_a_word_is_labelled_at_its_first_token(encoder):
    corpus = corpus_of(encoder, tagged())
    tokenizer = load_tokenizer(encoder)
    assert corpus.form.classes == ("O", "B-X", "B-Y", "I-X")
    for example, words, tags in zip(corpus.train.examples, WORDS, TAGS):
        ids, labels = example.tokens["input_ids"], example.tokens["labels"]
        counts = [len(tokenizer.encode(word)) for word in words]
        starts = 1 + np.cumsum([0, *counts[:-1]])
        assert [corpus.form.classes[n] for n in labels[starts]] == tags
        assert (np.delete(labels, starts) == IGNORED).all()
        assert len(ids) == sum(counts) + 2
    assert any(len(tokenizer.encode(word)) > 1 for words in WORDS for word in words)


def test_all_tokens_of_a_word_may_be_labelled(encoder):
    corpus = corpus_of(encoder, tagged(), TokenClassification(all_tokens=True))
    labels = corpus.train.examples[0].tokens["labels"]
    first = corpus.train.details[0].first
    names = [corpus.form.classes[n] if n >= 0 else None for n in labels]
    assert names[first[1]] == "B-X"
    assert set(names[first[1] + 1 : first[2]]) <= {"I-X"}
    assert None not in names[1:-1]


def test_entities_of_a_text_are_the_tags_of_its_words(encoder):
    text = "the lovely story, was unseen"
    spans = [dict(start=4, end=16, label="X"), dict(start=22, end=28, label="Y")]
    corpus = corpus_of(
        encoder, [{"text": text, "entities": spans}, {"text": "a plot", "entities": []}]
    )
    assert corpus.train.references == [["O", "B-X", "I-X", "O", "O", "B-Y"], ["O", "O"]]
    found = corpus.task.predictions(
        perfect(corpus, corpus.train.references), corpus.train, corpus.form
    )
    assert [(e["start"], e["end"], e["label"], e["text"]) for e in found[0]["entities"]] == [
        (4, 16, "X", "lovely story"), (22, 28, "Y", "unseen"),
    ]  # fmt: skip
    assert all(0.9 < e["score"] < 1 for e in found[0]["entities"])
    assert found[1]["entities"] == []


def test_right_answers_score_one_and_words_that_were_cut_count_as_missed(encoder):
    corpus = corpus_of(encoder, tagged())
    figures = corpus.task.metrics(perfect(corpus, TAGS), corpus.train, corpus.form)
    assert (figures["f1"], figures["accuracy"]) == (1, 1)
    wrong = [["O"] * 5, TAGS[1]]
    figures = corpus.task.metrics(perfect(corpus, wrong), corpus.train, corpus.form)
    assert figures["recall"] == pytest.approx(1 / 3)
    short = corpus_of(encoder, tagged(), length=5)
    assert "1 of 2 texts are cut to 5 tokens" in "\n".join(short.notes)
    figures = short.task.metrics(perfect(short, TAGS), short.train, short.form)
    assert figures["precision"] == 1
    assert figures["recall"] < 1


def test_texts_of_a_csv_have_words_and_tags_between_spaces(encoder):
    records = [{"tokens": " ".join(w), "ner_tags": " ".join(t)} for w, t in zip(WORDS, TAGS)]
    corpus, same = corpus_of(encoder, records), corpus_of(encoder, tagged())
    assert corpus.fingerprint == same.fingerprint


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, r"t\[0\] has 2 words and 1 tags"),
        ({"tokens": [1, "b"], "ner_tags": ["O", "O"]}, r"t\[0\]: 'tokens' holds \[1, 'b'\]"),
        ({"tokens": ["a"], "ner_tags": ["O"]}, "no word has a tag other than O"),
        (
            {"text": "a b", "entities": [{"start": 0, "end": 9, "label": "X"}]},
            "no word is at 0 to 9 of 'a b'",
        ),
        ({"text": "a b", "entities": [{"begin": 0}]}, "expected start, end and label"),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_place(encoder, record, words):
    with pytest.raises(ValueError, match=words):
        corpus_of(encoder, [record])


def test_the_library_of_the_metrics_is_needed_before_the_first_step(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(ValueError, match=r'pip install "transformers-jax\[eval\]"'):
        read_task(Table(train="none.csv"), TokenClassification(), None, None)


def test_a_model_learns_the_tags_and_predicts_them_from_its_directory(encoder, tmp_path):
    rng = np.random.default_rng(0)
    names, plain = ["good", "great", "fine"], ["film", "book", "was", "the"]
    records = []
    for _ in range(120):
        words = [str(rng.choice(names if rng.random() < 0.3 else plain)) for _ in range(6)]
        records.append({"tokens": words, "ner_tags": ["B-N" if w in names else "O" for w in words]})
    run = finetune(
        encoder, "token_classification", records, out=str(tmp_path / "run"), epochs=6,
        learning_rate=1e-2, rows="padded", length=12,
    )  # fmt: skip
    assert run.metrics["f1"] > 0.9
    model = tj.from_pretrained(tmp_path / "run/model")
    assert model.config.id2label == {"0": "O", "1": "B-N"}
    assert jax.tree.leaves(tj.functional(model)[1])
