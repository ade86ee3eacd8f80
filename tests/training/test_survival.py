"""Real processes, killed, stopped or on a full disk, continue with equal bits."""

import signal

import pytest

from benchmarks.survival import (
    Survival,
    kill_often,
    problems,
    save_on_request,
    send,
    wait_for_end,
    write_text,
)

pytestmark = pytest.mark.slow  # tests of resuming within one process are in the default suite

STEPS, EVERY, KILLS = 60, 5, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("survival")


@pytest.fixture(scope="module")
def whole(root):
    """An uninterrupted run."""
    text = write_text(root / "text.txt")
    run = Survival(root / "whole", text, STEPS, EVERY, root / "cache")
    life = run.live("not interrupted", wait_for_end)
    assert life.code == 0, life.output
    return run


@pytest.fixture(scope="module")
def run(whole, root):
    """A run that is killed, stopped and runs out of disk, one after another."""
    survival = Survival(root / "run", whole.text, STEPS, EVERY, whole.cache, whole.losses())
    kill_often(survival, KILLS, until=34)
    survival.live("full disk", wait_for_end, limit_kilobytes=100)
    survival.live("SIGTERM", save_on_request(survival.newest() + 2, signal.SIGTERM))
    survival.live("SIGINT", send(signal.SIGINT, survival.newest() + 3))
    survival.live("not interrupted", wait_for_end)
    return survival


def life(run, how):
    return next(each for each in run.lives if each.how == how)


def test_every_restart_continues_from_the_newest_complete_step(run):
    assert [x.how for x in run.lives].count("SIGKILL") == KILLS
    for each in run.lives:
        assert each.began == each.newest, each.output
        if each.how == "SIGKILL":
            assert each.code == -signal.SIGKILL
            assert each.replayed <= 2 * EVERY


def test_every_logged_loss_has_the_bits_of_an_uninterrupted_run(run, whole):
    assert run.wrong == []
    assert run.compared >= STEPS
    assert sorted(whole.losses()) == list(range(1, STEPS + 1))
    assert len(set(whole.losses().values())) > STEPS / 2  # the control: losses do differ


def test_the_last_checkpoint_is_equal_leaf_by_leaf(run, whole):
    assert run.checksums(STEPS) == whole.checksums(STEPS)
    assert run.checksums(STEPS) != whole.checksums(STEPS - EVERY)
    assert problems(run, whole) == []


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_loses_no_step_and_ends_in_time(run, how, code):
    stopped = life(run, how)
    assert stopped.code == code, stopped.output
    assert stopped.replayed == 0
    assert stopped.left > stopped.newest
    assert stopped.seconds < 10


def test_usr1_saves_and_continues(run):
    stopped = life(run, "SIGTERM")
    assert stopped.left >= stopped.newest + 4  # two steps, the save, two more steps, the end


def test_a_full_disk_ends_the_run_and_costs_no_complete_step(run):
    full = life(run, "full disk")
    assert full.code not in (0, None)
    assert "cannot be written" in full.output
    assert "bytes" in full.output
    assert full.output.splitlines()[-1].startswith("error: checkpoint ")
    assert full.left == full.newest > 0
    assert full.reached - full.newest <= 2 * EVERY
