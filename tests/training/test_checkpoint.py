"""Checkpoints are restored as saved or refused; a damaged step falls back to the one before."""

import dataclasses
import errno
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.states import damage, newest, same, state, write
from transformers_jax import cli
from transformers_jax.training import disk
from transformers_jax.training.checkpoint import Checkpoints, SaveFailed, checksums
from transformers_jax.training.checksums import checksum_on_host


@pytest.fixture
def saved(tmp_path):
    return write(tmp_path / "c")


def test_the_newest_state_comes_back_bit_by_bit(saved):
    (restored, meta), messages, steps = newest(saved)
    assert same(restored, state(6))
    assert not same(restored, state(4))
    assert (meta["note"], meta["step"], steps, messages) == (6, 6, [4, 6], [])


def test_one_flipped_bit_falls_back_to_the_step_before_and_is_reported(saved):
    damage(saved, 6)
    (restored, meta), messages, steps = newest(saved)
    assert same(restored, state(4))
    assert meta["note"] == 4
    assert len(messages) == 1
    assert "params.w" in messages[0].splitlines()[0]
    assert steps == [4]  # so that step 6 can be saved again


def test_strict_refuses_a_damaged_step(saved):
    damage(saved, 6)
    with pytest.raises(ValueError, match=r"6: damaged, params\.w changed on disk"):
        newest(saved, strict=True)


def test_a_truncated_step_falls_back_too(saved):
    file = max((saved / "6").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    file.write_bytes(file.read_bytes()[:100])
    (restored, _), messages, _ = newest(saved)
    assert same(restored, state(4))
    assert "cannot be read" in messages[0]


def test_nothing_intact_is_an_error_and_nothing_saved_is_none(saved, tmp_path):
    damage(saved, 6)
    damage(saved, 4)
    (saved / "8.orbax-checkpoint-tmp" / "d").mkdir(parents=True)
    (saved / "2.removed").mkdir()
    before = sorted(path.relative_to(saved) for path in saved.rglob("*"))
    with pytest.raises(ValueError, match=r"none of .* is intact, and all of them are left as") as e:
        newest(saved)
    with pytest.raises(ValueError, match="6: damaged"):
        newest(saved, strict=True)
    assert sorted(path.relative_to(saved) for path in saved.rglob("*")) == before
    command = re.search(r"`transformers-jax (.*?)`", str(e.value)).group(1)
    with pytest.raises(ValueError, match="steps 4, 6 are damaged"):
        cli.run(shlex.split(command))
    assert newest(tmp_path / "empty")[0] is None


def test_other_files_are_reported_and_interrupted_saves_are_removed(saved):
    for name in ("8.orbax-checkpoint-tmp", "4.removed", "999999", "notes"):
        (saved / name / "d").mkdir(parents=True)
    shutil.copytree(saved / "6", saved / "007")  # complete, but no name that we give
    restored, messages, steps = newest(saved)
    assert (restored[1]["step"], steps) == (6, [4, 6])
    assert messages == [
        "removed what an interrupted save left: 4.removed, 8.orbax-checkpoint-tmp",
        f"ignored in {saved}, not checkpoints: 007, 999999, notes",
    ]
    assert sorted(path.name for path in saved.iterdir()) == ["007", "4", "6", "999999", "notes"]


def test_a_step_is_listed_only_when_it_is_complete(tmp_path, monkeypatch):
    checkpoints, go = Checkpoints(tmp_path, keep=2), threading.Event()
    real_save = checkpoints._handler.save
    monkeypatch.setattr(
        checkpoints._handler, "save", lambda *a, **k: (go.wait(), real_save(*a, **k))
    )
    checkpoints.save(state(3), {})
    assert (checkpoints.steps(), checkpoints.saving, checkpoints.saved) == ([], 3, None)
    go.set()
    checkpoints.wait()
    assert (checkpoints.steps(), checkpoints.saving, checkpoints.saved) == ([3], None, 3)


def test_the_best_step_is_retained_when_newer_ones_are_deleted(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, best=True)
    for step, metric in ((1, 3.0), (2, 0.5), (3, 0.7), (4, None), (5, 2.0), (6, 0.5)):
        checkpoints.save(state(step), {}, metric)
        checkpoints.wait()
        if step == 5:
            assert (checkpoints.steps(), checkpoints.best_steps()[0]) == ([2, 4, 5], 2)
    checkpoints.close()
    again = Checkpoints(tmp_path, keep=2, best=True)
    assert (again.steps(), again.best_steps()[0]) == ([5, 6], 6)  # of equals, the later
    with pytest.raises(ValueError, match="finite"):
        again.save(state(7), {}, float("nan"))


def test_without_best_only_the_newest_steps_remain_and_never_fewer_than_two(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step, metric in ((1, 0.1), (2, 3.0), (3, 2.0)):
        checkpoints.save(state(step), {}, metric)
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]


# ---------------------------------------------------------------- refused saves


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    checkpoints, good = Checkpoints(tmp_path), state(2)
    bad = dataclasses.replace(good, params={**good.params, "b": jnp.array([1.0, jnp.nan])})
    checkpoints.save(bad, {})
    with pytest.raises(FloatingPointError, match=r"not finite in params\.b"):
        checkpoints.wait()
    assert checkpoints.steps() == []
    checkpoints.save(good, {})
    checkpoints.wait()
    assert checkpoints.steps() == [2]


@pytest.mark.parametrize("leaf", [np.float32(1), 3, np.zeros(2), "text"])
def test_leaves_that_cannot_be_written_are_refused_at_once(tmp_path, leaf):
    with pytest.raises(ValueError, match=r"params\.odd is .*; make them with jnp\.asarray"):
        Checkpoints(tmp_path).save(dataclasses.replace(state(2), params={"odd": leaf}), {})


def test_the_same_step_twice_is_nothing_new_and_another_state_of_it_is_refused(saved):
    checkpoints = Checkpoints(saved)
    checkpoints.save(state(6), {})
    checkpoints.wait()
    checkpoints.save(state(6, seed=9), {})
    with pytest.raises(SaveFailed, match="another state of step 6"):
        checkpoints.wait()


# ---------------------------------------------------------------- disks


def failing(checkpoints, monkeypatch, times, error):
    """Makes the next attempts to write fail; returns the list of all attempts."""
    real_save, attempts = checkpoints._handler.save, []

    def save(*arguments, **options):
        attempts.append(1)
        if len(attempts) <= times:
            raise error
        return real_save(*arguments, **options)

    monkeypatch.setattr(checkpoints._handler, "save", save)
    monkeypatch.setattr(disk, "FIRST_PAUSE", 0.001)
    return attempts


def test_a_transient_disk_error_is_retried_three_times(tmp_path, monkeypatch):
    messages = []
    checkpoints = Checkpoints(tmp_path, say=messages.append)
    attempts = failing(checkpoints, monkeypatch, 3, OSError(errno.EIO, "Input/output error"))
    checkpoints.save(state(2), {})
    checkpoints.wait()
    assert (checkpoints.steps(), len(attempts), len(messages)) == ([2], 4, 3)
    assert "Input/output error" in messages[0]
    attempts = failing(checkpoints, monkeypatch, 4, OSError(errno.EIO, "Input/output error"))
    checkpoints.save(state(3), {})
    with pytest.raises(SaveFailed, match=r"cannot be written: Input/output error\. .*intact: 2$"):
        checkpoints.wait()
    assert len(attempts) == 4


def poll(checkpoints):
    """Polls as the training loop does, for a second at most."""
    for _ in range(100):
        checkpoints.check()
        time.sleep(0.01)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device"),
    ],
)
def test_a_full_disk_is_reported_at_once_with_path_and_bytes(saved, monkeypatch, error):
    checkpoints = Checkpoints(saved)
    attempts = failing(checkpoints, monkeypatch, 9, error)
    checkpoints.save(state(8), {})
    with pytest.raises(
        SaveFailed,
        match=r"/8 cannot be written: No space left on device\. It needs 33,\d+ bytes and .*4, 6$",
    ):
        poll(checkpoints)
    assert len(attempts) == 1
    checkpoints.check()  # reported once
    assert same(newest(saved)[0][0], state(6))


