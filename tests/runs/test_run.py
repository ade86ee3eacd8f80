"""Whole runs: what is in the folder, and that stopping and continuing changes no bit."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import allocator
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.runs.fit import fit
from transformers_jax.runs.pretrain import main
from transformers_jax.training.config import Sample, load, to_dict, to_file
from transformers_jax.training.folder import RunFolder
from transformers_jax.training.metrics import read


def losses(folder):
    return {line["step"]: line["loss_hex"] for line in read(os.path.join(folder, "metrics.jsonl"))}


@pytest.fixture(scope="module")
def whole(text_file, tmp_path_factory):
    """A finished run of six steps, never interrupted."""
    from tests.training.conftest import small as make

    config = make.__wrapped__(text_file, tmp_path_factory.mktemp("whole"))
    evaluation = dataclasses.replace(config.evaluation, final_batches=10**6)
    config = config.replace(sample=Sample(count=1, tokens=8), evaluation=evaluation)
    assert fit(config, "python -m train.pretrain somewhere").exit_code == 0
    return config


def test_the_folder_of_a_run_holds_all_documented_files(whole):
    folder = Path(whole.out)
    for name in (
        "config.json", "metrics.jsonl", "checkpoints", "samples.txt", "loss.png", "report.md",
        "tokenizer.json", "model/config.json", "model/model.safetensors", "model/tokenizer.json",
    ):  # fmt: skip
        assert (folder / name).exists(), name
    assert list(folder.glob("events.out.tfevents.*"))
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    report = (folder / "report.md").read_text()
    for word in ("python -m train.pretrain somewhere", "bits per byte", "jax", "fingerprint"):
        assert word in report


def test_every_step_is_recorded_exactly(whole):
    lines = read(os.path.join(whole.out, "metrics.jsonl"))
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert float.fromhex(line["loss_hex"]) == line["loss"]
        assert min(line["gradient_norm"], line["learning_rate"]) > 0
    measured = [line for line in lines if "eval_loss" in line]
    assert [line["step"] for line in measured] == [3, 6]
    assert {line["eval_batches"] for line in measured} == {2}  # a curve of one set
    assert ["eval_loss/final" in line for line in measured] == [False, True]
    for line in measured:  # a byte is a token here
        assert line["bits_per_byte"] == pytest.approx(line["eval_loss"] / math.log(2))


def test_the_exported_model_is_the_trained_one(whole):
    model = tj.from_pretrained(os.path.join(whole.out, "model"))
    tokenizer = load_tokenizer(os.path.join(whole.out, "model"))
    text = Path(whole.data.path).read_text()
    ids = np.asarray(tokenizer.encode(text[int(len(text) * 0.9) :]))
    rows = [ids[n : n + 17] for n in range(0, len(ids) - 16, 16)]
    loss = float(model(input_ids=np.stack(rows), labels=np.stack(rows)).loss)
    last = read(os.path.join(whole.out, "metrics.jsonl"))[-1]
    assert loss == pytest.approx(last["eval_loss/final"], abs=1e-4)
    assert last["eval_batches/final"] == -(-len(rows) // 4)
    assert last["eval_loss"] != last["eval_loss/final"]


def test_a_stopped_and_resumed_run_changes_no_bit(whole, small):
    config = dataclasses.replace(small, out=small.out + "-halves")
    assert fit(config.replace(steps=3)).exit_code == 0
    assert sorted(losses(config.out)) == [1, 2, 3]
    assert fit(config).exit_code == 0
    assert losses(config.out) == losses(whole.out)
    one, two = (tj.from_pretrained(os.path.join(c.out, "model")) for c in (whole, config))
    from transformers_jax.nn.param import flatten, params

    ours, theirs = flatten(params(one)), flatten(params(two))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_another_seed_is_another_run(whole, small):
    """The control of the test above."""
    assert fit(small.replace(seed=1, steps=1)).exit_code == 0
    assert losses(small.out)[1] != losses(whole.out)[1]


def test_a_run_can_start_from_its_own_config(whole, small, tmp_path):
    config = load(whole.out)
    assert to_file(config) == json.loads((Path(whole.out) / "config.json").read_text())
    (tmp_path / "again").mkdir()
    shutil.copy(Path(whole.out) / "config.json", tmp_path / "again")
    again = load(tmp_path / "again" / "config.json")  # trains where it lies
    assert fit(again.replace(steps=1, sample=Sample(count=0))).exit_code == 0
    assert losses(tmp_path / "again")[1] == losses(whole.out)[1]


def test_a_copy_of_a_run_is_trained_on_and_the_run_stays_as_it_is(whole, tmp_path, capsys):
    copy, before = tmp_path / "copy", losses(whole.out)
    shutil.copytree(whole.out, copy)
    config = copy / "config.json"
    for out in (None, whole.out):  # as earlier versions wrote it, too
        if out:
            config.write_text(json.dumps({**json.loads(config.read_text()), "out": out}))
        assert load(config).out == str(copy)
    assert main([str(config), "--steps", "7", "--sample.count", "0"]) == 0
    assert "continuing from step 6" in capsys.readouterr().out
    assert sorted(losses(copy)) == [1, 2, 3, 4, 5, 6, 7]
    assert losses(whole.out) == before
    mine = tmp_path / "mine.json"  # written by hand: what it says is done
    mine.write_text(json.dumps({"out": "elsewhere", "steps": 3}))
    assert (load(mine).out, load(mine).steps) == ("elsewhere", 3)


def contents(folder):
    """The bytes of all files below a folder, and its folders."""
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(Path(folder).rglob("*"))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule_steps": 12}, "schedule was 6 steps and is 12.*--allow-schedule-change"),
        ({"seed": 5}, "another run: seed was 0 and is 5"),
        ({"clip": 2.0}, "clip was 1.0 and is 2.0"),
        ({"resume": "never"}, "is not empty"),
        ({"allow_change": ("sead",)}, "'sead' is no setting that must stay; did you mean 'seed'"),
    ],
)
def test_a_folder_is_continued_by_its_own_run_only_and_else_stays_as_it_is(whole, change, message):
    interrupted = Path(whole.out) / "checkpoints" / "8.orbax-checkpoint-tmp"
    interrupted.mkdir()
    before = contents(whole.out)
    with pytest.raises(ValueError, match=message):
        fit(whole.replace(**change))
    assert contents(whole.out) == before
    interrupted.rmdir()


def test_the_run_of_a_later_release_is_left_to_it(whole):
    file = Path(whole.out) / "config.json"
    written = file.read_text()
    file.write_text(json.dumps({**json.loads(written), "format": 99, "wings": 2}))
    before = contents(whole.out)
    for start in (lambda: fit(whole), lambda: load(file)):
        with pytest.raises(
            ValueError, match=r"config.json is of format 99.*go on with the release"
        ):
            start()
    assert contents(whole.out) == before
    file.write_text(written)
    assert load(file).steps == whole.steps  # the control


def test_steps_may_grow_and_a_schedule_may_change_by_name(small, capsys):
    schedule = dataclasses.replace(small.optimizer.schedule, warmup=1)
    optimizer = dataclasses.replace(small.optimizer, schedule=schedule)
    config = small.replace(
        steps=2, schedule_steps=None, optimizer=optimizer, out=small.out + "-grow"
    )
    assert fit(config).exit_code == 0
    capsys.readouterr()
    assert fit(config.replace(steps=3)).exit_code == 0
    said = capsys.readouterr().out
    assert "WARNING: the schedule of 2 steps is shorter than the run of 3: from step 3 on" in said
    assert "the learning rate stays 0.0003 (its peak: 0.003)" in said
    final = config.optimizer.peak * config.optimizer.schedule.final
    assert read(os.path.join(config.out, "metrics.jsonl"))[2]["learning_rate"] == pytest.approx(
        final
    )
    changed = config.replace(steps=4, schedule_steps=100, allow_schedule_change=True)
    assert fit(changed).exit_code == 0
    said = capsys.readouterr().out
    assert "the schedule was Cosine(warmup=1, from_zero=False, final=0.1) over 2 steps" in said
    assert "the learning rate of step 4 is 0.003, and that of the step before was 0.0003" in said
    assert read(os.path.join(config.out, "metrics.jsonl"))[3]["learning_rate"] > 2 * final


def test_other_text_is_another_run(whole, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(Path(whole.data.path).read_text().replace("line", "LINE"))
    with pytest.raises(ValueError, match="another run: the text was"):
        fit(whole.replace(data=dataclasses.replace(whole.data, path=str(other))))


def test_a_prompt_of_token_zero_is_text_and_not_padding(small):
    data = dataclasses.replace(small.data, tokenizer="character")
    sample = Sample(prompt="\n", count=1, tokens=8)
    assert fit(small.replace(steps=1, data=data, sample=sample, seed=3)).exit_code == 0
    assert load_tokenizer(small.out).encode("\n").tolist() == [0]
    assert (Path(small.out) / "samples.txt").read_text().startswith("\n")


def test_two_processes_do_not_share_a_folder(tmp_path):
    first = RunFolder(tmp_path / "a", "auto")
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()}"):
        RunFolder(tmp_path / "a", "auto")
    first.close()
    (tmp_path / "a" / "checkpoints").mkdir()  # as a start that failed leaves it
    RunFolder(tmp_path / "a", "never").close()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        RunFolder(tmp_path / "a", "never")


def test_a_signal_saves_the_step_and_the_run_continues_bit_by_bit(whole, small):
    """A real process and a real SIGTERM."""
    config = small.replace(out=small.out + "-term", steps=2000, schedule_steps=2000, save_every=500)
    straight = config.replace(out=config.out + "-straight")
    file = os.path.join(os.path.dirname(small.out), "config.json")
    with open(file, "w") as stream:
        json.dump(to_dict(config), stream)
    process = subprocess.Popen(
        [sys.executable, "-m", "train.pretrain", file, "--evaluation.every=0"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    metrics = os.path.join(config.out, "metrics.jsonl")
    until = time.time() + 120
    while len(read(metrics)) < 5 and time.time() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    done = len(read(metrics))
    assert f"SIGTERM: saved step {done}" in output
    kept = allocator.useful({**os.environ, "JAX_PLATFORMS": "cpu"})
    assert ("is kept for the next step" in output) == kept
    assert 5 <= done < 2000
    few = dict(steps=done + 2, evaluation=dataclasses.replace(config.evaluation, every=0))
    assert fit(config.replace(**few)).exit_code == 0
    assert fit(straight.replace(**few)).exit_code == 0
    assert losses(config.out) == losses(straight.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["configs/nana.py"], "does not exist.*did you mean 'configs/nano.py'"),
        (["configs/nano.py", "--stepz=3"], "unknown flag --stepz; did you mean '--steps'"),
        (["configs/nano.py", "--steps=0"], "steps .0. must be at least 1"),
        (["configs/nano.py", "--data.rows=pack"], "'--data.rows'.*did you mean 'packed'"),
        (["configs/nano.py", "--data.path=none.txt"], "'none.txt' is not a file"),
        (["configs/nano.py", "--mesh.data=64"], "needs 64 devices and there are"),
        (
            ["configs/nano.py", "--data.path=README.md", "--data.length=65"],
            "longer than model.n_pos",
        ),
        (["configs/nano.py", "--data.path=LICENSE", "--data.batch=900"], "fewer than one batch"),
        (["configs/nano.py", "--accumulate=3"], "the nearest are 15 and 18"),
    ],
)
def test_errors_are_reported_in_one_line(arguments, message, capsys, tmp_path):
    import re

    misused = re.search("unknown flag|--data.rows|at least 1", message)
    assert main([*arguments, "--out", str(tmp_path / "run")]) == (2 if misused else 1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0])


def test_without_a_config_the_usage_is_shown(capsys):
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
