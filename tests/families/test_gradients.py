"""One step of training agrees with PyTorch: the loss, every gradient, every parameter after AdamW.

The fixtures are made by make_fixtures.py. Exporting the tree of gradients gives PyTorch's names.
"""

import json
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import transformers_jax as tj
from tests.laws.families.conftest import LATE
from transformers_jax.models import FAMILIES, MODULES

HERE = Path(__file__).parent
CASES = HERE.parent / "conformance" / "cases"
FIXTURES = sorted((HERE / "fixtures").glob("*.npz"))
TRANSLATED = {
    "source_ids": "input_ids",
    "source_mask": "attention_mask",
    "target_ids": "decoder_input_ids",
}
INPUTS = {"attention-is-all-you-need": TRANSLATED, "gru-bahdanau": TRANSLATED}
STORED = (
    *("final_logits_bias", "model.encoder.embed_positions.weight"),
    *("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed"),
)
STATISTICS = (
    *("running_mean", "running_var", "num_batches_tracked"),
    "e_score_correction_bias",
)
TOLERANCE = 1e-4  # relative error of each tensor, by norm, in float32


def under_their_names(model, tree, folder):
    """A tree of parameters (or gradients) as the tensors of a saved model."""
    tj.save_pretrained(tj.bind(model, tree), folder)
    return load_file(*folder.glob("*.safetensors"))


def largest_error(actual, expected, floor=0.0):
    """(relative error, name) of the worst tensor; `floor` is a norm that counts as nothing."""
    assert set(actual) == set(expected)
    errors = {
        name: np.linalg.norm(actual[name] - expected[name])
        / max(np.linalg.norm(expected[name]), floor)
        for name in expected
    }
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def errors(fixture, tmp_path):
    """{"loss": (error, name), "gradient": ..., "after": ...}: the worst of a step of training."""
    folder, stored = CASES / fixture.stem, dict(np.load(fixture))
    expected = {
        kind: {n.removeprefix(f"{kind}/"): x for n, x in stored.items() if n.startswith(kind)}
        for kind in ("gradient", "after")
    }
    names = INPUTS.get(fixture.stem, {})
    inputs = {names.get(n, n): x for n, x in np.load(folder / "inputs.npz").items()}
    inputs = {n: x for n, x in inputs.items() if "generate" not in n}
    case = json.loads((folder / "case.json").read_text())
    flags = {n: x for n, x in case["forward"]["kwargs"].items() if n == "return_loss"}
    if "decoder_input_ids" in inputs:
        inputs.setdefault("labels", inputs["decoder_input_ids"])
    model = tj.from_pretrained(folder)
    apply, params = tj.functional(model)
    optimizer = optax.adamw(1e-3, b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.1)

    @jax.jit
    def step(params, inputs):
        answer = lambda p: apply(p, **inputs, **flags)
        loss, grads = jax.value_and_grad(lambda p: loss_of(answer(p), inputs))(params)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return loss, grads, optax.apply_updates(params, updates)

    loss, grads, after = step(params, {n: narrow(x) for n, x in inputs.items()})
    differences = {"loss": (abs(float(loss / stored["loss"]) - 1), "loss")}
    gradient = under_their_names(model, grads, tmp_path / "gradient")
    formulas = {each.name for each in model.config.table(model.plan.head).computed}
    expected = {k: {n: x for n, x in v.items() if n not in formulas} for k, v in expected.items()}
    buffers = {name: gradient.pop(name) for name in set(gradient) - set(expected["gradient"])}
    unlearned = {name for name in buffers if name.endswith(STATISTICS)}
    assert set(buffers) - unlearned <= {*STORED, *formulas}  # stored, but never learned
    assert not any(x.any() for name, x in buffers.items() if name not in formulas)
    whole = np.sqrt(sum(np.square(x).sum() for x in expected["gradient"].values()))
    # A key's bias has no gradient at all (softmax cancels it): rounding is measured by the whole.
    differences["gradient"] = largest_error(gradient, expected["gradient"], floor=1e-3 * whole)

    updated = under_their_names(model, after, tmp_path / "after")
    learned = {name: x for name, x in updated.items() if name not in buffers}
    # Adam makes steps of any gradient, and so of rounding where there is no gradient at all.
    size = {name: np.linalg.norm(x) for name, x in expected["gradient"].items()}
    noise = {name for name in size if 0 < size[name] < 1e-6 * whole}
    without = lambda values: {name: x for name, x in values.items() if name not in noise}
    differences["after"] = largest_error(without(learned), without(expected["after"]))
    return differences


def loss_of(out, inputs):
    """As in make_fixtures.py."""
    if "action_preds" not in out:
        return out.loss
    real = inputs["attention_mask"][..., None]
    return sum(
        ((out[n] * real) ** 2).mean() for n in ("action_preds", "state_preds", "return_preds")
    )


def family_of(fixture):
    """The family of a fixture, or the module."""
    config = json.loads((CASES / fixture.stem / "config.json").read_text())
    return config.get("_class_name", config.get("module", config.get("model_type")))


def quick_and_slow():
    """The fixtures, of which those are slow whose families are built of the code of others."""
    for path in FIXTURES:
        marks = [pytest.mark.slow] if family_of(path) in LATE else []
        yield pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("fixture", [*quick_and_slow()])
def test_one_step_of_training_is_that_of_pytorch(fixture, tmp_path):
    differences = errors(fixture, tmp_path)
    assert differences["loss"][0] <= 1e-5
    for error, name in differences.values():
        assert error <= TOLERANCE, name


def narrow(array):
    """As JAX computes."""
    return array.astype(np.int32) if array.dtype == np.int64 else array


def test_every_family_has_a_fixture():
    families = {family_of(path) for path in FIXTURES}
    without_loss = {"torch.nn.Transformer", "torch.nn.MultiheadAttention"}
    towers = ("text_model", "vision_model")  # which compare nothing by themselves
    pairs = ("blip", "clip", "siglip", "siglip2")
    without_loss |= {f"{family}_{tower}" for family in pairs for tower in towers}
    without_loss |= {"dinov3_vit", "blip_2_qformer"}  # no class of the reference has one
    without_loss |= {n for n in MODULES if n.startswith("torch_geometric")} | {"GraphTransformer"}
    assert families >= {*FAMILIES, *MODULES} - without_loss


def test_a_wrong_gradient_exceeds_the_tolerance():
    expected = {"w": np.ones(3), "v": np.ones(5)}
    actual = {"w": np.ones(3), "v": np.ones(5) * (1 + 2 * TOLERANCE)}
    assert largest_error(actual, expected)[0] > TOLERANCE
