"""Padding is no target: a padded row has the loss of the unpadded row, in every objective."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.objective_cases import CASES, FIXED, WORDS, padded, row
from transformers_jax.objectives import means

ROW, WIDTH = 5, 9
# The softmax of an answer's position is over the whole row, padding included, as in PyTorch.
APART = ("question_answering", *FIXED)  # and frames and patches are as many in each row
RIGHT = [name for name, case in CASES.items() if case.rows not in APART]
# In the others the first token is pooled, or the model has two sides.
ONE_SIDED = (
    "masked_diffusion",
    "noised",
    "text",
    "causal_lm",
    "masked_lm",
    "token_classification",
    "replaced_token",
    "pairs",
)
LEFT = [name for name in RIGHT if CASES[name].rows in ONE_SIDED]


def loss(name, batch):
    figures = means(CASES[name].objective(CASES[name].model, batch, None)[1])
    # routers balance padding as well, as in PyTorch: it is no target, but it is served
    return float(figures.get("word_loss", figures["loss"]))


def two(name):
    """Two rows without padding: a single pair has no negatives."""
    return [row(CASES[name].rows, ROW, number) for number in (3, 4)]


def with_places(inputs):
    """The inputs, padded on the left, with the positions that tokens have in the unpadded row."""
    positions = np.maximum(np.cumsum(inputs["attention_mask"], axis=1) - 1, 0)
    return {**inputs, "tags": {"position": positions.astype(np.int32)}}


def test_padding_on_the_right_changes_no_loss():
    for name in RIGHT:
        rows = two(name)
        unpadded = loss(name, padded(rows, ROW))
        # the logits of images and texts are ten times their loss, and are rounded
        close = 4e-6 if name == "image_text" else 2e-6
        assert unpadded == pytest.approx(loss(name, padded(rows, WIDTH)), rel=close), name
        assert unpadded != 0, name


def test_padding_on_the_left_changes_no_loss():
    for name in LEFT:
        rows = two(name)
        batch = padded(rows, WIDTH, "left")
        if CASES[name].rows == "pairs":
            batch = {part: with_places(inputs) for part, inputs in batch.items()}
        elif name != "causal_lm":  # which computes the positions itself, as `score` does
            batch = with_places(batch)
        assert loss(name, padded(rows, ROW)) == pytest.approx(loss(name, batch), rel=2e-6), name


def test_without_its_mask_padding_is_a_target():
    one = row("text", ROW, 3)
    batch = padded([one], WIDTH)
    del batch["attention_mask"]
    assert abs(loss("causal_lm", batch) - loss("causal_lm", padded([one], ROW))) > 1e-3


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_causal_loss_equals_score(side):
    model = CASES["causal_lm"].model
    batch = padded([row("text", length, 3) for length in (5, 9, 2)], WIDTH, side)
    scores = tj.score(model, **batch)
    total, count = tj.causal_lm(model, batch, None)[1]["loss"]
    np.testing.assert_allclose(total, -scores.log_prob.sum(), rtol=1e-6)
    assert float(count) == scores.count.sum() == 4 + 8 + 1


def test_labels_set_the_targets_except_after_padding():
    model, one = CASES["causal_lm"].model, row("text", ROW, 3)
    batch = padded([one], WIDTH)
    labels = np.where(batch["attention_mask"] > 0, batch["input_ids"], -100)
    ends = labels.copy()
    ends[0, ROW] = 1  # the end of the text, where the padding begins: the target of the last token
    count = lambda batch: float(tj.causal_lm(model, batch, None)[1]["loss"][1])
    assert count({**batch, "labels": labels}) == count(batch) == ROW - 1
    assert count({**batch, "labels": ends}) == ROW
    assert count({**batch, "labels": np.full_like(labels, 1)}) == ROW  # padding predicts nothing
    left = padded([one], WIDTH, "left")
    real_labels = np.where(left["attention_mask"] > 0, left["input_ids"], -100)
    assert count({**left, "labels": real_labels}) == ROW - 1  # the first token has no label


def test_pairs_of_tokens_are_cut_on_both_sides():
    config = CASES["causal_lm"].model.config
    mask = tj.CAUSAL & tj.Dense("edge")
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0), mask=mask)
    ids = np.arange(2 * 6).reshape(2, 6).astype(np.int32) % WORDS
    edges = np.ones((1, 6, 6), bool)
    plain = tj.causal_lm(CASES["causal_lm"].model, {"input_ids": ids}, None)[0]
    actual = tj.causal_lm(model, {"input_ids": ids, "pairs": {"edge": edges}}, None)[0]
    np.testing.assert_allclose(actual, plain, rtol=1e-6)
