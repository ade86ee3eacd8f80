"""The list of runs: correct for good folders, without errors for others."""

import json
import math
import os

import pytest

from tests.runs.folders import make_run
from transformers_jax import cli
from transformers_jax.runs.compare import write_page
from transformers_jax.runs.report import describe
from transformers_jax.runs.scaling import _why_left_out
from transformers_jax.runs.summary import find_runs, show, sort_runs, summarise
from transformers_jax.training.exported import exported_step
from transformers_jax.training.folder import RunFolder


@pytest.fixture
def folders(tmp_path):
    """Good runs, a sweep, and other files."""
    root = tmp_path / "runs"
    make_run(root / "good", level=1.0)
    make_run(root / "stopped", done=30, state="stopped")
    make_run(root / "sweep" / "peak=1", level=1.5)
    make_run(root / "sweep" / "peak=2", level=1.75, state="failed")
    (root / "notes").mkdir()
    for name in ("tokens/train/meta.json", "sweep/sweep.json", "waiting/sweep.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    (root / "model").mkdir()
    (root / "model/config.json").write_text('{"model_type": "gpt2"}')
    (root / "broken").mkdir()
    (root / "broken/config.json").write_text("{")
    (root / "a.txt").write_text("a file")
    (root / ".hidden").mkdir()
    return root


def test_runs_are_found_in_nested_folders(folders):
    names = [path.relative_to(folders).as_posix() for path in find_runs([folders])]
    assert names == ["broken", "good", "stopped", "sweep/peak=1", "sweep/peak=2"]
    assert find_runs(sorted((folders / "sweep").iterdir())) == find_runs(
        [folders / "sweep"]
    )  # sweep/*
    assert find_runs([folders / "good", folders / "good"]) == [folders / "good"]
    with pytest.raises(ValueError, match="is not a folder"):
        find_runs([folders / "nowhere"])


def test_a_row_shows_progress_and_losses(folders):
    run = summarise(folders / "good")
    assert (run.state, run.step, run.steps, run.parameters) == ("finished", 60, 60, 120_576)
    assert run.eval_loss == pytest.approx(run.loss + 0.1)
    assert run.tokens == 60 * 64
    assert run.flops == 6 * 120_576 * run.tokens
    assert summarise(folders / "stopped").step == 30


def test_flops_that_were_counted_win_over_an_estimate(tmp_path):
    run = summarise(make_run(tmp_path / "a", more={"flops": 1e9, "tokens": 5}))
    assert (run.flops, run.tokens) == (1e9, 5)


def test_the_state_is_that_of_the_folder(folders):
    state = lambda name: (summarise(folders / name).state, summarise(folders / name).why)
    assert state("good") == ("finished", "")
    assert state("stopped") == ("stopped", "")
    assert state("sweep/peak=2") == ("failed", "the loss is nan")
    assert state("broken")[0] == "broken"
    assert state("notes")[0] == "not a run"
    make_run(folders / "killed", state="running")
    assert state("killed") == ("stopped", "killed")
    holder = RunFolder(folders / "killed", "auto")
    assert state("killed") == ("running", "")
    holder.close()
    assert state("killed") == ("stopped", "killed")


def test_a_run_of_an_older_version_is_a_run(folders):
    old = folders / "good"
    (old / "run.json").unlink()
    assert summarise(old).state == "stopped"
    (old / "report.md").write_text("done")
    run = summarise(old)
    assert (run.state, run.model, run.objective, run.steps) == ("finished", "gpt2", "causal_lm", 60)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "metrics.jsonl").write_bytes(b"\x00\xff" * 99),
        lambda run: (run / "metrics.jsonl").write_text('[1]\n{"step": "x"}\n{"st'),
        lambda run: (run / "run.json").write_text("[]"),
        lambda run: (run / "run.json").write_text('{"tokens_per_step": "x"}'),
        lambda run: (run / "config.json").write_text('{"model": 3, "data": [], "steps": null}'),
        lambda run: (run / "metrics.jsonl").unlink(),
        lambda run: [file.unlink() for file in run.iterdir() if file.is_file()],
    ],
)
def test_damaged_runs_are_still_listed(folders, damage, capsys):
    damage(folders / "good")
    assert cli.main(["runs", str(folders)]) == 0
    assert "peak=1" in capsys.readouterr().out


def test_runs_are_sorted_with_unknown_values_last(folders):
    runs = [summarise(path) for path in find_runs([folders])]
    names = [run.name for run in sort_runs(runs, "eval_loss")]
    assert names[:4] == ["good", "peak=1", "peak=2", "stopped"]
    with pytest.raises(ValueError, match="did you mean 'eval_loss'"):
        sort_runs(runs, "evalloss")


