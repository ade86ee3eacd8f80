"""Several processes train what one does, share the work, and agree."""

import json
import re
import signal

import numpy as np
import pytest

from benchmarks.processes import FAULTS, Runs, difference
from tests.data.test_stream import stream
from transformers_jax import processes
from transformers_jax.data.stream import Stream
from transformers_jax.runs import pretrain
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

SMALL = """--steps 6 --schedule-steps 6 --data.batch 8 --data.length 16 --model.n-layer 1
    --model.n-embd 16 --model.n-head 2 --save-every 3 --evaluation.every 3 --evaluation.batches 1
    --sample.tokens 4 --sample.count 1 --log-every 1 --optimizer.schedule.warmup 2
    --peer-timeout 120""".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one process, this one, and the same run of two, each with two devices."""
    runs = Runs(tmp_path_factory.mktemp("processes"), SMALL, devices=4)
    started = runs.start("two", 2)
    command = [runs.config, "--data.path", str(runs.root / "text.txt"), *SMALL]
    code = pretrain.main([*command, "--out", str(runs.root / "one")])
    runs.two = runs.wait("two", started)
    assert [code, *(each.code for each in runs.two)] == [0, 0, 0], runs.two[0].output[-3000:]
    return runs


def test_two_processes_have_the_losses_of_one(runs):
    one, two = runs.losses("one"), runs.losses("two")
    assert list(one) == list(two) == list(range(1, 7))
    assert difference(one, two) < 1e-6 * one[1]  # of float32: sums in another order
    assert one[1] - one[6] > 1e-3  # the control: it learns
    read = lambda name: json.loads((runs.root / name / "model" / "config.json").read_text())
    assert read("one") == read("two")


def test_two_processes_write_one_of_each_file(runs):
    files = lambda name: {
        re.sub(r"events.*", "events", str(path.relative_to(runs.root / name)))
        for path in (runs.root / name).rglob("*")
        if "checkpoints" not in path.parts
    }
    assert files("one") == files("two")
    lines = (runs.root / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 7))
    sampled = lambda name: (runs.root / name / "samples.txt").read_text()
    assert sampled("one") == sampled("two")
    assert runs.two[1].output.count("loss") == 0  # process 1 prints no figures


# ---------------------------------------------------------------- whole runs, slow


@pytest.mark.slow
def test_runs_of_one_and_of_two_processes_continue_each_other(runs):
    """Two begin, one continues, and two go on, until one of them is stuck."""
    runs.run("turns", 2, "--steps", "2")
    runs.run("turns", 1, "--steps", "4")
    extra = [[], ["--debug.stall-at", "6"]]
    started = runs.start("turns", 2, "--steps", "8", "--peer-timeout", "12", extra=extra)
    ended = runs.wait("turns", started)
    for index, each in enumerate(ended):
        assert each.code == EXIT_CODE, each.output[-3000:]
        assert f"process {index} of 2 ends: process 1 is stuck" in each.output
        assert (
            "loop.py" in (runs.root / "turns" / ["stacks.txt", "stacks-1.txt"][index]).read_text()
        )
    assert difference(runs.losses("one"), runs.losses("turns")) < 1e-6 * runs.losses("one")[1]
    assert len(list((runs.root / "turns").glob("events*"))) == 3  # one for each start
    starts = json.loads((runs.root / "turns" / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 2, 4]


@pytest.mark.slow
def test_two_processes_start_from_a_checkpoint_as_one_does(runs):
    flags = ["--init-from", str(runs.root / "one"), "--steps", "3"]
    runs.run("from-one", 1, *flags)
    runs.run("from-two", 2, *flags)
    one, two = runs.losses("from-one"), runs.losses("from-two")
    assert difference(one, two) < 1e-6 * one[1]
    assert one[1] < runs.losses("one")[2]  # the control: the weights are those of the end


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["in both", "in process 1"])
def test_a_checkpoint_that_is_missing_is_refused_by_all_in_one_line(runs, missing):
    nothing = str(runs.root / "nothing")
    first = nothing if missing == "in both" else str(runs.root / "one")
    extra = [["--init-from", first], ["--init-from", nothing]]
    for index, each in enumerate(runs.wait("refused", runs.start("refused", 2, extra=extra))):
        whose = "process 1: " if index == 0 and missing == "in process 1" else ""
        assert each.code == 1
        assert f"error: {whose}{nothing} does not exist" in each.output
        assert sum("error" in line for line in each.output.splitlines()) == 1
        assert "Traceback" not in each.output
    assert not (runs.root / "refused").exists()


@pytest.mark.slow
def test_a_model_in_parts_draws_the_samples_of_a_whole_one(runs):
    runs.run("parts", 2, "--mesh.fsdp", "4", "--mesh.data", "1", "--sample.every", "2")
    for file in ("samples.txt", "samples/000006.txt"):
        assert (runs.root / "parts" / file).read_text() == (runs.root / "one" / file).read_text()
    assert (runs.root / "parts" / "samples" / "000002.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_named_within_thirty_seconds(runs, kind, victim):
    name, other = f"{kind}-{victim}", 1 - victim
    flags = ["--steps", "100000", "--save-every", "1000", "--peer-timeout", "20"]
    ended = runs.fault(kind, victim, name, 6, *flags)[other]
    assert ended.code == EXIT_CODE, ended.output[-3000:]
    assert ended.after < 30
    assert f"process {other} of 2 ends: process {victim}" in ended.output
    stacks = runs.root / name / ("stacks-1.txt" if other else "stacks.txt")
    # where a collective broke with its process, this one is on its way out of the loop
    where = "fit.py" if kind == "killed" else "loop.py"
    assert where in ended.output
    assert where in stacks.read_text()


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
