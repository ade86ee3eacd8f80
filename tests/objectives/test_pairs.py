"""Contrastive losses of pairs of vectors."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws import objective_cases
from transformers_jax.nn.norm import unit
from transformers_jax.objectives.losses import Loss, objective
from transformers_jax.objectives.pairs import Contrastive

REFERENCE = Path(__file__).parent.parent / "embedding" / "outputs.npz"


@functools.cache
def expected():
    return {name: jnp.asarray(value) for name, value in np.load(REFERENCE).items()}


def vectors(names=("anchor", "positive", "negative")):
    return [expected()[name] for name in names]


def loss(objective, arguments):
    return objective.of(arguments)[0]


def test_losses_and_gradients_are_those_of_the_reference():
    of_anchor = lambda x: loss(tj.contrastive, [x, *vectors()[1:]])
    value, gradient = jax.jit(jax.value_and_grad(of_anchor))(expected()["anchor"])
    np.testing.assert_allclose(value, expected()["contrastive"], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected()["contrastive_gradient"], atol=2e-6)
    nested = tj.matryoshka(tj.contrastive, (8, 4, 2))
    np.testing.assert_allclose(loss(nested, vectors()), expected()["matryoshka"], rtol=1e-6)


def test_the_order_of_pairs_changes_nothing():
    order = np.array([3, 0, 4, 2, 1])
    together = [x[order] for x in vectors()]
    for one in (tj.contrastive, Contrastive(symmetric=True, similarity="dot", scale=0.5)):
        np.testing.assert_allclose(loss(one, together), loss(one, vectors()), rtol=1e-5)
    apart = [together[0], *vectors()[1:]]
    assert abs(loss(tj.contrastive, apart) - loss(tj.contrastive, vectors())) > 0.01


def test_a_dimension_of_matryoshka_is_the_loss_of_the_prefix():
    _, metrics = tj.matryoshka(tj.contrastive, (8, 3), (1.0, 2.0)).of(vectors())
    prefix = [unit(x[:, :3]) for x in vectors()]
    total, count = metrics["loss_3"]
    np.testing.assert_allclose(total / count, loss(tj.contrastive, prefix), rtol=1e-6)
    parts = metrics["loss_8"][0] + 2 * metrics["loss_3"][0]
    np.testing.assert_allclose(metrics["loss"][0], parts, rtol=1e-6)


def test_the_symmetric_loss_is_the_mean_of_both_directions():
    a, b = vectors(("anchor", "positive"))
    both = loss(Contrastive(symmetric=True), [a, b])
    ways = (loss(tj.contrastive, [a, b]) + loss(tj.contrastive, [b, a])) / 2
    np.testing.assert_allclose(both, ways, rtol=1e-6)


def test_training_brings_pairs_together():
    ids = np.random.default_rng(0).integers(0, 16, (6, 4))
    batch = {"anchor": {"ids": ids}, "positive": {"ids": ids[:, ::-1] ^ 1}}
    nested = tj.matryoshka(tj.contrastive, (8, 4))

    def loss_of(table):
        model = lambda ids, key: {"sentence_embedding": table[ids].prod(1)}
        return nested(model, batch, None)[0]

    def step(table, _):
        value, gradient = jax.value_and_grad(loss_of)(table)
        return table - 0.05 * gradient, value

    table = 1 + 0.5 * jax.random.normal(jax.random.key(0), (16, 8))
    _, losses = jax.jit(lambda table: jax.lax.scan(step, table, None, 200))(table)
    assert losses[-1] < losses[0] / 2


def test_an_objective_takes_a_model_of_sentences():
    config = tj.GPT2Config(vocab_size=16, n_positions=4, n_embd=8, n_layer=1, n_head=2)
    model = tj.from_config(config, head="embedding", key=jax.random.key(0), unroll=False)
    ids = np.random.default_rng(0).integers(0, 16, (6, 4))
    total, metrics = objective("contrastive")(
        model, {"anchor": {"input_ids": ids}, "positive": {"input_ids": ids}}, None
    )
    assert metrics["accuracy"] == (6, 6)
    np.testing.assert_allclose(metrics["loss"][0] / 6, total, rtol=1e-6)
    with pytest.raises(ValueError, match="'image_text' compare vectors"):
        objective("contrastive", Loss(z=1e-4))


def test_wrong_arguments_are_refused():
    model = lambda key=None, **inputs: {"logits": inputs["x"]}
    with pytest.raises(ValueError, match=r"the batch has rows, but no anchor and no positive"):
        tj.contrastive(model, {"rows": {}}, None)
    with pytest.raises(ValueError, match="no sentence_embedding; load it with head='embedding'"):
        tj.contrastive(model, {"anchor": {"x": 1}, "positive": {"x": 1}}, None)
    with pytest.raises(ValueError, match="expected different dims"):
        tj.matryoshka(tj.contrastive, (4, 4))
    with pytest.raises(ValueError, match="has no `of"):
        tj.matryoshka(tj.causal_lm, (4,))
    with pytest.raises(ValueError, match=r"dims \(16,\) of vectors that have 8 numbers"):
        tj.matryoshka(tj.contrastive, (16,)).of(vectors())
    with pytest.raises(ValueError, match="expected 'cosine' or 'dot'"):
        Contrastive(similarity="near")
    with pytest.raises(ValueError, match="of one shape"):
        tj.contrastive.of([expected()["anchor"], expected()["positive"][:2]])


# ---------------------------------------------------------------- texts and images


def test_texts_and_images_have_the_loss_of_the_model_itself():
    case = objective_cases.CASES["image_text"]
    batch = objective_cases.batch(case)
    loss, sums = tj.image_text(case.model, batch, None)
    expected_loss = case.model(**batch, return_loss=True).loss
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    assert sums["accuracy"][1] == len(batch["input_ids"])
    other = dict(batch, pixel_values=batch["pixel_values"][::-1])
    assert abs(tj.image_text(case.model, other, None)[0] - expected_loss) > 1e-6  # the control
    with pytest.raises(ValueError, match=r"train it by tj\.image_text"):
        tj.supervised(case.model, batch, None)
