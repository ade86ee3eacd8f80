"""A linear probe: the exact last layer, and one that is trained by gradients."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews
from tests.tasks.test_sequences import TEXTS, batch_of, corpus_of, model_for
from transformers_jax.data.config import Table
from transformers_jax.nn.param import flatten, params, unflatten
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import (
    MultiLabel,
    Regression,
    SequenceClassification,
    TokenClassification,
)
from transformers_jax.tasks.base import TaskObjective
from transformers_jax.tasks.linear import solve
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.probe import BIAS, WEIGHT, check_probe, features, in_rows

MANY = [*TEXTS, "a nice plot", "the very awful film"]
TABLES = {
    "two classes": (SequenceClassification(), ["a", "b", "a", "b", "b", "a"]),
    "three classes": (SequenceClassification(), ["a", "b", "a", "c", "b", "c"]),
    "weights": (SequenceClassification(balanced=True), ["a", "b", "a", "c", "a", "a"]),
    "labels": (MultiLabel(), ["a|b", "b", "", "a|b", "a", "b"]),
    "numbers": (Regression(), [0.5, 2, 3, -1.25, 0, 4]),
}


PENALTY = 0.05


def still(encoder, corpus):
    """A model without dropout."""
    model = model_for(encoder, corpus)
    quiet = model.config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    fresh = tj.from_config(quiet, head=model.plan.head, key=jax.random.key(0))
    return tj.bind(fresh, params(model))


@pytest.fixture(scope="module")
def read(encoder):
    """(the features of the texts, the model with a probe, a batch with empty rows, the corpus)."""
    corpus = corpus_of(encoder, *TABLES["three classes"], MANY)
    model, batch = tj.adapt(still(encoder, corpus), tj.Probe()), batch_of(corpus, 8)
    found = features(model.abstract(), params(model), corpus.task, [batch], None, 8)
    x, rows = in_rows(found, corpus.train)
    assert len(rows) == len(MANY)
    return x, model, batch, corpus


def layer_of(x, corpus):
    """The exact last layer for a table, by path."""
    labels, count = corpus.train.references, max(len(corpus.form.classes), 1)
    last = solve(corpus.task, x, labels, count, PENALTY, True)
    return {WEIGHT: jnp.float32(last.weight), BIAS: jnp.float32(last.bias)}, last.loss


@pytest.mark.parametrize("name", ["two classes", "weights", "labels", "numbers"])
def test_the_exact_layer_has_no_gradient(encoder, read, name):
    """Empty rows count for nothing. With another penalty (the control) there is a gradient."""
    corpus = corpus_of(encoder, *TABLES[name], MANY)
    batch, x = batch_of(corpus, 8), np.concatenate([read[0], np.ones((2, 16))])
    layer, reported = layer_of(read[0], corpus)

    def loss(layer, penalty):
        logits = jnp.float32(x) @ layer[WEIGHT] + layer[BIAS]
        mean, _ = corpus.task.compare(tj.Output(logits=logits), batch)
        return mean + penalty / 2 * jnp.square(layer[WEIGHT]).sum()

    assert float(loss(layer, 0.0)) == pytest.approx(reported, rel=1e-5)
    gradient = jax.grad(loss)(layer, PENALTY)
    assert max(float(jnp.abs(part).max()) for part in gradient.values()) < 1e-5
    assert float(jnp.abs(jax.grad(loss)(layer, 2 * PENALTY)[WEIGHT]).max()) > 1e-3


def test_gradients_arrive_where_the_exact_solution_is(read):
    x, model, batch, corpus = read
    layer, _ = layer_of(x, corpus)
    assert set(flatten(tj.partition(model)[0])) == {WEIGHT, BIAS}

    def objective(model, batch, key):
        loss, sums = TaskObjective(corpus.task)(model, batch, key)
        cost = PENALTY / 2 * jnp.square(flatten(params(model))[WEIGHT]).sum()
        total, count = sums["loss"]
        return loss + cost, {"loss": (total + cost * count, count)}

    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 600))
    step = tj.make_step(model, objective, optimizer)
    state = tj.init_state(model, optimizer, jax.random.key(0))
    for _ in range(600):
        state, _ = step(state, batch)
    inputs = corpus.task.inputs({key: value[:6] for key, value in batch.items()})
    logits = [
        tj.bind(model, unflatten({**flatten(params(model)), **values}))(**inputs).logits
        for values in (flatten(state.params), layer, {})
    ]
    assert np.allclose(logits[1], x @ np.asarray(layer[WEIGHT]) + layer[BIAS], atol=1e-5)
    shares = [jax.nn.softmax(one) for one in logits]  # a number for all classes changes nothing
    assert np.allclose(shares[0], shares[1], atol=1e-3)
    assert not np.allclose(shares[2], shares[1], atol=0.1)  # the control


@pytest.mark.parametrize("solver", ["exact", "gradient"])
def test_a_run_of_a_probe_exports_the_model_with_its_head(encoder, tmp_path, solver, capsys):
    train, held_out = reviews(160), reviews(40, seed=1)
    more = {} if solver == "exact" else {"learning_rate": 1e-2}
    run = finetune(
        encoder, "sequence_classification", train, held_out, adapter=tj.Probe(solver=solver),
        out=str(tmp_path / "run"), epochs=1, rows="padded", length=16, **more,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "random features" in said
    assert "pooler.weight" in said
    assert ("solved head.classify.weight for 160 rows of 16 features" in said) == (
        solver == "exact"
    )
    assert {"accuracy", "loss", "f1_macro"} <= run.metrics.keys()
    lines = run.fitted.metrics
    assert (len([one for one in lines if "eval_loss" in one]), lines[-1]["step"]) == (
        (1, 1) if solver == "exact" else (1, 5)
    )
    assert not (run.folder / "adapter").exists()
    shown = json.loads((run.folder / "figure.json").read_text())
    assert (shown["kind"], np.sum(shown["counts"])) == ("confusion", 40)
    model = tj.from_pretrained(run.folder / "model")
    assert model.plan.head == "sequence_classification"
    assert model.config.id2label["1"] == "pos"
    before, after = (flatten(params(one)) for one in (tj.from_pretrained(encoder), model))
    backbone = [path for path in before if path in after]
    assert len(backbone) > 10
    assert all((before[path] == after[path]).all() for path in backbone)
    assert tj.evaluate(run.folder, held_out)["accuracy"] == run.metrics["accuracy"]
    assert [one["label"] for one in tj.predict(run.folder / "model", held_out)] == [
        one["label"] for one in tj.predict(run.folder, held_out)
    ]


def test_a_task_that_is_not_solved_says_what_to_do():
    config = TrainConfig(
        objective=TokenClassification(), data=Table(train="t"), init_from="x", adapter=tj.Probe()
    )
    with pytest.raises(ValueError, match=r"--adapter\.solver gradient"):
        check_probe(config)
    check_probe(config.replace(adapter=tj.Probe(solver="gradient")))  # the advice


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tj.Probe(penalty=-1.0), "must be at least 0"),
        (lambda: tj.Probe(solver="gradient", penalty=0.1), "--optimizer.weight-decay"),
        (lambda: solve(SequenceClassification(), np.eye(3), [0, 0, 1], 3, 1.0, True), "number 2"),
        (lambda: solve(MultiLabel(), np.eye(2), [[1, 0], [1, 1]], 2, 1.0, True), "number 0"),
    ],
)
def test_what_has_no_solution_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_probe_of_weights_that_no_one_has_trained_is_refused():
    with pytest.raises(ValueError, match="from_scratch draws its weights anew"):
        TrainConfig(init_from="some", from_scratch=True, adapter=tj.Probe())
