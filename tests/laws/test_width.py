"""A model of 64 bits computes its losses in 64 bits: nothing of float64 becomes float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import transformers_jax as tj
from tests.laws.objective_cases import CASES, Quiet, batch
from transformers_jax.nn.param import merge, split


def losses(name, width):
    """(function of the parameters that computes (loss, metrics) of a case, the parameters) of a
    model of so wide floats, and rows with as wide numbers as labels."""
    case = CASES[name]
    definition, values = split(case.model)
    values = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), width), values)
    rows = jax.tree.map(lambda x: x.astype(width) if x.dtype == np.float32 else x, batch(case))
    objective = Quiet(case.objective)  # noise is of 32 bits in models of any width
    return lambda values: objective(merge(definition, values), rows, None), values


def narrowed(jaxpr):
    """The shapes of what a program, with all that it calls, makes float32 of float64."""
    found = [
        eqn.outvars[0].aval.shape
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "convert_element_type"
        and (eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype) == (np.float64, np.float32)
    ]
    inner = [part for eqn in jaxpr.eqns for part in jaxprs_in_params(eqn.params)]
    return found + [shape for part in inner for shape in narrowed(part)]


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_64_bits_has_losses_of_64_bits_and_narrows_nothing(name):
    with jax.enable_x64(True):
        function, values = losses(name, "float64")
        program = jax.make_jaxpr(jax.value_and_grad(function, has_aux=True))(values)
        loss, metrics = jax.eval_shape(function, values)
        assert narrowed(program.jaxpr) == []
        control = jax.make_jaxpr(lambda x: jnp.sin(x.astype("float32")))(np.float64(1))
        assert narrowed(control.jaxpr) == [()]
    assert loss.dtype == np.float64
    told = metrics["loss"]
    assert {x.dtype for x, _ in (told.values() if isinstance(told, dict) else [told])} == {
        loss.dtype
    }


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
            found = tj.score(merge(definition, values), **rows, **hidden)
            for field in ("token_log_probs", "log_prob", "perplexity"):
                assert found[field].dtype == width, (name, field)
        vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(width)
        for how in ("cosine", "dot", "euclidean", "manhattan"):
            assert tj.similarity(vectors, vectors[:2], how).dtype == width
    assert tj.similarity(vectors, [[1, 2, 3, 4]], "dot").dtype == np.float32
