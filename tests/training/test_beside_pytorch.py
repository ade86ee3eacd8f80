"""A hundred steps of fine-tuning are those of PyTorch, on the models and tables of finetune/.

PyTorch's losses are those of transformers, with its Trainer's groups of what decays, its linear
schedule, `torch.optim.AdamW` and `clip_grad_norm_`; `make_finetune_fixtures.py` makes them.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import transformers_jax as tj
from tests.training.finetune_cases import BATCH, CASES, FOLDER, STEPS, WARMUP, run_config
from transformers_jax.nn.param import combine, flatten, trained_axes, unflatten
from transformers_jax.optim.schedules import Linear
from transformers_jax.runs.fit import fit
from transformers_jax.training.initial import start_model, with_adapter
from transformers_jax.training.resolve import resolve
from transformers_jax.training.state import init_state

CLOSE = 1e-4
SILENT = lambda line: None


def expected_of(name):
    return json.loads((FOLDER / name / "torch.json").read_text())


def begun(name, folder, **settings):
    """(what the engine makes of the config of a case, the model that it starts from)."""
    found = resolve(run_config(name, folder, **settings), folder, None, SILENT)
    model, facts = start_model(found.config, None, SILENT)
    if found.config.adapter is not None:
        model = with_adapter(found.config, model, facts["drawn"])
    return found, model


def trained(found, model, count=STEPS):
    """(losses, gradient norms, the model) after some steps of the engine, on its batches."""
    _, optimizer, step = found.training(model)
    state = init_state(model, optimizer, jax.random.key(0))
    batches = found.stream.batches(found.stream.start, lambda number: BATCH, 0, None)
    figures = []
    for _ in range(count):
        state, metrics = step(state, next(batches)[0])
        figures.append([metrics["loss"], metrics["gradient_norm"]])
    losses, norms = np.asarray(jax.device_get(figures)).T
    return losses, norms, tj.bind(model, state.params)


def tensors(model, folder):
    """The parameters of a model, or of its adapter, by their names on disk."""
    save = tj.save_pretrained if model.plan.adapter is None else tj.save_adapter
    save(model, folder)
    return load_file(next(folder.glob("*.safetensors")))


def furthest(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)[: len(one)]).max())


def check(name, losses, norms, parameters):
    """All steps are PyTorch's, and none of them those of a run that differs in one thing."""
    expected = expected_of(name)
    assert len(losses) == STEPS
    assert furthest(losses, expected["losses"]) < CLOSE
    assert furthest(norms, expected["norms"]) < 1e-3
    for control, others in expected["controls"].items():
        same = others == expected["losses"]  # where all that is trained decays anyway
        assert same == (name == "gpt2-lora" and control == "decayed")
        assert same or furthest(losses, others) > 3 * CLOSE, control
    last = expected["parameters"]
    assert last.keys() == parameters.keys()
    for path, (total, norm) in last.items():
        ours = parameters[path].astype(np.float64)
        assert abs(np.linalg.norm(ours) - norm) < 1e-3 * max(norm, 1), path
        assert abs(ours.sum() - total) < 2e-3 * max(norm, 1) * np.sqrt(ours.size), path


def test_a_run_of_a_hundred_steps_and_its_directory_are_those_of_pytorch(tmp_path):
    fitted = fit(run_config("bert", tmp_path / "run"))
    lines = [line for line in fitted.metrics if "loss" in line]
    figures = [[line[key] for line in lines] for key in ("loss", "gradient_norm")]
    check("bert", *figures, load_file(tmp_path / "run/model/model.safetensors"))
    rates = [line["learning_rate"] for line in lines]
    assert rates[0] == 0
    assert max(rates) == rates[WARMUP]


@pytest.mark.parametrize("name", [name for name in CASES if name != "bert"])
def test_a_hundred_steps_are_those_of_pytorch(name, tmp_path):
    losses, norms, model = trained(*begun(name, tmp_path))
    check(name, losses, norms, tensors(model, tmp_path / "last"))


@pytest.mark.parametrize("name", CASES)
def test_what_decays_is_what_the_trainer_of_pytorch_lets_decay(name, tmp_path):
    found, model = begun(name, tmp_path)
    values, frozen = tj.partition(model)
    known = found.config.optimizer.leaves(trained_axes(model))
    decays = {
        path: jnp.full(x.shape, known[path].along(known[path].decay), jnp.float32)
        for path, x in flatten(values).items()
    }
    filled = tensors(tj.bind(model, combine(unflatten(decays), frozen)), tmp_path / "decays")
    assert {path for path, x in filled.items() if x.all()} == {*expected_of(name)["decayed"]}
    assert all(x.all() or not x.any() for x in filled.values())


def test_tables_of_relative_positions_decay_unless_a_pattern_says_otherwise(tmp_path):
    found, model = begun("t5", tmp_path, **{"optimizer.decay": ()})
    known = found.config.optimizer.leaves(trained_axes(model))
    assert all(known[path].decay > 0 for path in known if ".score." in path)
    assert any(".score." in path for path in known)


def test_a_warm_up_that_begins_a_step_later_makes_other_steps(tmp_path):
    late = {"optimizer.schedule": Linear(warmup=WARMUP)}
    losses, _, _ = trained(*begun("gpt2", tmp_path, **late), count=30)
    assert furthest(losses, expected_of("gpt2")["losses"]) > 3 * CLOSE
