"""Questions behind examples: prompts, figures against their definitions, and what is refused."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.evaluation.models import model, reader
from transformers_jax.data.tables import of_python
from transformers_jax.evaluation.in_context import InContext, evaluate_in_context, wilson
from transformers_jax.evaluation.questions import prompt_of, read_questions, shots_of
from transformers_jax.runs.evaluate import main
from transformers_jax.runs.predictions import evaluate

CHOICES = [
    {"question": "the sky is", "choices": ["blue", "a very long answer"], "answer": 0},
    {"question": "grass is", "choices": ["red", "green", "blue"], "answer": "green"},
    {"question": "a cat", "choices": ["sings", "purrs"], "answer": 1},
    {"question": "two and two", "choices": ["are four", "are 5"], "answer": 0},
]
FREE = [
    {"prompt": "1+1", "answer": "2"},
    {"prompt": "2+2", "answer": ["4", "four"]},
    {"prompt": "1+2", "answer": "3"},
]


def run(records, kind="gpt", **settings):
    table = of_python("records", records)
    return evaluate_in_context(model(kind), reader(), table, InContext(**settings))


@pytest.mark.parametrize("kind", ["gpt", "t5"])
def test_figures_are_those_of_the_definitions(kind):
    figures, answered = run(CHOICES, kind)
    right = [0, 1, 1, 0]
    found = {name: [] for name in ("acc", "acc_norm", "acc_bytes", "acc_tokens")}
    for one, answer in zip(CHOICES, right):
        gap = "" if kind == "t5" else " "
        pairs = [(f"Q: {one['question']}\nA:", gap + choice) for choice in one["choices"]]
        scores = tj.score_continuations(model(kind), pairs, tokenizer=reader())
        sizes = {
            "acc": 1,
            "acc_norm": np.array([len(c) for c in one["choices"]]),
            "acc_bytes": np.array([len(c.encode()) for c in one["choices"]]),
            "acc_tokens": scores["count"],
        }
        for name, size in sizes.items():
            found[name].append(int(np.argmax(scores.log_prob / size)) == answer)
    for name, each in found.items():
        assert figures[name] == np.mean(each)
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
    assert [one.right for one in answered] == found["acc"]
    np.testing.assert_allclose(figures["chance"], (3 / 2 + 1 / 3) / 4)


@pytest.mark.parametrize("kind", ["gpt", "t5"])
def test_answers_that_are_written_are_compared_as_texts(kind):
    figures, answered = run(FREE, kind, max_new_tokens=4)
    assert set(figures) == {
        "exact_match", "exact_match_low", "exact_match_high", "shots", "records"
    }  # fmt: skip
    said = [one.answer for one in answered]
    assert not any("\n" in text for text in said)
    echoed = [{**one, "answer": text} for one, text in zip(FREE, said) if text.strip()]
    if echoed:  # what it writes is right where it is what was asked for
        assert run(echoed, kind, max_new_tokens=4)[0]["exact_match"] == 1
    chosen, _ = run(CHOICES, kind, by="generation", max_new_tokens=4)
    assert "exact_match" in chosen


def test_wilson_intervals_are_those_of_the_table():
    """Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for (right, count), expected in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0000, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        np.testing.assert_allclose(wilson(right, count), expected, atol=5e-5)
    assert wilson(20, 20)[1] == 1


def test_examples_are_drawn_by_the_seed_and_never_ask_the_same():
    questions = read_questions(of_python("records", CHOICES), None, "answer")
    draw = lambda seed: [
        [one.text for one in shots] for shots in shots_of(questions, questions, 2, seed)
    ]
    assert draw(0) == draw(0)
    assert any(draw(seed) != draw(0) for seed in range(1, 6))
    for question, shots in zip(questions, draw(3)):
        assert len(set(shots)) == 2
        assert question.text not in shots
    (shots, *_) = shots_of(questions, questions, 1, 0)
    text = prompt_of(questions[0], shots, "Q: {question}\nA: {answer}", "\n\n")
    first = shots[0]
    assert text == f"Q: {first.text}\nA: {first.answers[0]}\n\nQ: the sky is\nA: "


def test_a_template_names_columns():
    records = [{"prompt": "x", "place": "Rome", "choices": ["a", "b"], "answer": 1}] * 2
    table = of_python("records", [{**one, "prompt": f"x{n}"} for n, one in enumerate(records)])
    settings = InContext(template="{place}: {question} ({choices})? {answer}", shots=1)
    _, answered = evaluate_in_context(model(), reader(), table, settings)
    question = answered[0].question
    assert prompt_of(question, [], settings.template, "") == "Rome: x0 (a, b)? "


def test_few_shot_is_this_task_where_a_model_continues_texts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tj.save_pretrained(model(), tmp_path / "model")
    reader().save(tmp_path / "model")
    lines = "".join(json.dumps(one) + "\n" for one in CHOICES)
    (tmp_path / "test.jsonl").write_text(lines)
    flags = ["--model", "model", "--data", "test.jsonl", "--shots", "2", "--seed", "3"]
    assert main(["--task", "few_shot", *flags, "--template", r"{question}\n{answer}"]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures == json.loads(capsys.readouterr().out)
    named = dict(shots=2, seed=3, template="{question}\n{answer}")
    assert figures == evaluate(model(), CHOICES, task="in_context", tokenizer=reader(), **named)
    shown = json.loads((tmp_path / "metrics.figure.json").read_text())
    assert shown["kind"] == "listing"
    assert len(shown["rows"]) == 4
    # of a model of another kind it is the task of that name, which has no template
    assert main(["--task", "in_context", *flags, "--templat", "x"]) == 2
    assert main(["--task", "in_context", *flags[:-1], "-1"]) == 1


def said(records, **settings):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - compared with the page
        run(records, **settings)
    return str(error.value)


ONE = {"question": "a", "choices": ["b", "c"], "answer": 0}


def test_an_error_is_in_the_page_of_the_task():
    from tests.docs.test_task_pages import compare

    other = {**ONE, "question": "b"}
    compare(
        "in-context",
        [
            said([{"question": "a", "choices": ["b", "c"]}]),
            said([{**ONE, "question": " "}]),
            said([{**ONE, "choices": ["b"]}]),
            said([{**ONE, "choices": ["b", 5]}]),
            said([{**ONE, "choices": ["b", "b"]}]),
            said([{**ONE, "answer": 2}]),
            said([{**ONE, "answer": "d"}]),
            said([{"question": "a", "answer": 5}]),
            said([{"question": "a", "answer": "b"}], by="likelihood"),
            said([ONE, other], shots=2),
            said([ONE], template="{question}"),
            said([ONE], template="{qustion} {answer}"),
            said([{**ONE, "question": "a" * 200}]),
        ],
    )


def test_models_that_continue_no_texts_are_named():
    encoder = tj.from_config(
        tj.BertConfig(vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                      intermediate_size=8),
        head="masked_lm", key=jax.random.key(0),
    )  # fmt: skip
    with pytest.raises(ValueError, match="in_context reads a model that continues texts"):
        evaluate(encoder, CHOICES, task="in_context", tokenizer=reader())
    with pytest.raises(TypeError, match="no setting 'shot'; did you mean 'shots'"):
        evaluate(model(), CHOICES, task="in_context", tokenizer=reader(), shot=2)
    with pytest.raises(ValueError, match=r"pass tokenizer=tj\.load_tokenizer"):
        evaluate(model(), CHOICES, task="few_shot")
