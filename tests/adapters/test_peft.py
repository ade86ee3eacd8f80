"""Adapters of PEFT: what PyTorch computes with them, and their files, byte for byte.

The fixtures were made by `make_fixtures.py`, over models of tests/conformance/cases.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.adapting.tensors import PREFIX, cells
from transformers_jax.models.adapters.resolve import resolved
from transformers_jax.nn.param import combine, flatten, params

FIXTURES = Path(__file__).parent / "fixtures"
CASES = Path(__file__).parents[1] / "conformance" / "cases"
NAMES = sorted(path.name for path in FIXTURES.iterdir())
TIED = {"gpt2-table"}  # embeddings that are the output embedding as well

GRADIENTS = ("gpt2-dora", "gpt2-ia3", "bart-lora", "switch-experts", "llama-tables")

LATE = {
    "switch-parameters", "llama-dora", "bert-ia3", "gpt2-lora", "deberta-v2-lora", "vit-lora",
}  # fmt: skip
"""A slow matrix: what others of the same kind, or of the same family, show as well."""

_models = {}


def base_of(name):
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    if case not in _models:
        _models[case] = tj.from_pretrained(CASES / case)
    return _models[case]


def call_of(name):
    """(the adapted model, its arguments, what PyTorch computes)."""
    base = base_of(name)
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    with np.load(CASES / case / "inputs.npz") as file:
        inputs = {n: x for n, x in file.items() if n in base.arguments() and n != "labels"}
    with np.load(FIXTURES / name / "outputs.npz") as file:
        return tj.load_adapter(base, FIXTURES / name), inputs, dict(file.items())


def mask_of(name):
    """Where there is no padding; None for everywhere."""
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    with np.load(CASES / case / "outputs.npz") as file:
        return file.get("logits__valid")


def valid(name, values):
    """The values, zero where there is padding."""
    mask = mask_of(name)
    return np.asarray(values) if mask is None else np.asarray(values) * mask[..., None]


EACH = [pytest.param(n, marks=pytest.mark.slow if n in LATE else ()) for n in NAMES]


@pytest.mark.parametrize("name", EACH)
def test_an_adapter_computes_what_it_does_in_pytorch_merged_and_unmerged(name):
    model, inputs, expected = call_of(name)
    scale = max(1.0, np.abs(expected["logits"]).max())
    close = lambda x, y: np.testing.assert_allclose(
        valid(name, x), valid(name, y), atol=1e-5 * scale, rtol=0
    )
    # where gradients are compared as well, one program gives both
    computed = gradients_of(name)[1] if name in GRADIENTS else model(**inputs).logits
    close(computed, expected["logits"])
    case = json.loads((FIXTURES / name / "case.json").read_text())["case"]
    with np.load(CASES / case / "outputs.npz") as without:
        assert np.abs(valid(name, without["logits"] - expected["logits"])).max() > 1e-2
    if name in TIED:
        with pytest.raises(ValueError, match="merged it would change"):
            tj.merge_adapter(model)
    else:
        close(tj.merge_adapter(model)(**inputs).logits, expected["logits"])


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_is_written_as_it_was_byte_for_byte(name, tmp_path):
    tj.save_adapter(tj.load_adapter(base_of(name), FIXTURES / name), tmp_path)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / file).read_bytes() == (FIXTURES / name / file).read_bytes(), file


@functools.cache
def gradients_of(name):
    """(gradients of a loss of the logits by what is trained, the logits), of one program."""
    model, inputs, _ = call_of(name)
    apply, _ = tj.functional(model)
    trained, frozen = tj.partition(model)
    mask = mask_of(name)

    def loss(trained):
        logits = apply(combine(trained, frozen), **inputs).logits
        weighted = logits * jnp.linspace(-1, 1, logits.size).reshape(logits.shape)
        return (weighted if mask is None else weighted * mask[..., None]).sum(), logits

    grads, logits = jax.jit(jax.grad(loss, has_aux=True))(trained)
    return {path: np.asarray(x) for path, x in flatten(grads).items()}, logits


@pytest.mark.parametrize("name", GRADIENTS)
def test_what_is_trained_has_the_gradients_of_pytorch(name):
    model, _, expected = call_of(name)
    grads, _ = gradients_of(name)
    arrays = {path: np.zeros(x.shape, x.dtype) for path, x in flatten(params(model)).items()}
    compared = 0
    known = resolved(model.plan, model.plan.adapter)
    for tensor, each in cells(model.plan.adapter, known, {*arrays}).items():
        other = expected.get(f"gradient {tensor}", expected.get(f"gradient {tensor}.weight"))
        if other is None:
            continue
        ours = np.concatenate([cell.written(grads) for cell in each])
        np.testing.assert_allclose(ours, other, atol=2e-5 * max(1, np.abs(other).max()), rtol=0)
        compared += 1
    assert compared >= 4
    assert all(tensor.startswith(PREFIX) for tensor in cells(model.plan.adapter, known, {*arrays}))
