"""Which parameters decay, and how fast one learns when."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from transformers_jax.nn.param import axes, flatten
from transformers_jax.objectives import causal_lm, supervised
from transformers_jax.optim import AdamW, is_matrix, matrices, warmup_cosine


def test_matrices_are_told_by_the_names_of_their_axes():
    assert is_matrix(("layers", "embed", "heads", "kv"))
    assert is_matrix(("vocab", "embed"))
    assert is_matrix(("layers", "experts", "embed", "mlp"))
    assert not is_matrix(("layers", "heads", "kv"))  # a bias, although it has three axes
    assert not is_matrix(("layers", "kv_heads", "kv"))
    assert not is_matrix(("layers", "embed"))


def test_biases_and_norms_of_a_model_do_not_decay(model):
    decays = flatten(matrices(axes(model)))
    vectors = {name for name, matrix in decays.items() if not matrix}
    assert all(name.endswith(("bias", "scale", "shift")) for name in vectors)
    assert decays["embed.table"]
    assert decays["stack.blocks.0.self.query"]


def test_one_step_is_that_of_optax_adamw_with_the_decay_mask():
    params = {"w": jnp.ones((3, 5)), "b": jnp.ones(5)}
    grads = {"w": jnp.full((3, 5), 0.3), "b": jnp.full(5, -0.2)}
    names = {"w": ("embed", "mlp"), "b": ("mlp",)}
    record = AdamW(learning_rate=0.1, final_rate=0.1, warmup=0, weight_decay=0.5)
    ours = record.build(names, 10).transformation
    theirs = optax.adamw(0.1, b1=0.9, b2=0.95, weight_decay=0.5, mask={"w": True, "b": False})
    wrong = optax.adamw(0.1, b1=0.9, b2=0.95, weight_decay=0.5)

    def step(transformation):
        updates, _ = transformation.update(grads, transformation.init(params), params)
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(updates)])

    np.testing.assert_allclose(step(ours), step(theirs), rtol=1e-6)
    assert np.abs(step(ours) - step(wrong)).max() > 1e-3


def test_the_rate_rises_to_its_peak_and_falls_to_its_end():
    rate = warmup_cosine(peak=1.0, warmup=5, steps=105, final=0.1)
    assert float(rate(0)) == pytest.approx(0.2)
    assert float(rate(4)) == pytest.approx(1.0)
    assert float(rate(55)) == pytest.approx(0.55, abs=1e-3)
    assert float(rate(105)) == float(rate(10_000)) == pytest.approx(0.1)


def test_the_causal_loss_is_the_one_that_the_head_computes(model):
    ids = np.arange(22).reshape(2, 11) % 37
    loss, metrics = causal_lm(model, {"input_ids": ids}, None)
    total, weight = metrics["loss"]
    assert float(weight) == 20
    np.testing.assert_allclose(loss, model(input_ids=ids, labels=ids).loss, rtol=1e-5)
    np.testing.assert_allclose(total / weight, loss, rtol=1e-6)


def test_answers_that_are_not_asked_for_do_not_count(model):
    ids = np.arange(22).reshape(2, 11) % 37
    labels = np.where(np.arange(2)[:, None] == 0, ids, -100)
    loss, metrics = causal_lm(model, {"input_ids": ids, "labels": labels}, None)
    alone, _ = causal_lm(model, {"input_ids": ids[:1]}, None)
    both, _ = causal_lm(model, {"input_ids": ids}, None)
    assert float(metrics["loss"][1]) == 10
    np.testing.assert_allclose(loss, alone, rtol=1e-5)
    assert abs(float(loss - both)) > 1e-5


def test_any_head_can_be_trained_by_its_own_loss(model):
    ids = np.arange(22).reshape(2, 11) % 37
    labels = np.where(ids % 2, ids, -100)
    loss, metrics = supervised(model, {"input_ids": ids, "labels": labels}, None)
    np.testing.assert_allclose(loss, model(input_ids=ids, labels=labels).loss, rtol=1e-6)
    assert float(metrics["loss"][1]) == (labels != -100).sum()
