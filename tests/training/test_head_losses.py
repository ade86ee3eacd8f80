"""The losses of a step are those of the heads."""

import numpy as np

from transformers_jax.objectives import causal_lm, supervised


def test_the_causal_loss_is_that_of_the_head(model):
    ids = np.arange(22).reshape(2, 11) % 37
    loss, metrics = causal_lm(model, {"input_ids": ids}, None)
    total, weight = metrics["loss"]
    assert float(weight) == 20
    np.testing.assert_allclose(loss, model(input_ids=ids, labels=ids).loss, rtol=1e-5)
    np.testing.assert_allclose(total / weight, loss, rtol=1e-6)


def test_ignored_labels_do_not_count(model):
    ids = np.arange(22).reshape(2, 11) % 37
    labels = np.where(np.arange(2)[:, None] == 0, ids, -100)
    loss, metrics = causal_lm(model, {"input_ids": ids, "labels": labels}, None)
    single, _ = causal_lm(model, {"input_ids": ids[:1]}, None)
    both, _ = causal_lm(model, {"input_ids": ids}, None)
    assert float(metrics["loss"][1]) == 10
    np.testing.assert_allclose(loss, single, rtol=1e-5)
    assert abs(float(loss - both)) > 1e-5


def test_any_head_can_be_trained_by_its_own_loss(model):
    ids = np.arange(22).reshape(2, 11) % 37
    labels = np.where(ids % 2, ids, -100)
    loss, metrics = supervised(model, {"input_ids": ids, "labels": labels}, None)
    np.testing.assert_allclose(loss, model(input_ids=ids, labels=labels).loss, rtol=1e-6)
    assert float(metrics["loss"][1]) == (labels[:, 1:] != -100).sum()