@pytest.mark.parametrize("lost", [{"eval_loss": None}, {"eval_loss": math.nan}])
def test_a_loss_that_is_no_number_is_read_everywhere(folders, lost, capsys):
    """As null, and as the bare NaN of earlier versions."""
    diverged = make_run(folders / "diverged", more={**lost, "loss": None, "loss_hex": "inf"})
    run = summarise(diverged)
    assert (run.loss, math.isnan(run.eval_loss), run.state) == (math.inf, True, "finished")
    rows = sort_runs([run, summarise(folders / "good")], "eval_loss")
    assert [row.name for row in rows] == ["good", "diverged"]
    assert cli.main(["runs", str(folders), "--json"]) == 0
    refuse = lambda word: pytest.fail(f"{word} is no JSON")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out, parse_constant=refuse)}
    assert (rows["diverged"]["loss"], rows["diverged"]["loss_hex"]) == (None, "inf")
    assert "| nan |" in describe(diverged, [])
    write_page([diverged, folders / "good"], folders.parent / "page.md")
    assert "inf" in (folders.parent / "page.md").read_text()
    assert _why_left_out(run, "eval_loss") == "eval_loss is nan"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits_and_names_the_columns_it_leaves_out(folders, width, capsys):
    show([summarise(path) for path in find_runs([folders])], width=width)
    out = capsys.readouterr().out
    head = out.splitlines()[0]
    assert len(head.rstrip()) <= width
    for name in ("name", "steps", "eval loss", "state"):
        assert name in head
    assert ("no room for tokens/s" in out) == (width < 200)
    assert "peak=2: failed: the loss is nan" in out


def test_the_commands_list_and_report(folders, capsys, monkeypatch):
    monkeypatch.chdir(folders.parent)
    assert cli.main(["runs", "--sort", "eval_loss", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows][:2] == ["good", "peak=1"]
    assert cli.main(["report", "runs/good"]) == 0
    assert capsys.readouterr().out == "wrote runs/good/report.md\n"
    assert cli.main(["report", "runs/good", "runs/sweep", "--out", "both.md"]) == 0
    assert "| sweep/peak=1 |" in (folders.parent / "both.md").read_text()
    in_sweep = map(str, (folders / "sweep").iterdir())  # as a shell writes runs/sweep/*
    assert cli.main(["report", *in_sweep, "--out", "sweep.md"]) == 0
    assert "# 2 runs" in (folders.parent / "sweep.md").read_text()
    assert cli.main(["report", "runs/tokens"]) == 1
    assert "there is none in these folders" in capsys.readouterr().err
    assert cli.main(["runs", "elsewhere"]) == 1
    assert "is not a folder" in capsys.readouterr().err
    os.chdir(folders / "notes")
    assert cli.main(["runs"]) == 1
    assert "there is no folder runs here" in capsys.readouterr().err


def test_runs_come_in_the_order_in_which_they_were_begun(folders, capsys):
    """Whichever ended first; a run that an older version began has the time of its files."""
    for name, began, ended in (("good", 1, 9), ("stopped", 2, 8), ("sweep/peak=1", 3, 7)):
        file = folders / name / "run.json"
        times = {"started": f"2026-01-0{began}T00:00:00", "ended": f"2026-01-0{ended}T00:00:00"}
        file.write_text(json.dumps(json.loads(file.read_text()) | times))
    runs = [summarise(folders / name) for name in ("sweep/peak=1", "stopped", "good")]
    assert [run.name for run in sort_runs(runs, None)] == ["good", "stopped", "peak=1"]
    assert [run.name for run in sort_runs(runs, "when")] == ["peak=1", "stopped", "good"]


def test_a_run_of_a_sweep_is_called_by_its_path(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders.parent)
    assert cli.main(["runs"]) == 0
    words = capsys.readouterr().out
    assert "sweep/peak=1 " in words
    assert "names are paths in runs" in words
    assert cli.main(["runs", "runs/sweep"]) == 0
    words = capsys.readouterr().out
    assert "sweep/peak=1" not in words
    assert "names are paths in runs/sweep" in words


def test_what_was_exported_is_of_how_many_steps(folders, capsys):
    file = folders / "good" / "run.json"
    run = json.loads(file.read_text()) | {"exported": {"step": 50, "why": "the last"}}
    file.write_text(json.dumps(run))
    show([summarise(folders / "good")])
    assert "exported step 50 of 60\n" in capsys.readouterr().out
    assert exported_step(str(folders / "good")) == f" (its model is step 50 of {run['step']})"
    file.write_text(json.dumps(run | {"step": 50}))
    assert exported_step(str(folders / "good")) == " (its model is step 50, the last)"
    assert exported_step("an/id") == ""
