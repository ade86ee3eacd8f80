"""The tokens of `generate` equal those of PyTorch's transformers (fixtures: make_parity.py)."""

import functools
import json
import pathlib

import numpy as np
import pytest

import transformers_jax as tj

HERE = pathlib.Path(__file__).parent / "parity"
CALLS = [
    (name, number)
    for name in ("gpt2", "t5")
    for number in range(len(json.loads((HERE / name / "calls.json").read_text())))
]


@functools.cache
def case(name):
    calls = json.loads((HERE / name / "calls.json").read_text())
    with np.load(HERE / name / "expected.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return tj.from_pretrained(HERE / name), calls, arrays


def run(name, number, **more):
    model, calls, arrays = case(name)
    inputs = {key: arrays[key] for key in ("input_ids", "attention_mask")}
    return tj.generate(model, **inputs, **calls[number], return_dict_in_generate=True, **more)


@pytest.mark.parametrize(("name", "number"), CALLS)
def test_tokens_equal_those_of_transformers(name, number):
    out, arrays = run(name, number), case(name)[2]
    np.testing.assert_array_equal(out.sequences, arrays[f"{number}"])
    if f"{number}_scores" in arrays:  # float32 log-probabilities, summed over up to 12 tokens
        np.testing.assert_allclose(out.sequences_scores, arrays[f"{number}_scores"], atol=2e-5)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_scores_equal_those_of_transformers(name):
    out, expected = run(name, 0, output_scores=True), case(name)[2]["first_scores"]
    assert len(out.scores) == len(expected)
    for scores, step in zip(out.scores, expected):
        going = np.abs(step) < 1e9
        np.testing.assert_allclose(np.where(going, scores, 0), np.where(going, step, 0), atol=2e-4)


def test_the_fixtures_distinguish_the_options():
    """The negative control: the options matter, so a dropped one would be seen."""
    for name in ("gpt2", "t5"):
        _, calls, arrays = case(name)
        rows = {arrays[str(n)].tobytes() for n in range(len(calls))}
        assert len(rows) >= 0.6 * len(calls)
