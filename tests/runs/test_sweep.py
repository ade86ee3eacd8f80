"""Sweeps: with a fake training program, and once with the real one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transformers_jax.nn.param import unflatten
from transformers_jax.runs import pretrain, sweep
from transformers_jax.runs.sweep import folder_name, make_points, run_sweep
from transformers_jax.training import config as configs

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/nano.py")

FAKE_PRETRAIN = """
import json, pathlib, signal, sys, time
flags = dict(a[2:].split("=", 1) for a in sys.argv[2:] if "=" in a)
out = pathlib.Path(flags["out"]); out.mkdir(parents=True, exist_ok=True)
with (out.parent / "order.txt").open("a") as file:
    file.write(out.name + "\\n")
seed, steps = int(flags["seed"]), 3
if seed == 13:
    sys.exit("error: unlucky")
done = (out / "half").exists() or seed != 77
def write(state, step):
    line = {"step": step, "loss": 1.0 + seed, "eval_loss": 2.0 + seed}
    if "data.tokenizer" in flags:
        line["bits_per_byte"] = 9.0 - seed
        (out / "tokenizer.json").write_text(flags["data.tokenizer"] * seed)
    (out / "metrics.jsonl").write_text(json.dumps(line) + "\\n")
    (out / "run.json").write_text(json.dumps({"state": state, "steps": steps}))
