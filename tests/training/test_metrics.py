"""Metrics, console output, and trackers."""

import io
import json
import shutil
import sys
import time
import types

import pytest
from rich.console import Console as Screen

from transformers_jax.training import trackers
from transformers_jax.training.console import (
    ASCII_BLOCKS,
    Console,
    Panel,
    console,
    sparkline,
    words,
)
from transformers_jax.training.metrics import (
    Speed,
    figures,
    memory,
    newest,
    read,
    show_bytes,
    show_count,
    show_time,
)
from transformers_jax.training.trackers import Jsonl, make_trackers, numbers


def line(step, **more):
    return {"step": step, "loss": 2.5, "loss_hex": (2.5).hex(), "learning_rate": 3e-4, **more}


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (show_bytes(1023), "1023 B"), (show_bytes(1536), "1.5 KiB"),
        (show_bytes(3 * 2**50), "3072.0 TiB"), (show_count(9999), "9,999"),
        (show_count(124_439_808), "124M"), (show_count(999_999), "1M"),
        (show_time(3723.9), "1:02:03"),
        (show_time(59), "0:59"),
    ],
)  # fmt: skip
def test_numbers_are_written_short(shown, text):
    assert shown == text


def test_unknown_metrics_are_shown_too():
    shown = dict(figures(line(1, eval_loss=2.0, accuracy=0.25, router_entropy=1.5, mfu=0.381)))
    assert shown["accuracy"] == "25.0%"
    assert shown["router entropy"] == "1.5"
    assert shown["MFU"] == "38.1%"
    assert not {"step", "loss hex"} & set(shown)


def test_losses_of_several_sets_are_adjacent():
    labels = [label for label, _ in figures(line(1, **{"eval_loss/b": 1.0, "eval_loss": 2.0}))]
    assert labels[labels.index("eval loss") + 1] == "eval loss b"


