"""A model of 64 bits computes its losses in 64 bits: nothing of float64 becomes float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import transformers_jax as tj
from tests.laws.objective_cases import CASES, CONFIGS, Quiet, batch
from transformers_jax.models.base import Plan
from transformers_jax.models.electra_pretraining import ReplacedTokenDetectionPlan
from transformers_jax.nn.param import merge, split


def of(name, definition, width):
    """The (loss, metrics) of a case as a function of the parameters; labels that are numbers are
    as wide as they are."""
    case = CASES[name]
    rows = jax.tree.map(lambda x: x.astype(width) if x.dtype == np.float32 else x, batch(case))
    objective = Quiet(case.objective)  # noise is of 32 bits in models of any width
    return lambda values: objective(merge(definition, values), rows, None)


def losses(name, width):
    """(the function above, parameters) of a model of so wide floats."""
    definition, values = split(CASES[name].model)
    values = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), width), values)
    return of(name, definition, width), values


def abstract(case):
    """The model of a case without arrays."""
    if case.head == "replaced_token_detection":
        return ReplacedTokenDetectionPlan(
            CONFIGS["electra"], "replaced_token_detection", fraction=1.0
        ).build()
    if case.head == "embedding":
        return case.model
    options = dict(case.options)
    mask = options.pop("mask", None)
    return Plan(CONFIGS[case.family].replace(**options), case.head, mask=mask).build()


def narrowed(jaxpr):
    """The shapes of what a program, with all that it calls, makes float32 of float64, but for
    Python's numbers."""
    shapes = [
        eqn.outvars[0].aval.shape
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "convert_element_type"
        and not eqn.invars[0].aval.weak_type
        and (eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype) == (np.float64, np.float32)
    ]
    inner = [part for eqn in jaxpr.eqns for part in jaxprs_in_params(eqn.params)]
    return shapes + [shape for part in inner for shape in narrowed(part)]


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_64_bits_has_losses_of_64_bits_and_narrows_nothing(name):
    with jax.enable_x64(True):
        definition, values = split(abstract(CASES[name]))
        values = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float64), values)
        loss = jax.value_and_grad(of(name, definition, "float64"), has_aux=True)
        program, shapes = jax.make_jaxpr(loss, return_shape=True)(values)
        assert narrowed(program.jaxpr) == []
        control = jax.make_jaxpr(lambda x: jnp.sin(x.astype("float32")))(np.float64(1))
        assert narrowed(control.jaxpr) == [()]
    (value, metrics), _ = shapes
    losses = metrics["loss"]
    parts = losses.values() if isinstance(losses, dict) else [losses]
    assert {value.dtype, *(total.dtype for total, _ in parts)} == {np.dtype("float64")}


VALUES = ["contrastive", "contrastive-matryoshka", "replaced_token", "supervised-regression"]


@pytest.mark.parametrize("name", VALUES)
def test_the_loss_of_64_bits_is_that_of_32_with_more_digits(name):
    with jax.enable_x64(True):
        single, double = (
            jax.jit(function)(values)[0]
            for function, values in (losses(name, width) for width in ("float32", "float64"))
        )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert float(single) == pytest.approx(float(double), rel=1e-5)
    assert float(double) != float(np.float32(double))  # it has the digits, and is not only widened


@pytest.mark.parametrize("width", ["float32", "float64"])
def test_scores_and_similarities_have_the_width_of_the_model(width):
    with jax.enable_x64(True):
        for name in ("causal_lm", "masked_lm", "seq2seq_lm"):
            definition, values = split(CASES[name].model)
            values = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), width), values)
            rows = {name: x[:1] for name, x in batch(CASES[name]).items()}
            hidden = {"mask_token_id": 3} if name == "masked_lm" else {}
            scores = tj.score(merge(definition, values), **rows, **hidden)
            for field in ("token_log_probs", "log_prob", "perplexity"):
                assert scores[field].dtype == width, (name, field)
        vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(width)
        for how in ("cosine", "dot", "euclidean", "manhattan"):
            assert tj.similarity(vectors, vectors[:2], how).dtype == width
    assert tj.similarity(vectors, [[1, 2, 3, 4]], "dot").dtype == np.float32
