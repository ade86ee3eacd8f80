"""Options of a run besides steps: epochs, stages, patience, faults on purpose."""

import dataclasses
import io
import json
import math
import os
import shutil
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training.states import damage
from transformers_jax import cli
from transformers_jax.cli import main
from transformers_jax.runs.dry_run import dry_run
from transformers_jax.runs.fit import fit
from transformers_jax.training.evaluate import Measured
from transformers_jax.training.loop import Loop
from transformers_jax.training.metrics import read

pytestmark = pytest.mark.usefixtures("without_pictures")


def lines(run):
    return read(Path(run.out) / "metrics.jsonl")


def data(config, **changes):
    return config.replace(data=dataclasses.replace(config.data, **changes))


@pytest.fixture
def quiet(small):
    """Four steps without evaluations on the way."""
    evaluation = dataclasses.replace(small.evaluation, every=0)
    return small.replace(steps=4, schedule_steps=4, evaluation=evaluation, save_every=100)


@pytest.fixture
def records(tmp_path):
    """A hundred and three records of one text each."""
    file = tmp_path / "records.jsonl"
    text = lambda n: f"record {n:03d}: {'abcdefgh'[n % 8] * 5}"
    file.write_text("".join(json.dumps({"text": text(n)}) + "\n" for n in range(103)))
    return file


def test_an_epoch_contains_every_record_once(quiet, records, tmp_path, capsys):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps({"text": "record 999: held out"}) + "\n")
    config = data(
        quiet, path=str(records), eval_path=str(held_out), rows="padded", length=24, batch=8
    ).replace(epochs=1)
    assert fit(config).exit_code == 0
    metric_lines = lines(config)
    assert len(metric_lines) == 13
    assert metric_lines[-1]["epoch"] == 1
    output = capsys.readouterr().out
    assert "1 epoch: 103 rows, 13 steps; the last batch is filled with 1 empty rows" in output
    assert json.loads((Path(config.out) / "config.json").read_text())["steps"] == 13


def test_batches_and_rows_grow_in_stages(quiet):
    config = quiet.replace(batch_warmup=((2, 2),), length_warmup=((1, 4),), steps=3)
    run = fit(config)
    token_counts = np.diff([0, *(line["tokens"] for line in run.metrics)]).tolist()
    assert token_counts == [2 * 16, 2 * 16, 4 * 16]  # the first two rows are cut into eight of 4
    assert int(fit(config).state.step) == 3  # nothing is left to do


def test_a_run_ends_when_evaluations_do_not_improve(quiet, capsys):
    evaluation = dataclasses.replace(quiet.evaluation, every=1, patience=2)
    optimizer = dataclasses.replace(quiet.optimizer, peak=30.0)  # it gets worse at once
    config = quiet.replace(evaluation=evaluation, optimizer=optimizer, steps=30)
    run = fit(config)
    assert run.exit_code == 0
    assert len(run.metrics) < 30
    assert "no better evaluation in 2" in capsys.readouterr().out
    again = fit(config)  # it does not begin anew
    assert len(again.metrics) == len(run.metrics)


def test_the_best_checkpoint_is_retained_and_exported(quiet, monkeypatch):
    """With given evaluation losses."""
    from transformers_jax.training import loop

    losses = iter([3.0, 2.0, 4.0, 5.0, 6.0, 7.0, 3.0, 2.0])
    evaluate = lambda *arguments: Measured({"eval_loss": next(losses)})
    monkeypatch.setattr(loop, "evaluator", lambda run: evaluate)
    evaluation = dataclasses.replace(quiet.evaluation, every=1)
    config = quiet.replace(evaluation=evaluation, steps=6, save_every=1, keep=2, keep_best=True)
    run = fit(config)
    assert int(run.state.step) == 2
    folders = (Path(config.out) / "checkpoints").iterdir()
    assert sorted(int(p.name) for p in folders) == [2, 5, 6]
    again = fit(config.replace(keep_best=False, steps=2, out=config.out + "-2"))
    same = jax.tree.map(np.array_equal, run.state.params, again.state.params)
    assert all(jax.tree.leaves(same))