def test_space_for_two_checkpoints_is_required_before_the_first_step(tmp_path, monkeypatch):
    size = disk.size_of(state(0))
    assert size == 4 * (64 * 128 + 5 + 128 + 3 + 2)
    monkeypatch.setattr(disk, "free", lambda folder: 2 * size)
    disk.room(tmp_path, size)
    monkeypatch.setattr(disk, "free", lambda folder: 2 * size - 1)
    with pytest.raises(ValueError, match=rf"need {2 * size:,} bytes and {2 * size - 1:,} are free"):
        disk.room(tmp_path, size)


# ---------------------------------------------------------------- checksums


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "uint8", "bool"])
def test_every_flipped_bit_changes_the_checksum(dtype):
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.integers(0, 2, (3, 5, 7)), dtype)
    before = checksums({"x": x})["x"]
    raw = np.asarray(x).copy()
    for _ in range(20):
        flipped = raw.copy()
        view = flipped.reshape(-1).view(np.uint8)
        bit = 0 if dtype == "bool" else generator.integers(8)
        view[generator.integers(view.size)] ^= np.uint8(1 << bit)
        assert checksums({"x": jnp.asarray(flipped)})["x"] != before
    assert checksums({"x": jnp.asarray(raw)})["x"] == before


def test_exchanged_numbers_change_the_checksum():
    a, b = jnp.asarray([1.0, 2.0]), jnp.asarray([2.0, 1.0])
    assert checksums({"x": a}) != checksums({"x": b})


def test_the_checksum_on_the_host_is_that_of_the_devices():
    generator = np.random.default_rng(0)
    for dtype in ("float32", "bfloat16", "int8", "bool"):
        for shape in ((), (7,), (3, 5, 11)):
            x = jnp.asarray(generator.integers(0, 2, shape), dtype)
            assert checksum_on_host(np.asarray(x), block=4) == int(checksums({"x": x})["x"])


def test_what_a_failed_call_leaves_behind_is_not_printed(tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    Checkpoints(tmp_path / "a")
    Checkpoints(tmp_path / "b")
    abandoned = RuntimeError("abandoned")
    abandoned.__cause__ = GeneratorExit()
    for error in (RuntimeError("Event loop is closed"), abandoned, RuntimeError("something else")):
        raise_when_deleted(error)
    assert [str(each.exc_value) for each in printed] == ["something else"]


def raise_when_deleted(error):
    class Raises:
        def __del__(self):
            raise error

    Raises()


def test_where_files_may_not_grow_the_only_line_is_the_error(tmp_path):
    code = """
import resource, signal, sys
from tests.training.states import state
from transformers_jax.training.checkpoint import Checkpoints
import jax.numpy as jnp
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
large = state(2)
large.params.update({f"w{i}": jnp.arange(20_000.0) for i in range(20)})
for _ in range(3):
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(large, {"step": 2})
    try:
        checkpoints.wait()
    except ValueError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 3
    assert done.stdout.count("cannot be written: File too large") == 3
