"""Several processes train what one does, share the work, agree, and notice who is missing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import FAULTS, Runs, difference
from tests.data.test_stream import stream
from transformers_jax import processes
from transformers_jax.data.stream import Stream
from transformers_jax.training.peers import Seen, Sign, find_fault
from transformers_jax.training.watchdog import EXIT_CODE

TEXTS = ["", "auto,", "h", "h:0,2,0", "h:1,2,2", "h:99999,2,0", "a b:1,2,0", "h:1,2,-1"]


@pytest.mark.parametrize("where", TEXTS)
def test_an_address_that_is_none_is_refused_with_its_form(where):
    with pytest.raises(ValueError, match=r"--distributed .*: expected (auto|a port)"):
        processes.connect(where)


def test_without_a_cluster_the_error_says_what_to_give(monkeypatch):
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    with pytest.raises(ValueError, match=r"no cluster was found .*HOST:PORT,N,I"):
        processes.connect("auto")


def test_settings_that_differ_are_named_with_their_processes():
    records = [{"steps": 4, "peak": 0.1}, {"steps": 4, "peak": 0.2}, {"steps": 4, "peak": 0.1}]
    assert processes._difference(records) == "peak is 0.1 in processes 0, 2 and 0.2 in process 1"
    assert processes._difference(records[::2]) == ""
    assert "steps is 4 in process 0 and not there in process 1" in processes._difference(
        [{"steps": 4}, {}]
    )


# ---------------------------------------------------------------- who is at fault


def seen(*signs, silent=0.0, stood=0.0):
    """What is known of processes at second 1000."""
    return {n: Seen(sign, 1000 - silent, 1000 - stood) for n, sign in enumerate(signs)}


def sign(place, limit=20.0, end=""):
    return Sign(1, place, "steps", limit, end)


def test_who_is_behind_and_does_not_move_is_stuck():
    behind = seen(sign((7, 2)), sign((6, 1)), stood=21)
    assert find_fault(behind, 1000, 20).startswith("process 1 is stuck: alive, and for 21 s")
    assert not find_fault(behind, 995, 20)  # not yet
    patient = seen(sign((7, 2)), sign((6, 1), limit=3600), stood=21)
    assert not find_fault(patient, 1000, 20)  # it evaluates, say


def test_a_step_that_takes_all_of_them_long_is_no_fault():
    assert not find_fault(seen(sign((6, 1)), sign((6, 1)), stood=500), 1000, 20)


def test_who_gives_no_sign_is_dead_unless_it_had_finished():
    signs = seen(sign((6, 1)), sign((6, 1)))
    signs[1].alive = 979
    assert "process 1 has given no sign of life for 21 s" in find_fault(signs, 1000, 20)
    signs[1].sign = sign((6, 1), end="finished")
    assert not find_fault(signs, 1000, 20)


def test_an_error_is_told():
    failed = seen(sign((6, 1)), sign((6, 1), end="ValueError: no such file"))
    assert find_fault(failed, 1000, 20) == "process 1 ended with ValueError: no such file"
    assert Sign.of(json.dumps(failed[1].sign)) == failed[1].sign


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("rows", ["stream", "packed", "bucketed"])
def test_the_rows_of_processes_are_those_of_the_whole_batch(rows):
    whole = stream(rows)
    data = whole.data
    halves = [
        Stream(
            whole.parts, [1.0], data, lambda size, n=n: range(n * size // 2, (n + 1) * size // 2)
        )
        for n in range(2)
    ]
    position = whole.start
    for _ in range(5):
        batch, after = whole.batch(position, data.batch)
        parts = [half.batch(position, data.batch) for half in halves]
        assert all(position == after for _, position in parts)
        joined = np.concatenate([part["input_ids"] for part, _ in parts])
        np.testing.assert_array_equal(joined, batch["input_ids"])
        position = after


# ---------------------------------------------------------------- whole runs

SMALL = """--steps 8 --schedule-steps 8 --data.batch 8 --data.length 16 --model.n-layer 1
    --model.n-embd 16 --model.n-head 2 --save-every 3 --evaluation.every 4 --evaluation.batches 2
    --sample.tokens 4 --sample.count 1 --log-every 1 --optimizer.schedule.warmup 2
    --peer-timeout 120""".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one process, and one that two begin, one continues, and two go on with, until one of
    them is stuck."""
    runs = Runs(tmp_path_factory.mktemp("processes"), SMALL)
    runs.run("one", 1)
    runs.run("two", 2, "--steps", "3")
    runs.run("two", 1, "--steps", "6")
    flags = ["--peer-timeout", "12"]
    extra = [[], ["--debug.stall-at", "8"]]
    runs.stuck = runs.wait("two", runs.start("two", 2, *flags, extra=extra))
    return runs


