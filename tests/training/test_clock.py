"""The breakdown of wall time, and the contents of run.json."""

import json
import subprocess
import time

import pytest

from transformers_jax.training import clock as clocks
from transformers_jax.training.clock import Clock, summarise
from transformers_jax.training.provenance import end_run, git, read_run, start_run


@pytest.fixture
def at(monkeypatch):
    """Sets the time."""
    here = [0.0]
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: here[0])

    def set_time(value):
        here[0] = value

    return set_time


def test_every_second_belongs_to_the_innermost_kind(at, tmp_path):
    clock = Clock(tmp_path)
    at(1)
    with clock("steps"):
        at(5)
        with clock("input"):
            at(7)
        at(8)
        with pytest.raises(IndexError), clock("evaluation"):
            at(11) or [].pop()
        at(12)
    at(13)
    assert clock.seconds() == {"other": 2, "steps": 6, "input": 2, "evaluation": 3}
    assert sum(clock.seconds().values()) == 13


def test_the_clock_is_written_now_and_then_and_not_at_every_step(at, tmp_path):
    clock = Clock(tmp_path, every=10)
    for number in range(1, 15):
        at(number)
        clock.step(number)
        assert clock.file.exists() == (number > 10)
    assert json.loads(clock.file.read_text())["sessions"][0]["to"] == 11


def test_repeated_steps_count_as_lost(at, tmp_path):
    first = Clock(tmp_path)
    with first("steps"):
        at(100)
    first.step(50)
    first.save()
    second = Clock(tmp_path)
    second.resume(40)
    with second("steps"):
        at(130)
    second.step(55)
    times = second.save()
    assert times["seconds"] == {"other": 0, "steps": 110, "lost": 20}
    assert times["total"] == 130
    assert times["goodput"] == pytest.approx(110 / 130)
    third = Clock(tmp_path)  # the control: it continues where the second ended
    third.resume(55)
    assert third.summary()["seconds"]["lost"] == 20


def test_a_step_is_lost_once_in_each_process_that_computed_it():
    session = lambda first, last: {"from": first, "to": last, "seconds": {"steps": last - first}}
    times = summarise([session(0, 10), session(8, 12), session(5, 20)])
    assert times["seconds"] == {"steps": 20, "lost": 2 + 3 + 4}
    assert summarise([]) == {"goodput": 0.0, "total": 0, "seconds": {}, "sessions": []}


def test_the_clock_costs_microseconds(tmp_path):
    clock = Clock(tmp_path)
    began = time.perf_counter()
    for _ in range(1000):
        with clock("input"):
            pass
    assert (time.perf_counter() - began) / 1000 < 1e-4  # measured: 1 microsecond


def test_run_json_records_command_and_outcome(tmp_path):
    about = {"model_type": "gpt2", "parameters": 120_576, "steps": 10, "data": {"origin": "x"}}
    run = start_run(tmp_path, "pretrain nano.py", about=about)
    assert read_run(tmp_path) == run
    assert (run["state"], run["resumed"], run["ended"]) == ("running", 0, None)
    assert run["parameters"] == 120_576
    assert {"jax", "numpy"} <= set(run["packages"])
    assert run["devices"]["backend"] == "cpu"
    first = run["started"]
    end_run(tmp_path, "stopped", 4)
    assert read_run(tmp_path)["ended"] >= first
    again = start_run(tmp_path, "pretrain nano.py --steps 12", start=4, about={"steps": 12})
    assert (again["resumed"], again["started"], again["steps"]) == (1, first, 12)
    assert [start["step"] for start in again["starts"]] == [0, 4]
    assert again["model_type"] == "gpt2"
    assert end_run(tmp_path, "failed", 7, "the loss is nan")["why"] == "the loss is nan"


def test_a_broken_run_json_is_no_error(tmp_path):
    (tmp_path / "run.json").write_text('{"state": "runn')
    assert read_run(tmp_path) == {}
    assert start_run(tmp_path, "again")["resumed"] == 0


def test_the_commit_is_that_of_the_working_directory(tmp_path):
    assert git(tmp_path) is None
    git_command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git_command, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git_command, "add", "a"], check=True)
    subprocess.run([*git_command, "commit", "-qm", "one"], check=True)
    clean = git(tmp_path)
    assert len(clean["commit"]) == 40
    assert not clean["changed"]
    (tmp_path / "a").write_text("2")
    assert git(tmp_path) == {**clean, "changed": True}