def test_speed_and_waiting_are_of_the_last_steps(monkeypatch):
    now = iter([0.0, 2.0, 4.0, 5.0, 6.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    speed = Speed(over=2)
    assert speed.tick(0.0, 100) == {}
    assert speed.tick(0.5, 100)["tokens_per_second"] == 50
    figures = speed.tick(0.5, 100)
    assert (figures["tokens_per_second"], figures["input_wait"]) == (50, 0.25)
    figures = speed.tick(0.25, 500)  # the first step has left the window
    assert figures["tokens_per_second"] == 600 / 3
    assert figures["steps_per_second"] == pytest.approx(2 / 3)
    speed.pause()
    assert speed.tick(0.0, 100) == {}


def test_memory_is_that_of_the_process_where_the_backend_reports_none():
    before = memory()
    ballast = b"x" * (64 << 20)
    assert 2**20 < before < memory()
    assert ballast


# ---------------------------------------------------------------- reading back


def test_the_last_lines_are_read_from_the_end(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert newest(file) == ({}, {})
    lines = [
        line(n, filler="x" * 4000, **({"eval_loss": 1.0} if n == 2 else {})) for n in range(99)
    ]
    file.write_text("".join(json.dumps(x) + "\n" for x in lines) + '{"step": 99, "lo')
    last, evaluation = newest(file)
    assert (last["step"], evaluation["step"]) == (98, 2)
    assert read(file) == lines


def test_lines_after_the_checkpoint_are_dropped_and_counted(tmp_path):
    first = Jsonl(tmp_path)
    for n in range(1, 8):
        first.log(n, line(n))
    first.finish()
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 8, "los')  # as a killed process leaves it
    second = Jsonl(tmp_path, start=5)
    assert second.dropped == 3
    second.log(6, line(6))
    second.finish()
    assert [x["step"] for x in read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert Jsonl(tmp_path, start=6).dropped == 0


# ---------------------------------------------------------------- trackers


class Fake(types.ModuleType):
    """A module that records its calls, with the interface of wandb and of trackio."""

    def __init__(self):
        super().__init__("fake")
        self.calls, self.id = [], "run7"

    def init(self, **options):
        self.calls.append(("init", options))
        self.id = options.get("id") or self.id
        return self

    def log(self, values, step=None):
        self.calls.append(("log", values, step))

    def define_metric(self, *names, **options):
        pass

    def finish(self):
        self.calls.append(("finish",))

    def Table(self, columns, data):
        return data

    def named(self, name):
        return [call for call in self.calls if call[0] == name]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracking_service_resumes_the_same_run(name, tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, name, fake)
    for start in (0, 4):
        tracker = make_trackers([name], tmp_path, start, every=2)
        tracker.start({"name": "nano"})
        for step in range(start + 1, start + 5):
            tracker.log(step, line(step))
        tracker.text("sample", start + 4, "once upon a time")
        tracker.finish()
    first, second = (options for _, options in fake.named("init"))
    assert second["resume"] == "allow"
    if name == "wandb":
        assert (first["id"], second["id"]) == (None, "run7")
    else:
        assert first["name"] == second["name"].strip() != "nano"
    steps = [call[1].get("step", call[2]) for call in fake.named("log") if "loss" in call[1]]
    assert steps == [1, 2, 4, 5, 6, 8]  # the first of a process and every second
    assert len(fake.named("finish")) == 2
    assert "loss_hex" not in fake.named("log")[0][1]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_copied_run_has_its_own_run_of_a_service_and_a_moved_one_keeps_it(
    name, tmp_path, monkeypatch
):
    fake, messages = Fake(), []
    monkeypatch.setitem(sys.modules, name, fake)

    def started(folder, new):
        """The id of the service's run; `new` is the one that it gives to a new run."""
        fake.id = new
        make_trackers([name], folder, 4, 1, messages.append).start({"name": "nano"})
        return fake.id if name == "wandb" else fake.named("init")[-1][1]["name"]

    first, moved, copy = tmp_path / "first", tmp_path / "moved", tmp_path / "copy"
    first.mkdir()
    own = started(first, "run7")
    first.rename(moved)
    assert started(moved, "run8") == own
    assert messages == []
    shutil.copytree(moved, copy)
    other = started(copy, "run9")
    assert other != own
    assert len(messages) == 1
    for part in (f"{copy} is a copy of {moved}", f"whose {name} run is {own}", "after step 4"):
        assert part in messages[0]
    assert started(copy, "run10") == other  # from now on its own
    (copy / f"{name}.id").write_text(f"{own}\n")
    assert started(copy, "run11") == own  # as the message says
    assert len(messages) == 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_package_that_is_missing_is_named_with_its_extra(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"needs the package {name}.*transformers-jax\[{name}\]"):
        make_trackers([name], tmp_path, 0, 1)


def test_an_unknown_tracker_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(
        ValueError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"
    ):
        make_trackers(["tensorbord"], tmp_path, 0, 1)


@pytest.mark.parametrize("method", ["start", "log", "text", "finish"])
def test_a_tracker_that_fails_is_dropped_and_training_continues(method, tmp_path, monkeypatch):
    fake, messages = Fake(), []
    monkeypatch.setitem(sys.modules, "trackio", fake)
    tracker = make_trackers(["trackio", "tensorboard"], tmp_path, 0, 1, messages.append)
    failing = tracker.others[0]

    def fail(*arguments):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(failing, method, fail)
    tracker.start({})
    tracker.log(1, line(1))
    tracker.log(2, line(2))
    tracker.text("sample", 2, "text")
    tracker.finish()
    assert len(messages) == 1
    assert "WARNING: tracker Trackio failed" in messages[0]
    assert "no route to host" in messages[0]
    assert len(read(tmp_path / "metrics.jsonl")) == 2
    assert list(tmp_path.glob("events.out.tfevents.*"))  # the other one went on


def test_metrics_jsonl_is_not_dropped(tmp_path, monkeypatch):
    """The control: metrics.jsonl is needed to resume, so its errors end a run."""
    tracker = make_trackers([], tmp_path, 0, 1)
    tracker.jsonl._stream.close()
    with pytest.raises(ValueError, match="closed"):
        tracker.log(1, line(1))


def test_tensorboard_reads_what_was_written(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    tracker = make_trackers(["tensorboard"], tmp_path, 0, every=1)
    for step in (1, 2):
        tracker.log(step, line(step, eval_loss=step / 2))
    tracker.finish()
    data, scalars = next(tmp_path.glob("events.out.tfevents.*")).read_bytes(), []
    while data:  # records: length (8 bytes), checksum (4), event, checksum (4)
        size = int.from_bytes(data[:8], "little")
        event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
        scalars += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    assert [x for x in scalars if x[1] == "eval_loss"] == [
        (1, "eval_loss", 0.5),
        (2, "eval_loss", 1),
    ]


def test_texts_and_truths_are_not_drawn():
    assert numbers(line(1, done=True, why="x", n=3)) == {"loss": 2.5, "learning_rate": 3e-4, "n": 3}


def test_metrics_add_almost_no_time_to_a_step(tmp_path):
    """A bound that holds on a busy machine; on an idle one, a step takes 7 microseconds for
    metrics.jsonl and a line that goes to TensorBoard 120 more."""
    tracker, values = make_trackers(["tensorboard"], tmp_path, 0, every=10), line(1, mfu=0.1)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for step in range(100):
            tracker.log(step, values)
        best = min(best, (time.perf_counter() - began) / 100)
    tracker.finish()
    assert best < 1e-3
    assert trackers.TRACKERS["jsonl"] is Jsonl


# ---------------------------------------------------------------- the console


def test_a_log_has_a_line_every_so_often(capsys):
    screen = console(10, 0, 4)
    assert type(screen) is Console
    for n in range(1, 11):
        screen.step(line(n, **({"eval_loss": 2.0} if n == 6 else {})))
    screen.saving(10)
    screen.saved(10)
    screen.status("compiling")
    screen.close()
    lines = capsys.readouterr().out.splitlines()
    assert [text.split()[1] for text in lines[:-2]] == ["1/10", "4/10", "6/10", "8/10", "10/10"]
    assert "loss 2.5000  eval loss 2.0000  lr 3.00e-04" in lines[2]
    assert lines[-2] == "saving 10 ..."
    assert lines[-1].startswith("saved 10 in 0.")


def test_remaining_time_follows_the_mean_pace_and_not_the_first_step():
    screen = Console(101)
    assert screen.seconds_left(1, now=60.0) is None  # a minute of compiling is behind us
    assert screen.seconds_left(11, now=65.0) == pytest.approx(45.0)
    assert screen.seconds_left(101, now=110.0) is None


@pytest.mark.parametrize("width", [80, 140])
def test_the_panel_fits_its_terminal(width):
    screen = Screen(file=io.StringIO(), force_terminal=True, width=width, height=24)
    panel = Panel(5000, 0, screen, title="a-family-with-a-long-name")
    try:
        for n in range(1, 300):
            panel.step(line(n, tokens_per_second=1e6, memory=12 << 30, epoch=0.1, odd_name=1.25))
        panel.step(line(300, eval_loss=2.0, bits_per_byte=1.1, **{"eval_loss/wiki": 2.25}))
        panel.step(line(301))
        panel.saving(300)
        panel.status("evaluating")
        plain = Screen(file=io.StringIO(), width=width)
        plain.print(panel.render())
        rows = plain.file.getvalue().splitlines()
    finally:
        panel.close()
    assert max(map(len, rows)) <= width
    text = "\n".join(rows)
    for word in ("301/5,000", "6.0%", "eval loss wiki", "2.2500", "saving 300", "evaluating", "->"):
        assert word in text, word
    assert "step 300" in screen.file.getvalue()  # scrolled above


def test_a_curve_of_any_length_is_drawn_in_a_line():
    curve = sparkline([float(n) for n in range(100_000)], 16)
    assert curve == "".join(sorted(curve))
    assert len(curve) == 16
    assert curve[0] == "▁"
    assert curve[-1] == "█"
    assert sparkline([1.0, 1.0], 8, ASCII_BLOCKS).isascii()


def test_all_figures_are_written_alike_in_training_and_on_every_set():
    line = {"step": 1, "loss": 2.0, "tokens_per_second": 1234.0, "eval_f1_macro/final": 0.5}
    line |= {f"{name}/final": 0.25 for name in ("eval_loss", "bits_per_byte", "eval_accuracy")}
    line |= {"accuracy": 0.125, "eval_accuracy": 0.5, "bits_per_byte": 2.0}
    assert words(line) == (
        "loss 2.0000  eval loss final 0.2500  bits/byte 2.000  bits/byte final 0.250  "
        "accuracy 12.5%  eval accuracy 50.0%  eval accuracy final 25.0%  tokens/s 1,234  "
        "eval f1 macro final 0.5"
    )


def test_a_full_disk_names_the_file_of_figures(tmp_path, monkeypatch, capsys):
    """And the command says what to do about it."""
    import errno

    from transformers_jax.runs import pretrain

    full = Jsonl(tmp_path)
    full._stream = open("/dev/full", "a", buffering=1)  # noqa: SIM115
    with pytest.raises(OSError, match=r"No space left on device: .*metrics\.jsonl"):
        full.log(1, {"loss": 1.0})
    with pytest.raises(OSError, match=r"No space left on device: .*metrics\.jsonl"):
        full.finish()
    error = OSError(errno.ENOSPC, "No space left on device", "a/metrics.jsonl")
    monkeypatch.setattr(pretrain, "_train_or_sweep", lambda *_: (_ for _ in ()).throw(error))
    assert pretrain.main(["configs/nano.py"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "error: a/metrics.jsonl cannot be written: No space left on device; free"
    )
    assert "choose another --out" in said
