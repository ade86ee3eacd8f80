"""Answers as parts of a context: windows, positions, candidates over windows, none."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import QuestionAnswering
from transformers_jax.tasks.base import TaskObjective

CONTEXT = "the good film was a very sad story and the book was fine"


def record(answer, question="film story", context=CONTEXT):
    answers = [] if answer is None else [answer]
    starts = [context.index(one) for one in answers]
    return {
        "question": question,
        "context": context,
        "answers": {"text": answers, "answer_start": starts},
    }


def perfect(corpus, positions=None):
    """Scores that point at the positions that are trained on."""
    width = max(len(one.tokens["input_ids"]) for one in corpus.train.examples)
    scores = {name: np.full((len(corpus.train), width), -5.0) for name in ("start", "end")}
    for number, example in enumerate(corpus.train.examples):
        for name, rows in scores.items():
            rows[number, example.once[f"{name}_positions"]] = 5.0
    return {f"{name}_logits": rows for name, rows in scores.items()}


def test_positions_are_the_tokens_of_the_answer(encoder):
    corpus = corpus_of(encoder, [record("very sad story")], QuestionAnswering())
    example = corpus.train.examples[0]
    ids, once = example.tokens["input_ids"], example.once
    tokenizer = corpus.tokenizer
    span = ids[once["start_positions"] : once["end_positions"] + 1]
    assert tokenizer.decode(span) == "very sad story"
    assert example.tokens["token_type_ids"][once["start_positions"]] == 1


@pytest.mark.parametrize("length", [0, 12, 14])
def test_windows_find_the_answer_wherever_it_is(encoder, length):
    """Each answer is in at least one window; the others point at the first token."""
    records = [record(a) for a in ("good film", "sad story", "fine", "the book")]
    settings = dict(too_long="stride", stride=4) | (dict(length=length) if length else {})
    corpus = corpus_of(encoder, records, QuestionAnswering(), **settings)
    assert (len(corpus.train) > len(records)) == bool(length)
    found = corpus.task.predictions(perfect(corpus), corpus.train, corpus.form)
    assert [one["answer"] for one in found] == ["good film", "sad story", "fine", "the book"]
    assert all(CONTEXT[one["start"] : one["end"]] == one["answer"] for one in found)
    figures = corpus.task.metrics(perfect(corpus), corpus.train, corpus.form)
    assert (figures["exact_match"], figures["f1"]) == (100, 100)


def test_none_is_answered_where_its_score_is_higher(encoder):
    corpus = corpus_of(encoder, [record("fine"), record(None)], QuestionAnswering())
    assert corpus.task.allows_none
    assert corpus.train.examples[1].once["start_positions"] == 0
    found = corpus.task.predictions(perfect(corpus), corpus.train, corpus.form)
    assert [one["answer"] for one in found] == ["fine", ""]
    assert found[1]["no_answer"] > 0.9 > 0.1 > found[0]["no_answer"]
    figures = corpus.task.metrics(perfect(corpus), corpus.train, corpus.form)
    assert figures["exact"] == figures["NoAns_exact"] == 100
    never = corpus_of(encoder, [record("fine")], QuestionAnswering())
    assert not never.task.allows_none
    scores = {name: np.zeros((1, 40)) for name in ("start_logits", "end_logits")}
    assert never.task.predictions(scores, never.train, never.form)[0]["answer"] != ""


def test_an_answer_ends_behind_its_start_and_is_not_too_long(encoder):
    corpus = corpus_of(encoder, [record("fine")], QuestionAnswering(longest_answer=2))
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = {n: rng.normal(size=(1, 40)) for n in ("start_logits", "end_logits")}
        one = corpus.task.predictions(scores, corpus.train, corpus.form)[0]
        assert 1 <= len(corpus.tokenizer.encode(one["answer"])) <= 2 + 4  # of the text alone
        assert one["start"] < one["end"]
        assert one["score"] == max(entry["score"] for entry in one["best"])


def test_the_loss_is_that_of_the_head(encoder):
    corpus = corpus_of(encoder, [record("fine"), record("good")], QuestionAnswering())
    part = corpus.part(corpus.train, 0)
    assert isinstance(part.example(0, 0), Example)
    from transformers_jax.data.packing import assemble
    from transformers_jax.tasks.corpus import layout_of

    batch = assemble([[one] for one in corpus.train.examples] + [[]], layout_of(corpus))
    assert batch["start_positions"][2] == batch["number"][2] == IGNORED
    model = tj.from_pretrained(encoder, head="question_answering", key=jax.random.key(0))
    loss, sums = TaskObjective(corpus.task)(model, batch, None)
    own = {name: value[:2] for name, value in batch.items() if name != "number"}
    assert np.allclose(loss, model(**own).loss, rtol=1e-6)
    assert set(sums["loss"]) == {"start_loss", "end_loss"}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"text": ["film"], "answer_start": [0]}, "the answer 'film' is not at character 0"),
        ({"text": "film"}, 'expected {"text"'),
        ("film", 'expected {"text"'),
    ],
)
def test_an_answer_that_is_not_there_is_refused(encoder, answers, words):
    one = {**record("fine"), "answers": answers}
    with pytest.raises(ValueError, match=words):
        corpus_of(encoder, [one], QuestionAnswering())


def test_a_model_learns_to_answer(encoder, tmp_path):
    """What follows the word of the question."""
    rng = np.random.default_rng(0)
    names, things = ["film", "book", "story", "plot"], ["good", "bad", "sad", "fine", "ugly"]
    records = []
    for _ in range(200):
        chosen = rng.permutation(names)[:3]
        context = " ".join(f"{name} {rng.choice(things)}" for name in chosen)
        name = str(chosen[rng.integers(3)])
        answer = context.split()[context.split().index(name) + 1]
        start = context.index(f"{name} ") + len(name) + 1
        answers = {"text": [answer], "answer_start": [start]}
        records.append({"question": name, "context": context, "answers": answers})
    run = finetune(
        encoder, "question_answering", records, out=str(tmp_path / "run"), epochs=1,
        learning_rate=1e-2, rows="padded", length=16,
    )  # fmt: skip
    assert {"exact_match", "f1", "loss"} <= run.metrics.keys()
