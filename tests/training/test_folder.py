"""The folder of a run: one process at a time, and only the run itself continues it."""

import json
import os
import socket

import pytest

from transformers_jax.training.folder import (
    LOCK,
    TOKENIZER,
    RunFolder,
    check_out,
    check_same_run,
    record,
)


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


def test_a_refused_start_leaves_what_others_made_meanwhile(tmp_path):
    """A run in a folder below, a note of somebody else; its own lock and the tokenizer go."""
    for before in (False, True):
        path = tmp_path / f"around-{before}" / "run"
        if before:
            path.mkdir(parents=True)
            (path / LOCK).write_text("1 on elsewhere")
        folder = RunFolder(path, "auto")
        with pytest.raises(ZeroDivisionError), folder.untouched_on_error():  # noqa: PT012
            (path / TOKENIZER).mkdir()
            (path / "notes.txt").write_text("mine")
            below = RunFolder(path / "below", "auto")
            below.write_json("config.json", {"a": 1})
            (path / "below" / ".run.json.1.tmp").touch()
            1 / 0  # noqa: B018
        assert below.is_own()
        RunFolder(path, "auto").close()  # which removes drafts, but not of a run below
        assert (path / "below" / ".run.json.1.tmp").exists()
        (path / LOCK).write_text("1 on elsewhere") if before else (path / LOCK).unlink()
        expected = {"below", "notes.txt"} | ({LOCK} if before else set())
        assert {file.name for file in path.iterdir()} == expected
        if before:
            assert (path / LOCK).read_text() == "1 on elsewhere"
        below.close()


def test_a_refused_start_alone_leaves_no_folder(tmp_path):
    folder = RunFolder(tmp_path / "around" / "run", "auto")
    with pytest.raises(ZeroDivisionError), folder.untouched_on_error():
        1 / 0  # noqa: B018
    assert not (tmp_path / "around").exists()


@pytest.mark.parametrize("out", ["", "  ", "a\0b", "x" * 300, "file", "file/run", "~nobody-xy/a"])
def test_a_name_that_no_folder_can_have_is_refused_before_anything_is_made(
    out, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for ask in (check_out, RunFolder):
        with pytest.raises(ValueError, match=r"no folder|cannot make the folder"):
            ask(out, "auto")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_what_is_said_of_a_folder_makes_nothing(tmp_path):
    assert check_out(tmp_path / "a" / "b", "never") == tmp_path / "a" / "b"
    assert check_out(tmp_path, "never") == tmp_path
    (tmp_path / "run.json").touch()
    assert check_out(tmp_path, "auto") == tmp_path
    with pytest.raises(ValueError, match="not empty"):
        check_out(tmp_path, "never")
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
