"""`generate` with options that are processors writes what transformers does (fixtures:
make_processors.py)."""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

import transformers_jax as tj

HERE = pathlib.Path(__file__).parent
CALLS = json.loads((HERE / "processors" / "written.json").read_text())


@functools.cache
def case():
    with np.load(HERE / "processors" / "expected.npz") as file:
        arrays = {key: file[key] for key in file.files if "_" in key}
    with np.load(HERE / "parity" / "gpt2" / "expected.npz") as file:
        inputs = {key: file[key] for key in ("input_ids", "attention_mask")}
    return tj.from_pretrained(HERE / "parity" / "gpt2"), inputs, arrays


def run(number):
    model, inputs, arrays = case()
    call = {"max_new_tokens": 9, "do_sample": False, **CALLS[number]}
    if call.pop("negative", False):
        call["negative_prompt_ids"] = arrays["negative_prompt_ids"]
    if call["do_sample"]:
        call["key"] = jax.random.key(0)
    rows = slice(0, 1) if "encoder_repetition_penalty" in call else slice(0, 3)
    inputs = {key: array[rows] for key, array in inputs.items()}
    return tj.generate(model, **inputs, **call, return_dict_in_generate=True, output_scores=True)


QUICK = (0, 1, 2, 4, 6, 7, 8, 10)  # the others are of processors that were compared by themselves


@pytest.mark.parametrize(
    "number",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(len(CALLS))],
)
def test_texts_and_scores_are_those_of_transformers(number):
    """Of a draw the scores that it is made of: the noise is another."""
    out, arrays = run(number), case()[2]
    expected = arrays[f"written_{number}_scores"]
    if not CALLS[number].get("do_sample"):
        np.testing.assert_array_equal(out.sequences, arrays[f"written_{number}"])
    scores = np.stack(out.scores)[: len(expected)]
    np.testing.assert_array_equal(np.isneginf(scores), np.isneginf(expected))
    held = np.isfinite(expected) & (expected > -1e20)
    if CALLS[number].get("num_beams", 1) == 1 and len(expected) > 1:  # ended rows go on there
        text = np.asarray(out.sequences)[:, -len(expected) :].T
        held &= (np.cumsum(text == 60, axis=0) == 0)[..., None]
    np.testing.assert_allclose(scores[held], expected[held], rtol=2e-4, atol=2e-4)


def test_the_calls_differ():
    """The negative control: an option that is dropped would be seen."""
    model, inputs, arrays = case()
    plain = tj.generate(model, **inputs, max_new_tokens=9)
    for number, call in enumerate(CALLS):
        if not call.get("do_sample") and "encoder_repetition_penalty" not in call:
            assert not np.array_equal(plain, arrays[f"written_{number}"]), call
