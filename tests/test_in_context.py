"""train/in_context.py: its prompts and baselines, and that decoders begin to learn from them."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from train import in_context
from transformers_jax.optim import AdamW


def test_a_prompt_is_a_linear_function_of_its_own():
    batch = in_context.prompts(3, 5, 200)
    x, y = batch["x"], batch["y"]
    w = np.linalg.lstsq(x[0], y[0], rcond=None)[0]
    np.testing.assert_allclose(x[0] @ w, y[0], atol=1e-5)
    assert np.abs(x[1] @ w - y[1]).max() > 0.1
    np.testing.assert_allclose(y.var(), in_context.SIZE, rtol=0.2)
    assert not np.array_equal(x, in_context.prompts(3, 6, 200)["x"])


def test_least_squares_is_exact_once_there_are_as_many_examples_as_numbers():
    batch = in_context.prompts(0, 0, 500)
    error = np.square(in_context.least_squares(**batch) - batch["y"])
    known = np.median(error, 0)
    assert known[in_context.SIZE :].max() < 1e-6
    assert known[: in_context.SIZE].min() > 1e-3
    averaged = np.square(in_context.averaging(**batch) - batch["y"]).mean(0)
    assert averaged[-1] > 0.01


def test_no_prediction_depends_on_its_own_answer_or_a_later_one():
    model = tj.from_config(in_context.REGRESSION, head="causal_lm", key=jax.random.key(0))
    batch = in_context.prompts(0, 0, 2)
    x, y = batch["x"], batch["y"]
    before = np.asarray(in_context.predictions(model, x, y))
    changed = y.copy()
    changed[:, 3] += 1
    after = np.asarray(in_context.predictions(model, x, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).all()


def test_rows_repeat_themselves_with_periods_of_their_own():
    batch = in_context.repeats(0, 0, 64)
    ids, labels, periods = batch["input_ids"], batch["labels"], batch["periods"]
    assert len(set(periods.tolist())) > 5
    for row, label, period in zip(ids, labels, periods):
        np.testing.assert_array_equal(row[period:], row[:-period])
        assert (label[: period + 1] == -100).all()
        np.testing.assert_array_equal(label[period + 1 :], row[period + 1 :])


def test_scores_of_heads_are_weights_of_attention():
    model = tj.from_config(in_context.repeating(1), head="causal_lm", key=jax.random.key(0))
    scores = in_context.matching(model, rows=16)
    assert scores["prefix"].shape == scores["previous"].shape == (1, 4)
    # a head of an untrained model attends to all tokens alike
    assert 0.05 < scores["previous"].mean() < 0.3
    assert scores["accuracy"] < 0.2


@pytest.mark.slow
def test_a_few_steps_make_the_loss_smaller():
    _, losses = in_context.train(
        in_context.repeating(1), in_context.next_token, in_context.repeats, steps=30, rows=16,
        adam=AdamW(peak=1e-2),
    )  # fmt: skip
    assert np.mean(losses[-3:]) < losses[0] - 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regresion"], "no chapter is called regresion; there are regression, induction"),
        (["--inductionsteps", "3"], "unknown flag --inductionsteps"),
    ],
)
def test_what_cannot_be_typed_is_one_line(arguments, message, capsys):
    assert in_context.main(arguments) == 2
    assert message in capsys.readouterr().err
