"""A step whose loss jumps is left out and counted; without the option nothing is computed."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.training.states import same
from transformers_jax.runs.fit import fit
from transformers_jax.runs.report import describe
from transformers_jax.training import spikes
from transformers_jax.training.checkpoint import Checkpoints
from transformers_jax.training.config import Sample
from transformers_jax.training.metrics import read
from transformers_jax.training.spikes import LEAST, WINDOW, Spikes
from transformers_jax.training.state import TrainState

LOSSES = 2 + 0.1 * np.random.default_rng(0).standard_normal(400).astype(np.float32)


def make(on_spike, **options):
    """A step whose loss is given by the batch, and whose gradient is 1 whatever it is."""

    def objective(model, batch, key):
        loss = batch["loss"][0] + model(x=jnp.zeros(1))
        return loss, {"loss": (loss, jnp.float32(1))}

    apply = lambda params, *, x, key=None: params["w"] - jax.lax.stop_gradient(params["w"])
    return tj.make_step(apply, objective, optax.sgd(1.0), on_spike=on_spike, **options)


def start():
    params = {"w": jnp.zeros(())}
    opt = optax.sgd(1.0).init(params)
    return TrainState(jnp.int32(0), params, opt, jax.random.key(0))


def feed(step, state, losses):
    """The state after these losses, and the metrics of each step."""
    metrics = []
    for loss in losses:
        state, values = step(state, {"loss": np.float32([loss])})
        metrics.append(jax.device_get(values))
    return state, metrics


@pytest.fixture(scope="module")
def skip():
    return make("skip")


def test_deviations_are_those_of_the_last_updates(skip):
    _, metrics = feed(skip, start(), LOSSES[:200])
    for number in (LEAST, LEAST + 1, WINDOW, 199):
        before = LOSSES[max(0, number - WINDOW) : number]
        expected = (LOSSES[number] - before.mean()) / before.std()
        assert metrics[number]["loss_deviation"] == pytest.approx(expected, rel=1e-3)
    assert not any(m["spike"] for m in metrics)
    assert all(m["loss_deviation"] == 0 for m in metrics[:LEAST])


def test_a_spike_is_skipped_counted_and_does_not_hide_the_next(skip):
    state, _ = feed(skip, start(), LOSSES[:150])
    before, numbers = float(state.params["w"]), np.array(state.window.figures)
    state, metrics = feed(skip, state, [200.0, 4.0, 2.0])  # the mean is 2, the deviation 0.1
    assert [bool(m["spike"]) for m in metrics] == [True, True, False]
    assert [int(m["spikes"]) for m in metrics] == [1, 2, 2]
    assert [int(m["skipped"]) for m in metrics] == [1, 2, 2]
    assert all(m["finite"] for m in metrics)
    assert (int(state.step), float(state.params["w"])) == (153, before - 1)
    assert (np.asarray(state.window.figures) != numbers).sum() <= 2  # of the last step


def test_a_gradient_that_jumps_is_a_spike_too():
    step = make("skip", spike_at=100)  # which multiplies both
    _, metrics = feed(step, start(), np.where(np.arange(120) == 99, 0.02, LOSSES[:120]))
    assert [n for n, m in enumerate(metrics, 1) if m["spike"]] == [100]
    far, near = (metrics[99][f"{name}_deviation"] for name in ("gradient_norm", "loss"))
    assert far > spikes.DEVIATIONS > near


def test_abort_gives_the_state_back_as_it_was_and_fewer_deviations_are_nearer():
    step = make("abort")
    state, _ = feed(step, start(), LOSSES[:150])
    kept = jax.tree.map(np.asarray, dataclasses.replace(state, key=0))
    after, (metrics,) = feed(step, state, [200.0])
    assert metrics["spike"]
    assert int(metrics["skipped"]) == 0
    now = jax.tree.map(np.asarray, dataclasses.replace(after, key=0))
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(now)))
    _, metrics = feed(make("skip", spike_deviations=1.0), start(), LOSSES[:150])
    assert metrics[-1]["spikes"] > 2


def test_a_step_that_is_not_finite_is_no_spike(skip):
    state, _ = feed(skip, start(), LOSSES[:100])
    _, (bad, good) = feed(skip, state, [np.nan, 2.0])
    assert (bool(bad["finite"]), bool(bad["spike"])) == (False, False)
    assert good["finite"]
    assert not good["spike"]


def test_a_gradient_twice_its_mean_is_no_spike_by_default():
    """As in ordinary runs of small batches: measured of configs/nano.py, 6.9 deviations."""
    window = spikes.empty()._replace(updates=jnp.int32(WINDOW))
    norms = 0.67 + 0.108 * np.random.default_rng(0).standard_normal(WINDOW).astype(np.float32)
    window = window._replace(figures=jnp.stack([jnp.full(WINDOW, 2.7), jnp.asarray(norms)]))
    ordinary, far = (jnp.array([2.9, 0.67 + 6.9 * 0.108 * n]) for n in (1, 5))
    assert not Spikes("abort").above(window, ordinary)[0]
    assert Spikes("abort", 6.0).above(window, ordinary)[0]  # the control
    assert Spikes("abort").above(window, far)[0]


def test_a_constant_loss_has_no_spikes(skip):
    _, metrics = feed(skip, start(), [2.0] * 80 + [2.000001, 2.5, 3.0, 1.9])
    assert [bool(m["spike"]) for m in metrics[80:]] == [False, False, True, False]


def test_without_the_option_nothing_is_computed(skip, monkeypatch):
    monkeypatch.setattr(Spikes, "above", lambda *_: pytest.fail("it looks for spikes"))
    state, (metrics,) = feed(make("off"), start(), [2.0])
    assert state.window is None
    assert "spike" not in metrics
    with pytest.raises(pytest.fail.Exception):
        feed(make("skip"), start(), [2.0])


def test_states_with_and_without_a_window_are_taken_by_both_steps(skip, tmp_path):
    off = make("off")
    with_window, _ = feed(skip, start(), LOSSES[:70])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(with_window, {})
    checkpoints.wait()
    without, _ = feed(off, checkpoints.restore(70, start()), LOSSES[70:72])
    checkpoints.save(without, {})
    checkpoints.wait()
    assert same(checkpoints.restore(70, without), feed(skip, start(), LOSSES[:70])[0])
    assert checkpoints.restore(72, with_window).window is None
    again, metrics = feed(skip, checkpoints.restore(72, start()), LOSSES[72:75])
    assert (int(again.window.updates), int(metrics[-1]["spikes"])) == (3, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(on_spike="ignore"), r"on_spike.* 'off', 'abort' or 'skip'"),
        (dict(on_spike="skip", spike_deviations=0), "spike_deviations=0: expected a number above"),
    ],
)
def test_unknown_settings_are_refused(options, message, small):
    with pytest.raises(ValueError, match=message):
        make(**options)
    with pytest.raises(ValueError, match=message):
        small.replace(**options)


# ---------------------------------------------------------------- a run


@pytest.fixture
def spiking(small):
    """A run whose step 69 is a spike."""
    return small.replace(
        steps=74,
        schedule_steps=74,
        on_spike="skip",
        sample=Sample(count=0),
        evaluation=dataclasses.replace(small.evaluation, every=0),
        debug=dataclasses.replace(small.debug, spike_at=69),
        save_every=34,
    )


@pytest.mark.usefixtures("without_pictures")
def test_a_run_skips_reports_and_resumes_a_spike_bit_by_bit(spiking, tmp_path, capsys):
    fit(spiking)
    said = capsys.readouterr().out
    assert "of step 69 is" in said
    assert "standard deviations above the mean of the last 128 updates; skipped" in said
    lines = read(Path(spiking.out) / "metrics.jsonl")
    assert [line.get("spikes", 0) for line in lines] == [0] * 68 + [1] * 6
    assert [line.get("skipped", 0) for line in lines] == [0] * 68 + [1] * 6
    assert "steps left out | 1, of which 1 were spikes" in describe(Path(spiking.out), [])

    abort = spiking.replace(on_spike="abort", out=str(tmp_path / "other"))
    with pytest.raises(FloatingPointError, match=r"step 69 is .* pass --on-spike skip"):
        fit(abort)
    run = json.loads((tmp_path / "other" / "run.json").read_text())
    assert run["state"] == "failed"
    fit(abort.replace(on_spike="skip"))  # as it advises, from step 68
    hexes = lambda lines: [line["loss_hex"] for line in lines]
    assert hexes(read(tmp_path / "other" / "metrics.jsonl")) == hexes(lines)


@pytest.mark.usefixtures("without_pictures")
def test_spikes_in_a_row_end_a_run(small, monkeypatch):
    monkeypatch.setattr(spikes, "LEAST", 2)
    config = small.replace(on_spike="skip", spike_deviations=1e-9, max_skipped=1, steps=30)
    with pytest.raises(
        FloatingPointError, match=r"2 steps in a row were skipped \(--max-skipped 1"
    ):
        fit(config)


COMPILES = """
    import logging, sys, jax, numpy as np, optax
    import transformers_jax as tj
    from transformers_jax.objectives.losses import objective
    from transformers_jax.training.checkpoint import Checkpoints

    compiled = []
    class Count(logging.Handler):
        def emit(self, record):
            compiled.append(record.getMessage().startswith("Compiling jit(_traced)"))
    logging.getLogger("jax").addHandler(Count())
    jax.config.update("jax_log_compiles", True)

    config = tj.GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    batch = {"input_ids": np.ones((8, 8), np.int32)}
    for shape in ((), (2, 4)):
        for then in ("off", "skip"):
            mesh = tj.make_mesh({"data": 2, "fsdp": 4}) if shape else None
            model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
            state = tj.init_state(model, optax.adam(1e-3), jax.random.key(0), mesh=mesh)
            for run in ("begun", "restored"):
                objective_ = objective("causal_lm")
                step = tj.make_step(
                    model, objective_, optax.adam(1e-3), mesh=mesh, on_spike=then
                )
                compiled.clear()
                for _ in range(3):
                    state, _ = step(state, batch)
                print(len(shape), then, run, sum(compiled))
                saved = Checkpoints(f"{sys.argv[1]}/{len(shape)}-{then}-{run}")
                saved.save(state, {})
                saved.close()
                state = saved.restore(int(state.step), state)
"""


def test_a_step_is_compiled_once_with_a_window_as_without(on_eight_devices, tmp_path):
    done = on_eight_devices(COMPILES, tmp_path)
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == 8, done.stderr[-2000:]
    assert {line.split()[-1] for line in lines} == {"1"}, lines