if not done:
    (out / "half").write_text("")
    write("stopped", 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (out / "ready").write_text("")
    time.sleep(60)
write("finished", steps)
"""


@pytest.fixture
def fake_pretrain(tmp_path, monkeypatch):
    """A program in place of pretrain; seed 13 fails, seed 77 waits to be stopped."""
    program = tmp_path / "pretend.py"
    program.write_text(FAKE_PRETRAIN)
    monkeypatch.setattr(sweep, "PROGRAM", (sys.executable, str(program)))
    return program


def order(out):
    return (out / "order.txt").read_text().split() if (out / "order.txt").exists() else []


def pretraining(config, arguments):
    """What starts each run of a sweep of pretraining."""
    return sweep.Start("pretrain", (config, *arguments), pretrain.configure)


FEW = ["--steps=3"]


def test_runs_of_a_sweep_with_different_tokenizers_are_compared_by_bytes(fake_pretrain, tmp_path):
    for shared, best in (([], "3.0000 (best)"), (["--data.tokenizer=x"], "7.000 (best)")):
        out = tmp_path / f"sweep{len(shared)}"
        assert (
            run_sweep(pretraining(CONFIG, [*FEW, *shared]), {"seed": ["1", "2"]}, str(out), 1) == 0
        )
        assert best in (out / "sweep.md").read_text()


def test_a_sweep_is_resumed_without_repeating_finished_runs(fake_pretrain, tmp_path, capsys):
    out = tmp_path / "sweep"
    grid = {"seed": ["1", "13", "2"]}
    assert run_sweep(pretraining(CONFIG, FEW), grid, str(out), 1) == 1
    output = capsys.readouterr()
    assert order(out) == ["seed=1", "seed=13", "seed=2"]  # the rest continues
    assert "failed: seed=13: ended with status 1" in output.err
    said = [line for line in output.out.splitlines() if line.startswith(("---", "["))]
    starts = [line.startswith("---") for line in said]
    assert starts == [True, False] * 3  # each ends before the next begins
    assert "| 1 | finished | 3/3 | 2.0000 | 3.0000 (best) | - | - |" in output.out
    assert run_sweep(pretraining(CONFIG, FEW), {"seed": ["1", "2", "3"]}, str(out), 1) == 0
    assert order(out)[3:] == ["seed=3"]
    text = (out / "sweep.md").read_text()
    assert "--steps=3 --sweep seed=1,2,3 --out" in text
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert run_sweep(pretraining(CONFIG, ["--steps=4"]), {"seed": ["3"]}, str(out), 1) == 0
    assert order(out)[4:] == ["seed=3"]  # it has to go on to the fourth step


def test_several_at_a_time_have_logs(fake_pretrain, tmp_path, capsys):
    out = tmp_path / "sweep"
    grid = {"seed": ["1", "13"], "data.batch": ["8", "16"]}
    assert run_sweep(pretraining(CONFIG, FEW), grid, str(out), 3) == 1
    assert sorted(order(out)) == [f"seed={s},data.batch={b}" for s in (1, 13) for b in (16, 8)]
    assert capsys.readouterr().err.count("error: unlucky") == 2
    assert (out / "seed=13,data.batch=8.log").read_text() == "error: unlucky\n"


def test_a_signal_is_forwarded_and_the_same_command_resumes(tmp_path, fake_pretrain):
    out = tmp_path / "sweep"
    call = (
        "import sys; from transformers_jax.runs import sweep; "
        "from tests.runs.test_sweep import pretraining; "
        f"sweep.PROGRAM = (sys.executable, {str(fake_pretrain)!r}); "
        f"start, grid = pretraining({CONFIG!r}, {FEW}), {{'seed': ['77', '5']}}; "
        f"sys.exit(sweep.run_sweep(start, grid, {str(out)!r}, 1))"
    )
    process = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, stdout=subprocess.PIPE)
    until = time.time() + 60
    while not (out / "seed=77/ready").exists() and time.time() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 143, output
    assert order(out) == ["seed=77"]  # none is begun after a signal
    assert "| 77 | stopped | 1/3 |" in output
    assert run_sweep(pretraining(CONFIG, FEW), {"seed": ["77", "5"]}, str(out), 1) == 0
    assert order(out) == ["seed=77", "seed=77", "seed=5"]


@pytest.mark.parametrize(
    ("arguments", "grid", "message"),
    [
        ([], {"sed": ["1"]}, r"--sweep sed=1: unknown flag --sed; did you mean '--seed'"),
        ([], {"seed": ["1", "x"]}, r"--sweep seed=x: "),
        ([], {"seed": ["1", "1"]}, r"seed has a value twice"),
        ([], {"seed": []}, r"seed has an empty value"),
        ([], {}, r"nothing is swept"),
        ([], {"out": ["a", "b"]}, r"out is the folder of the sweep"),
        ([], {"profile": ["1"]}, r"profile is a boolean; expected True or False, not '1'"),
        (["--stepz=3"], {"seed": ["1"]}, r"unknown flag --stepz"),
    ],
)
def test_invalid_sweeps_are_refused_before_anything_runs(
    fake_pretrain, tmp_path, arguments, grid, message
):
    with pytest.raises(ValueError, match=message):
        run_sweep(pretraining(CONFIG, arguments), grid, str(tmp_path / "sweep"), 1)
    with pytest.raises(ValueError, match=r"--sweep-jobs \(0\)"):
        run_sweep(pretraining(CONFIG, []), {"seed": ["1"]}, str(tmp_path / "sweep"), 0)
    assert not (tmp_path / "sweep").exists()


def test_another_sweep_is_not_taken_for_this_one(fake_pretrain, tmp_path):
    out = tmp_path / "sweep"
    assert run_sweep(pretraining(CONFIG, FEW), {"seed": ["1"]}, str(out), 1) == 0
    words = r"holds a sweep of another config: seed=1 data\.batch was \d+ and is 8; choose"
    with pytest.raises(ValueError, match=words):
        run_sweep(pretraining(CONFIG, [*FEW, "--data.batch=8"]), {"seed": ["1"]}, str(out), 1)
    assert (
        run_sweep(pretraining(CONFIG, [*FEW, "--log-every=3"]), {"seed": ["1"]}, str(out), 1) == 0
    )


ADDED = ("clip", "loss.z", "optimizer.eps", "data.encoding")


@pytest.mark.parametrize("release", ["0.1.0", "later"])
def test_a_sweep_goes_on_after_settings_were_added(fake_pretrain, tmp_path, capsys, release):
    """As if a release ago there had been none of these settings; 0.1.0 recorded a digest."""
    out, grid = tmp_path / "sweep", {"seed": ["1", "2"]}
    assert run_sweep(pretraining(CONFIG, FEW), {"seed": ["1"]}, str(out), 1) == 0
    record = json.loads((out / "sweep.json").read_text())
    known = {n: v for n, v in record["runs"]["seed=1"].items() if n not in ADDED}
    assert len(known) == len(record["runs"]["seed=1"]) - len(ADDED)
    record["runs"]["seed=1"] = known if release == "later" else configs.fingerprint(known)
    (out / "sweep.json").write_text(json.dumps(record))
    resolved = {**known, "model.vocab_size": 7}  # as a run writes it, whose model has a vocabulary
    (out / "seed=1/config.json").write_text(json.dumps(unflatten(resolved)))
    capsys.readouterr()
    other = r"of another config: seed=1 clip was 1\.0 and is 2\.0"
    with pytest.raises(ValueError, match=other):
        run_sweep(pretraining(CONFIG, [*FEW, "--clip=2"]), grid, str(out), 1)
    with pytest.raises(ValueError, match="of another config: seed=1 "):  # the control
        run_sweep(pretraining(CONFIG, [*FEW, "--data.batch=8"]), grid, str(out), 1)
    assert run_sweep(pretraining(CONFIG, FEW), grid, str(out), 1) == 0
    assert "1 of 2 runs are finished already" in capsys.readouterr().out
    assert order(out) == ["seed=1", "seed=2"]


def test_folders_have_names_that_a_folder_can_have(tmp_path):
    assert folder_name({"optimizer.peak": "1e-4", "seed": "1"}) == "optimizer.peak=1e-4,seed=1"
    one, two = (folder_name({"data.path": path}) for path in ("a/b.txt", "a_b.txt"))
    assert "/" not in one
    assert one != two != folder_name({"data.path": "a b.txt"})
    points = make_points(
        pretraining(CONFIG, []), {"seed": ["1", "2"], "data.batch": ["8", "16"]}, tmp_path
    )
    assert [point.label for point in points][:2] == ["seed=1,data.batch=8", "seed=1,data.batch=16"]


def test_kinds_are_swept(tmp_path):
    grid = {"optimizer": ["adamw", "muon"], "optimizer.peak": ["1e-3"]}
    adamw, muon = make_points(pretraining(CONFIG, ["--optimizer.schedule=WSD"]), grid, tmp_path)
    assert muon.flags == ("--optimizer=muon", "--optimizer.peak=1e-3")
    assert adamw.identity != muon.identity
    with pytest.raises(ValueError, match="--sweep optimizer=adm: --optimizer 'adm' is none of"):
        make_points(pretraining(CONFIG, []), {"optimizer": ["adm"]}, tmp_path)


def test_booleans_are_swept(tmp_path):
    name = "model.tie_word_embeddings"
    points = make_points(
        pretraining(CONFIG, []), {name: ["True", "False"], "seed": ["4"]}, tmp_path
    )
    tied, apart = (point.flags for point in points)
    assert tied == ("--model.tie-word-embeddings", "--seed=4")
    assert apart == ("--model.no-tie-word-embeddings", "--seed=4")
    assert points[0].identity != points[1].identity
    assert points[1].label == "model.tie_word_embeddings=False,seed=4"


def test_the_values_of_a_repeated_setting_are_joined(monkeypatch, tmp_path):
    grids = []
    monkeypatch.setattr(sweep, "run_sweep", lambda *arguments: grids.append(arguments[1]) or 0)
    words = "--sweep seed=1,2 --sweep data.batch=8 --sweep seed=3".split()
    assert pretrain.main([CONFIG, *words]) == 0
    assert grids == [{"seed": ["1", "2", "3"], "data.batch": ["8"]}]


def test_jobs_without_a_sweep_are_refused(capsys, tmp_path):
    assert pretrain.main([CONFIG, "--sweep-jobs=2", f"--out={tmp_path / 'run'}"]) == 2
    assert "give --sweep NAME=V1,V2 as well" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_real_run_is_swept(tmp_path, text_file):
    """The same command line that a person types, with the smallest model."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    shared = [f"--data.path={text_file}", "--steps=2", "--sample.count=0", "--evaluation.batches=1"]
    shared += ["--model.n-layer=1", "--data.batch=4", "--data.length=16"]
    call = (
        "import sys; from transformers_jax.runs.sweep import run_sweep; "
        "from tests.runs.test_sweep import pretraining; "
        f"start, grid = pretraining({CONFIG!r}, {shared}), {{'seed': ['2']}}; "
        f"sys.exit(run_sweep(start, grid, {str(tmp_path)!r}, 1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "| finished | 2/2 |" in line]
    assert "(best)" in row
    assert set(json.loads((tmp_path / "sweep.json").read_text())["runs"]) == {"seed=2"}
