"""Saved steps as models, and what a folder says of the step that its model is of."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.cli import main
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.json_files import with_digest
from transformers_jax.nn.param import flatten, params
from transformers_jax.runs import export as exporting
from transformers_jax.runs.export import export
from transformers_jax.runs.fit import fit
from transformers_jax.runs.summary import show, summarise
from transformers_jax.training.folder import RunFolder
from transformers_jax.training.metrics import read
from transformers_jax.training.recorded import find_steps, read_record


@pytest.fixture(scope="module")
def best(text_file, tmp_path_factory, without_pictures):
    """A finished run whose exported model is not of its last step, and which averages."""
    from dataclasses import replace

    from tests.training.conftest import small as make
    from transformers_jax.optim import AdamW, Constant

    config = make.__wrapped__(text_file, tmp_path_factory.mktemp("best"))
    worse = AdamW(peak=1.0, schedule=Constant(0), average=0.5)
    evaluation = replace(config.evaluation, every=2, final_batches=4)
    config = config.replace(keep_best=True, optimizer=worse, evaluation=evaluation, keep=3)
    assert fit(config).exit_code == 0
    return Path(config.out)


def weights(folder):
    return flatten(params(tj.from_pretrained(folder)))


def same(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one)


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_card_report_and_table_say_which_step_was_exported_and_why(best, capsys):
    run = summarise(best)
    lines = {line["step"]: line for line in read(best / "metrics.jsonl")}
    losses = {step: line["eval_loss"] for step, line in lines.items() if "eval_loss" in line}
    chosen = min(losses, key=lambda step: losses[step])
    assert (run.exported, run.step) == (chosen, 6)
    assert chosen != 6  # else this shows nothing
    words = f"step {chosen}, which has the lowest eval_loss ({losses[chosen]:.4f})"
    card = (best / "model" / "README.md").read_text()
    assert f"| exported | {words} |" in (best / "report.md").read_text()
    assert f"| exported | {words} |" in card
    assert f"| held-out loss (nats per token) | {losses[chosen]:.4f} |" in card
    assert f"| steps | {chosen} of 6 |" in card
    assert "| held-out loss at the end |" in (best / "report.md").read_text()
    assert "at the end" not in card  # which is of another step
    show([run], width=200)
    words = words.replace(",", " of 6,", 1)
    assert f"run: exported {words}" in capsys.readouterr().out


def test_a_report_says_how_to_look_at_the_curves(best):
    assert f"tensorboard --logdir {best}" in (best / "report.md").read_text()


def test_every_saved_step_can_be_exported_from_a_run_that_goes_on(best, tmp_path):
    """The averaged parameters, since those are what the run evaluates; nothing is written."""
    going_on, before = RunFolder(best, "auto"), snapshot(best)
    chosen = summarise(best).exported
    done = export(best, tmp_path / "chosen", step=chosen)
    newest = export(best, tmp_path / "newest")
    assert (done.step, newest.step) == (chosen, 6)
    assert same(weights(tmp_path / "chosen"), weights(best / "model"))
    assert not same(weights(tmp_path / "newest"), weights(best / "model"))  # the control
    assert load_tokenizer(tmp_path / "newest").max_id == load_tokenizer(best).max_id
    assert "| exported | step 6, as it was saved |" in (tmp_path / "newest/README.md").read_text()
    assert snapshot(best) == before
    going_on.close()


def test_a_run_that_has_not_ended_can_be_exported_and_a_damaged_step_is_passed_over(
    best, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(best, run, ignore=shutil.ignore_patterns("model"))
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    (run / "checkpoints" / str(steps[-1]) / "meta" / "metadata").write_text("{")
    command = ["export", str(run), "--out", str(tmp_path / "model")]
    assert main(command) == 0
    output = capsys.readouterr()
    assert f"checkpoints/{steps[-1]}" in output.err
    assert f"step {steps[-2]} of {run}" in output.out
    for more, message in (
        ([], r"is not empty; give another directory, or --overwrite"),
        (["--step", "5", "--overwrite"], f"not saved step 5; there are {steps[0]}, "),
        (["--step", str(steps[-1]), "--overwrite"], "meta/metadata cannot be read"),
    ):
        assert main([*command, *more]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="lies in the run"):
        export(run, run / "model")
    with pytest.raises(ValueError, match="is not a run of pretraining"):
        export(tmp_path / "model", tmp_path / "again")


def test_what_is_exported_is_verified_and_what_is_not_read_may_be_damaged(
    best, tmp_path, monkeypatch, capsys
):
    """The parameters of a step from which a run would not go on can be had, and only whole."""
    step = max(find_steps(best), key=lambda path: int(path.name))
    record = read_record(step)
    command = ["export", str(best), "--out", str(tmp_path / "model")]

    def with_wrong(name):
        sums = {**record["checksums"], name: record["checksums"][name] ^ 1}
        changed = with_digest({**record, "checksums": sums})
        monkeypatch.setattr(
            exporting, "read_record", lambda path: changed if path == step else read_record(path)
        )

    with_wrong("key")
    assert main(command) == 0
    output = capsys.readouterr()
    assert f"step {step.name} of {best}, every parameter as it was saved" in output.out
    assert output.err == ""
    with_wrong(next(name for name in record["checksums"] if name.startswith("params.")))
    assert main([*command, "--overwrite"]) == 0
    output = capsys.readouterr()
    assert f"checkpoints/{step.name}: damaged, params." in output.err
    assert f"step {step.name} of" not in output.out


def test_a_run_of_a_whole_model_has_no_adapter_to_merge(best, tmp_path):
    with pytest.raises(ValueError, match="there is no adapter to merge"):
        export(best, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()
