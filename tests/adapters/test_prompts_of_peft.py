"""Virtual tokens of PEFT: what PyTorch computes with them, and their files, byte for byte.

The fixtures were made by `make_prompts.py`, over models of tests/conformance/cases.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.adapting.files import tensors
from transformers_jax.models.adapters.resolve import resolved
from transformers_jax.nn.param import combine, flatten, params

FIXTURES = Path(__file__).parent / "prompts"
CASES = Path(__file__).parents[1] / "conformance" / "cases"
QUICK = ("gpt2-prompt", "gpt2-prefix", "llama-prefix", "bert-prompt", "t5-prompt", "t5-prefix")
EVERY = sorted(path.name for path in FIXTURES.iterdir())
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
WRITERS = ["gpt2-prompt", "gpt2-prefix", pytest.param("llama-prefix", marks=pytest.mark.slow)]

_models = {}


def base_of(name):
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    if case not in _models:
        _models[case] = tj.from_pretrained(CASES / case)
    return _models[case]


def call_of(name):
    """(the model with virtual tokens, its arguments, what PyTorch computes, where it counts)."""
    base = base_of(name)
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    with np.load(CASES / case / "inputs.npz") as file:
        inputs = {n: x for n, x in file.items() if n in base.arguments() and n != "labels"}
    with np.load(FIXTURES / name / "outputs.npz") as file:
        expected = dict(file.items())
    with np.load(CASES / case / "outputs.npz") as file:
        mask, expected["without"] = file.get("logits__valid"), file["logits"]
    mask = np.ones(1) if mask is None else mask[..., None]
    return tj.load_adapter(base, FIXTURES / name), inputs, expected, mask


@pytest.mark.parametrize("name", NAMES)
def test_virtual_tokens_compute_what_they_do_in_pytorch(name):
    model, inputs, expected, mask = call_of(name)
    logits, scale = model(**inputs).logits, max(1.0, np.abs(expected["logits"]).max())
    np.testing.assert_allclose(logits * mask, expected["logits"] * mask, atol=1e-5 * scale, rtol=0)
    assert np.abs((expected["without"] - expected["logits"]) * mask).max() > 1e-2


@pytest.mark.parametrize("name", WRITERS)
def test_generated_texts_are_those_of_pytorch(name):
    model, inputs, expected, _ = call_of(name)
    ids = inputs["input_ids"][:, :7]
    text = tj.generate(model, ids, max_new_tokens=6, eos_token_id=None)
    np.testing.assert_array_equal(text[:, 7:], expected["text"])
    without = tj.generate(base_of(name), ids, max_new_tokens=6, eos_token_id=None)
    assert (np.asarray(without) != text).any()


@pytest.mark.parametrize("name", EVERY)
def test_virtual_tokens_are_written_as_they_were_byte_for_byte(name, tmp_path):
    tj.save_adapter(tj.load_adapter(base_of(name), FIXTURES / name), tmp_path)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / file).read_bytes() == (FIXTURES / name / file).read_bytes(), file


@pytest.mark.parametrize("name", ["gpt2-prompt", "t5-prefix"])
def test_virtual_tokens_have_the_gradients_of_pytorch(name):
    model, inputs, expected, mask = call_of(name)
    apply, _ = tj.functional(model)
    trained, frozen = tj.partition(model)

    def loss(trained):
        logits = apply(combine(trained, frozen), **inputs).logits
        return (logits * jnp.linspace(-1, 1, logits.size).reshape(logits.shape) * mask).sum()

    grads = {path: np.asarray(x) for path, x in flatten(jax.jit(jax.grad(loss))(trained)).items()}
    shapes = {path: x.shape for path, x in flatten(params(model)).items()}
    known = resolved(model.plan, model.plan.adapter)
    (rows,) = tensors(model.plan.adapter, known, shapes)["prompt_embeddings"]
    scale = max(1.0, np.abs(expected["gradient"]).max())
    np.testing.assert_allclose(rows.written(grads), expected["gradient"], atol=2e-5 * scale, rtol=0)
