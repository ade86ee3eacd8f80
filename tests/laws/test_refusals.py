"""Malformed inputs are refused alike: by a call, inside `jax.jit` and in a step of training.

Names, shapes and dtypes are known under every transformation of JAX, so a call that is traced may
say no less than one that is not. Each case is a whole, well-formed call of which one argument is
exchanged for a malformed one.
"""

import jax
import jax.numpy as jnp
import optax
import pytest

import transformers_jax as tj
from tests.laws import objective_cases
from tests.laws.malformed import number, real
from tests.laws.refusal_cases import CASES, ENCODED, INVALID_CALLS, TOKENS, B, T
from tests.laws.refusal_models import S, model_of
from transformers_jax.inputs.arguments import FLAGS


def sentence(call):
    """The error message of a call, or None; it must come from the package."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def as_arrays(inputs):
    return jax.tree.map(lambda x: x if isinstance(x, bool) else jnp.asarray(x), inputs)


@pytest.mark.parametrize(("family", "head"), CASES, ids=lambda name: name)
def test_what_is_malformed_is_refused_alike_whether_traced_or_not(family, head):
    model, (whole, wrongs) = model_of(family, head), CASES[family, head]
    trace = lambda inputs: jax.eval_shape(lambda arguments: model(**arguments), inputs)
    trace(whole)  # the control: as it should be it passes
    model.check_batch(whole)
    for argument, malformed in wrongs.items():
        for what, value in malformed.items():
            inputs = as_arrays({**whole, argument: value})
            message = sentence(lambda arguments=inputs: model(**arguments))
            assert message, f"{argument} ({what}) is taken"
            assert sentence(lambda arguments=inputs: trace(arguments)) == message, (
                f"{argument} ({what})"
            )
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)
            assert sentence(lambda arguments=shapes: model.check_batch(arguments)) == message


@pytest.mark.parametrize("what", INVALID_CALLS)
def test_what_does_not_go_together_is_refused_alike(what):
    family, head, inputs = INVALID_CALLS[what]
    model = model_of(family, head)
    inputs = {name: x() if callable(x) else as_arrays(x) for name, x in inputs.items()}
    flags = {name: inputs.pop(name) for name in inputs.keys() & FLAGS}
    message = sentence(lambda: model(**inputs, **flags))
    assert message
    assert (
        sentence(lambda: jax.eval_shape(lambda arguments: model(**arguments, **flags), inputs))
        == message
    )


@pytest.mark.parametrize("wrong", ["input_ids", "tags", "attention_mask"])
def test_a_source_next_to_a_cache_that_holds_one_is_refused_alike(wrong):
    model = model_of("t5", "none")
    mask = 1 + 0 * number(B, S)
    cache = tj.init_cache(model, B, 4, encoder_outputs=ENCODED, attention_mask=mask)
    whole = {"decoder_input_ids": number(B, 1), "cache": cache, "attention_mask": mask}
    run = lambda arguments: model(**arguments)
    jax.eval_shape(run, whole)
    values = {"input_ids": number(B, S), "tags": {"position": number(B, S)}}
    inputs = as_arrays({**whole, **values, wrong: values.get(wrong, number(B, 1))})
    inputs = {name: x for name, x in inputs.items() if name in (*whole, wrong)}
    message = sentence(lambda: run(inputs))
    assert wrong in message
    assert sentence(lambda: jax.eval_shape(run, inputs)) == message


FUNCTIONS = {
    "features": lambda model, **arguments: tj.features(model, **arguments),
    "score": lambda model, **arguments: tj.score(model, **arguments).log_prob,
    "encode": lambda model, **arguments: model.encode(**arguments).last_hidden_state,
}
FUNCTION_CASES = {
    "features": ("bert", "masked_lm", {"attention_mask": number(B, 1)}),
    "score": ("llama", "causal_lm", {"labels": number(B, 1)}),
    "encode": ("bart", "seq2seq_lm", {"attention_mask": real(B, T)}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_over_a_model_refuse_what_the_model_refuses(name):
    family, head, wrong = FUNCTION_CASES[name]
    model, whole = model_of(family, head), TOKENS
    run = lambda arguments: FUNCTIONS[name](model, **arguments)
    jax.eval_shape(run, whole)
    for inputs in (as_arrays({**whole, **wrong}), as_arrays({**whole, "input_ids": real(B, T)})):
        message = sentence(lambda arguments=inputs: run(arguments))
        assert message
        assert sentence(lambda arguments=inputs: jax.eval_shape(run, arguments)) == message


def test_a_cache_accepts_only_a_source_that_fits():
    model = model_of("t5", "none")
    make = lambda rows, mask: tj.init_cache(
        model, rows, 4, encoder_outputs=ENCODED, attention_mask=mask
    )
    make(B, number(B, S))
    for rows, mask, words in (
        (3, number(B, S), "encoder_outputs have 2 rows, but batch is 3"),
        (B, number(B, 1), r"attention_mask has shape \(2, 1\)"),
        (B, real(B, S), "attention_mask must hold integers or booleans"),
    ):
        for call in (make, jax.jit(make, static_argnums=0)):
            with pytest.raises(ValueError, match=words):
                call(rows, mask)


TRANSFORMED = {
    "jit": lambda model, inputs: jax.jit(lambda arguments: model(**arguments).loss)(inputs),
    "vmap": lambda model, inputs: jax.vmap(lambda arguments: model(**arguments).loss)(
        jax.tree.map(lambda x: x[None], inputs)
    ),
    "checkpoint": lambda model, inputs: jax.checkpoint(lambda arguments: model(**arguments).loss)(
        inputs
    ),
    "grad": lambda model, inputs: jax.grad(lambda p: tj.functional(model)[0](p, **inputs).loss)(
        tj.functional(model)[1]
    ),
}


@pytest.mark.parametrize("transformation", TRANSFORMED)
def test_no_transformation_takes_what_a_call_refuses(transformation):
    model = model_of("gpt2", "sequence_classification")
    run = lambda labels: TRANSFORMED[transformation](model, as_arrays({**TOKENS, "labels": labels}))
    message = r"labels has shape \(1,\); expected \(2,\) for 2 rows of input"
    with pytest.raises(ValueError, match=message):
        run(number(1))


def test_a_step_refuses_what_a_call_refuses():
    model = model_of("llama", "causal_lm")
    optimizer = optax.sgd(0.1)
    step = tj.make_step(model, tj.supervised, optimizer)
    state = jax.eval_shape(lambda key: tj.init_state(model, optimizer, key), jax.random.key(0))
    whole = {**TOKENS, "labels": number(B, T)}
    step.trace(state, whole)
    for argument, value in (
        ("labels", number(B, 1)),
        ("labels", number(1, T)),
        ("attention_mask", number(B, 1)),
        ("attention_mask", real(B, T)),
        ("tags", {"document": number(B, T)}),
        ("token_type_ids", number(B, T)),
    ):
        message = sentence(lambda arguments={**whole, argument: value}: model(**arguments))
        assert message
        assert (
            sentence(lambda arguments={**whole, argument: value}: step.trace(state, arguments))
            == message
        )


KINDS = ("sequence_classification", "image_classification", "audio_classification")
KINDS += ("colour_classification",)
LABELS = {"labels", "next_sentence_label", "start_positions", "end_positions"}
WITHOUT_LABELS = ("pairs", "image_text", "masked_image_modeling", "image_autoencoding")
CLASSES = [  # all but those without labels, and those whose labels are real numbers
    name
    for name, case in objective_cases.CASES.items()
    if case.rows not in (*WITHOUT_LABELS, "number", "several", "denoising")
    and case.family != "switch_transformers"
]


@pytest.mark.parametrize("name", CLASSES)
def test_objectives_refuse_labels_that_are_no_integers(name):
    case = objective_cases.CASES[name]
    model, rows = case.model, objective_cases.batch(case)
    whole = {"labels": rows["input_ids"], **rows} if case.rows == "text" else dict(rows)
    if case.head == "seq2seq_lm":
        whole["decoder_input_ids"] = 0 * whole["labels"]
    whole = jax.tree.map(lambda x: jnp.asarray(x[:2]), whole)
    run = lambda arguments: case.objective(model, arguments, None)[0]
    jax.eval_shape(run, whole)  # the control
    for argument in LABELS & whole.keys():
        # a number for each class is a label of another kind, where the config says no kind
        for dtype in (bool, jnp.float32)[case.rows in KINDS :]:
            arguments = {**whole, argument: whole[argument].astype(dtype)}
            message = sentence(lambda arguments=arguments: run(arguments))
            if case.rows in KINDS:
                assert message.startswith(f"{argument} has shape")
            else:
                dtype = jnp.dtype(dtype)
                assert message == f"{argument} must hold integers, but its dtype is {dtype}"
            assert sentence(lambda arguments=arguments: jax.eval_shape(run, arguments)) == message