@pytest.fixture
def measured(monkeypatch):
    """Gives evaluations these losses, in turn."""
    from transformers_jax.training import loop

    def give(*values):
        losses = iter(values)
        evaluate = lambda *arguments: Measured({"eval_loss": next(losses)})
        monkeypatch.setattr(loop, "evaluator", lambda run: evaluate)

    return give


def saved_steps(config):
    return sorted(int(p.name) for p in (Path(config.out) / "checkpoints").iterdir())


def test_the_best_evaluation_is_saved_where_saves_do_not_fall_on_it(quiet, measured):
    measured(3.0, 2.0, 4.0, float("nan"), 5.0)
    evaluation = dataclasses.replace(quiet.evaluation, every=1)
    config = quiet.replace(evaluation=evaluation, steps=5, schedule_steps=5, save_every=3, keep=2)
    run = fit(config.replace(keep_best=True))
    assert saved_steps(config) == [2, 3, 5]  # 1 was the best until 2
    assert int(run.state.step) == 2
    measured(3.0, 2.0, 4.0, 4.5, 5.0)
    plain = config.replace(out=config.out + "-plain")  # the control
    fit(plain)
    assert saved_steps(plain) == [3, 5]
    losses = [[line["loss_hex"] for line in lines(each)] for each in (config, plain)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("intact", [True, False])
def test_a_damaged_best_checkpoint_costs_only_itself(quiet, measured, intact, capsys, monkeypatch):
    """The next best is exported, or the last where none is left."""
    from transformers_jax.training import prepare

    measured(3.0, 2.0, 2.5, 4.0)
    evaluation = dataclasses.replace(quiet.evaluation, every=1)
    config = quiet.replace(evaluation=evaluation, save_every=1, keep=9, keep_best=True)

    class Damaging(prepare.Checkpoints):
        def best_steps(self):
            steps = super().best_steps()
            for step in steps if self.saved == 4 else ():
                if step == 2 or (not intact and step != 4):
                    damage(self.folder, step)
            return [step for step in steps if intact or step != 4]

    monkeypatch.setattr("transformers_jax.runs.fit.Checkpoints", Damaging)
    run = fit(config)
    output = capsys.readouterr().out
    assert "WARNING: checkpoint" in output
    assert "damaged" in output
    exported = json.loads((Path(config.out) / "run.json").read_text())["exported"]
    assert exported["step"] == int(run.state.step) == (3 if intact else 4)
    assert ("of the steps that are intact" in exported["why"]) == intact
    assert (Path(config.out) / "model" / "config.json").exists()


def test_samples_that_fail_cost_neither_the_run_nor_the_model(quiet, monkeypatch, capsys):
    from transformers_jax.training import samples

    def fail(*arguments, **options):
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(samples, "draw_samples", fail)
    run = fit(quiet.replace(sample=dataclasses.replace(quiet.sample, count=1, every=2)))
    assert run.exit_code == 0
    assert (run.folder / "model" / "config.json").exists()
    assert capsys.readouterr().out.count("no samples: RuntimeError: no memory is left") == 2


@pytest.mark.parametrize("prompt", ["caf\udce9", "x" * 40])
def test_a_prompt_that_cannot_be_continued_is_refused_before_the_first_step(quiet, prompt):
    sample = dataclasses.replace(quiet.sample, count=1, prompt=prompt)
    for ask in (fit, dry_run):
        with pytest.raises(ValueError, match=r"sample\.prompt"):
            ask(quiet.replace(sample=sample))
    assert not Path(quiet.out).exists()


def test_further_sets_are_evaluated_by_name(quiet, text_file, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("quite another text, with words that are not in the first one. " * 20)
    config = data(quiet, eval_sets=(f"other={other}",))
    last = fit(config).metrics[-1]
    assert last["eval_loss/other"] > last["eval_loss"]
    assert last["bits_per_byte/other"] == pytest.approx(last["eval_loss/other"] / np.log(2))


def test_evaluation_takes_no_time_of_the_speed_and_can_be_off(quiet, monkeypatch, capsys):
    from transformers_jax.training import evaluate

    spent, means = [0.0], evaluate._means  # an evaluation takes an hour of the speed's clock
    clock = types.SimpleNamespace(perf_counter=lambda: time.perf_counter() + sum(spent))
    monkeypatch.setattr("transformers_jax.training.metrics.time", clock)
    monkeypatch.setattr(evaluate, "_means", lambda *more: spent.append(3600.0) or means(*more))
    monkeypatch.setattr("transformers_jax.training.console.PROGRESS_EVERY", -1)
    every = dataclasses.replace(quiet.evaluation, every=2)
    measured = [
        line for line in fit(quiet.replace(evaluation=every)).metrics if "eval_loss" in line
    ]
    assert [line["eval_batches"] for line in measured] == [2, 2]
    assert all(line["steps_per_second"] > 1 / 600 for line in measured)
    assert len(spent) == 3
    output = capsys.readouterr().out
    assert "evaluated every 2 steps and at the end; batches: 2" in output
    assert "evaluating: batch 2 of 2" in output
    off = dataclasses.replace(quiet.evaluation, final_batches=0)
    config = quiet.replace(evaluation=off, out=quiet.out + "-off", steps=1)
    assert not any("eval_loss" in line for line in fit(config).metrics)
    assert "no evaluation" in capsys.readouterr().out
    nothing = data(config.replace(evaluation=every), eval_fraction=0)
    assert "eval_loss" not in fit(nothing.replace(out=quiet.out + "-all")).metrics[-1]
    with pytest.raises(ValueError, match=r"keep_best go by .* raise --data\.eval-fraction"):
        fit(nothing.replace(out=quiet.out + "-best", keep_best=True))


def test_damaged_tokens_end_the_run_and_are_named(quiet, tmp_path, text_file):
    tokens = tmp_path / "tokens"
    assert main(["tokenize", str(text_file), "--tokenizer", "byte", "--out", str(tokens)]) == 0
    config = data(quiet, path=str(tokens), tokenizer="none").replace(steps=2)
    assert fit(config).exit_code == 0
    shard = tokens / "train" / "ids-00000.bin"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 8
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"ids-00000\.bin differs .* after step 2 may have been"):
        fit(config.replace(steps=4))
    run = json.loads((Path(config.out) / "run.json").read_text())
    assert (run["state"], "ids-00000.bin" in run["why"]) == ("failed", True)


def test_a_nonfinite_loss_ends_the_run_before_the_update(quiet):
    config = quiet.replace(debug=dataclasses.replace(quiet.debug, nan_at=3), save_every=1)
    with pytest.raises(FloatingPointError, match="step 3 is nan, first in the gradient of"):
        fit(config)
    assert [line["step"] for line in lines(config)] == [1, 2]
    run = fit(config.replace(debug=dataclasses.replace(config.debug, nan_at=None)))
    assert [line["step"] for line in run.metrics] == [1, 2, 3, 4]
    assert json.loads((Path(config.out) / "run.json").read_text())["state"] == "finished"


def test_a_step_may_be_skipped(quiet, capsys):
    config = quiet.replace(debug=dataclasses.replace(quiet.debug, nan_at=2), on_nonfinite="skip")
    run = fit(config)
    assert [line.get("skipped", 0) for line in run.metrics] == [0, 1, 1, 1]
    assert math.isnan(run.metrics[1]["loss"])
    assert "WARNING: the loss of step 2 is nan" in capsys.readouterr().out
    assert np.isfinite(run.metrics[-1]["eval_loss"])
    refuse = lambda word: pytest.fail(f"{word} is no JSON")
    texts = [line for f in Path(config.out).glob("*.jsonl") for line in f.read_text().splitlines()]
    texts += [file.read_text() for file in Path(config.out).rglob("*.json")]
    written = [json.loads(text, parse_constant=refuse) for text in texts]
    assert (written[1]["loss"], written[1]["loss_hex"]) == (None, "nan")
    assert written[1]["gradient_norm_hex"] == "nan"


def test_a_run_whose_output_cannot_be_written_goes_on(quiet, monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        run = fit(quiet)
    assert [line["step"] for line in run.metrics] == [1, 2, 3, 4]
    assert json.loads((Path(quiet.out) / "run.json").read_text())["state"] == "finished"


def test_a_folder_of_any_name_is_a_run(quiet, tmp_path, capsys):
    folder = tmp_path / "[glob]* a%20b #1; c?"
    config = quiet.replace(out=str(folder), save_every=2)
    fit(config)
    capsys.readouterr()
    fit(config.replace(steps=5, allow_schedule_change=True))
    assert "continuing from step 4" in capsys.readouterr().out
    for command in (
        ["check-checkpoint", str(folder)],
        ["report", str(folder)],
        ["runs", str(tmp_path)],
        ["generate", str(folder), "--prompt", "line", "--max-new-tokens", "2"],
    ):
        assert cli.main(command) == 0, capsys.readouterr().err
    assert f"{folder}/checkpoints/5: ok" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_folder_that_disappears_ends_the_run(how, quiet, tmp_path, monkeypatch):
    folder, finished = Path(quiet.out), Loop.report_saved

    def disappear(loop):
        if folder.exists() and int(loop.state.step) == 2:
            shutil.rmtree(folder) if how == "removed" else folder.rename(tmp_path / "other")
        finished(loop)

    monkeypatch.setattr(Loop, "report_saved", disappear)
    with pytest.raises(ValueError, match="run was removed or moved while the run wrote into it"):
        fit(quiet)
    assert not folder.exists()


class Killed(BaseException):
    """What no handler takes for an error."""


@pytest.mark.parametrize("name", ["tokenizer.json", "run.json"])
def test_a_kill_while_a_file_is_written_leaves_a_folder_that_goes_on(name, quiet, monkeypatch):
    def killed(draft, path):
        if Path(path).name != name:
            return replace(draft, path)
        Path(draft).rename(Path(path).with_name(f".{name}.999999.tmp"))  # as a kill leaves it
        raise Killed

    replace = os.replace
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(Killed):
        fit(quiet)
    monkeypatch.setattr("os.replace", replace)
    folder = Path(quiet.out)
    assert not (folder / name).exists()
    fit(quiet)
    assert not list(folder.rglob(".*.tmp"))


def test_every_file_of_a_run_is_written_under_another_name_first(quiet, monkeypatch):
    """But those that grow, and those of Orbax, which renames a whole folder."""
    opened, open_file = [], io.open

    def spy(file, mode="r", *arguments, **options):
        if set(mode) & set("wx+a") and isinstance(file, (str, Path)):
            opened.append(Path(file))
        return open_file(file, mode, *arguments, **options)

    for name in ("builtins.open", "io.open"):
        monkeypatch.setattr(name, spy)
    sample = dataclasses.replace(quiet.sample, count=1, tokens=4, every=2)
    fit(quiet.replace(sample=sample))
    own = [p for p in opened if quiet.out in str(p) and "checkpoints" not in str(p)]
    direct = {path.name for path in own if not is_draft_name(path.name)}
    assert {n for n in direct if "tfevents" not in n} == {".lock", "metrics.jsonl"}
    assert len(own) > 12  # the control: it does see what is written


def is_draft_name(name):
    return name.startswith(".") and name.endswith(".tmp")


def test_samples_are_generated_during_training(quiet):
    sample = dataclasses.replace(quiet.sample, count=1, tokens=4, every=2)
    config = quiet.replace(sample=sample)
    fit(config)
    names = sorted(p.name for p in (Path(config.out) / "samples").iterdir())
    assert names == ["000002.txt", "000004.txt"]


def test_a_profile_is_a_trace(quiet):
    config = quiet.replace(profile=True, steps=16, schedule_steps=16)
    fit(config)
    assert list((Path(config.out) / "profile").rglob("*.xplane.pb"))


def test_a_changed_setting_is_allowed_by_name(quiet):
    fit(quiet.replace(steps=2))
    changed = quiet.replace(clip=2.0)
    with pytest.raises(ValueError, match=r"clip was 1\.0 and is 2\.0.*--allow-change clip"):
        fit(changed)
    assert fit(changed.replace(allow_change=("clip",))).exit_code == 0