def test_two_processes_have_the_losses_of_one_and_continue_each_other(runs):
    one, two = runs.losses("one"), runs.losses("two")
    assert sorted(one) == list(range(1, 9))
    assert sorted(two)[:7] == list(range(1, 8))
    assert difference(one, two) < 1e-6 * one[1]  # of float32: sums in another order
    assert one[1] - one[7] > 1e-3  # the control: it learns


def test_two_processes_write_one_of_each_file(runs):
    folder = runs.root / "two"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    assert (folder / "model" / "model.safetensors").exists()  # of the end at 3, and at 6
    assert len(list(folder.glob("events*"))) == 3  # one for each start
    starts = json.loads((folder / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 3, 6]


def test_a_stuck_process_ends_both_by_its_number_with_all_stacks(runs):
    for index, ended in enumerate(runs.stuck):
        assert ended.code == EXIT_CODE, ended.output[-3000:]
        assert f"process {index} of 2 ends: process 1 is stuck" in ended.output
    assert "loop.py" in (runs.root / "two" / "stacks-1.txt").read_text()
    assert "loop.py" in (runs.root / "two" / "stacks.txt").read_text()


# ---------------------------------------------------------------- whole runs, each fault


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_named_within_thirty_seconds(runs, kind):
    name = f"fault-{kind}"
    flags = ["--steps", "100000", "--save-every", "1000", "--peer-timeout", "20"]
    ended = runs.fault(kind, 1, name, 6, *flags)
    assert ended[0].code == EXIT_CODE
    assert ended[0].after < 30
    assert "process 0 of 2 ends: process 1 " in ended[0].output
    assert (runs.root / name / "stacks.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["killed", "frozen"])
def test_without_its_coordinator_a_process_ends_within_thirty_seconds(runs, kind):
    flags = ["--steps", "100000", "--save-every", "1000", "--peer-timeout", "20"]
    ended = runs.fault(kind, 0, f"first-{kind}", 6, *flags)
    assert ended[1].code != 0
    assert ended[1].after < 30
    assert "loop.py" in ended[1].output  # the stacks of its threads


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_with_a_checkpoint(runs):
    started = runs.start("signal", 2, "--steps", "100000", "--save-every", "1000")
    runs.until("signal", 5)
    started[1].send_signal(signal.SIGTERM)
    ended = runs.wait("signal", started)
    assert [each.code for each in ended] == [143, 143], ended[0].output[-3000:]
    last = max(runs.losses("signal"))
    assert (runs.root / "signal" / "checkpoints" / str(last)).is_dir()


@pytest.mark.slow
def test_processes_that_differ_are_refused_in_all_by_the_name_of_the_setting(runs):
    extra = [[], ["--optimizer.peak", "0.5"]]
    for each in runs.wait("differ", runs.start("differ", 2, extra=extra)):
        assert each.code == 1
        assert "optimizer.peak is 0.003 in process 0 and 0.5 in process 1" in each.output
    assert not (runs.root / "differ").exists()


@pytest.mark.slow
def test_the_variables_of_slurm_are_enough(runs):
    flags = ["--steps", "1", "--sample.count", "0"]
    ended = runs.wait("slurm", runs.start("slurm", 2, *flags, slurm=True))
    assert [each.code for each in ended] == [0, 0], ended[0].output[-3000:]
    assert difference(runs.losses("slurm"), runs.losses("one")) < 1e-5


@pytest.mark.slow
def test_the_script_for_this_machine_starts_a_run(runs):
    command = ["train/launch/local.sh", "2", runs.config, *SMALL, "--steps", "2"]
    command += ["--data.path", str(runs.root / "text.txt"), "--out", str(runs.root / "script")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path, "DEVICES": "2"}, check=False)
    assert done.returncode == 0
    assert sorted(runs.losses("script")) == [1, 2]
