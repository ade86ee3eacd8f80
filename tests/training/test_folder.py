"""The folder of a run: one process at a time, and only the run itself continues it."""

import json
import os
import socket

import pytest

from transformers_jax.training.folder import LOCK, RunFolder, check_same_run, record


def test_a_folder_in_use_is_refused_with_process_and_host(tmp_path):
    first = RunFolder(tmp_path / "run", "auto")
    with pytest.raises(ValueError, match=rf"process {os.getpid()} on {socket.gethostname()}"):
        RunFolder(tmp_path / "run", "auto")
    first.close()
    RunFolder(tmp_path / "run", "auto").close()  # the control


def test_the_other_processes_of_a_run_neither_lock_nor_write(tmp_path):
    first = RunFolder(tmp_path, "auto")
    other = RunFolder(tmp_path, "auto", owner=False)
    other.write_json("config.json", {"a": 1})
    assert not (tmp_path / "config.json").exists()
    first.write_json("config.json", {"a": 2})
    assert json.loads((tmp_path / "config.json").read_text()) == {"a": 2}
    other.close()
    first.close()


def test_never_refuses_what_holds_something_and_takes_what_a_failed_start_left(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / "checkpoints").mkdir()
    RunFolder(tmp_path, "never").close()
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="not empty"):
        RunFolder(tmp_path, "never")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot make the folder"):
        RunFolder(tmp_path / "file" / "run", "auto")


def test_another_run_is_refused_with_every_difference(small):
    saved = record(small, "text", 6)
    check_same_run(small, "text", saved)
    other = small.replace(seed=3, accumulate=2)
    with pytest.raises(ValueError, match=r"accumulate was 1 and is 2; seed was 0 and is 3"):
        check_same_run(other, "text", saved)
    with pytest.raises(ValueError, match="the text was text and is another"):
        check_same_run(small, "another", saved)
    with pytest.raises(ValueError, match="--allow-schedule-change"):
        check_same_run(small.replace(schedule_steps=9), "text", saved)
    check_same_run(
        small.replace(schedule_steps=9, allow_schedule_change=True, out="elsewhere"), "text", saved
    )
