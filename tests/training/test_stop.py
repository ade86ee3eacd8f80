"""What a signal requests, that a second one ends at once, and that every process agrees."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from benchmarks.processes import BY_LOCALHOST
from transformers_jax.runs.summary import summarise
from transformers_jax.training.provenance import start_run
from transformers_jax.training.stop import Stop


def until(claim, seconds=5.0):
    """Whether the condition becomes true within the time limit."""
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.005)
    return claim()


@pytest.fixture
def left():
    """The codes that the process would have ended with."""
    return []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_requests_a_stop_and_sets_the_exit_code(number, code, left):
    with Stop(leave=left.append) as stop:
        assert (stop.by, stop.agreed(), stop.exit_code) == (None, False, 0)
        os.kill(os.getpid(), number)
        assert until(lambda: stop.by == number)
        assert (stop.agreed(), stop.exit_code, stop.save) == (True, code, False)
    assert left == []


def test_usr1_requests_a_save_and_not_a_stop(left):
    with Stop(leave=left.append) as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert until(lambda: stop.save)
        assert stop.by is None
        stop.save = False
        assert not stop.save


def test_the_second_sigint_ends_at_once_and_a_second_sigterm_does_not(left):
    with Stop(leave=left.append) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert until(lambda: stop.by == signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert until(lambda: stop.by == signal.SIGINT)
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
        assert until(lambda: left == [130])


def test_sigquit_ends_at_once_with_one_line_and_the_stacks(left, tmp_path, capfd):
    with Stop(leave=left.append, folder=tmp_path) as stop:
        os.kill(os.getpid(), signal.SIGQUIT)
        assert until(lambda: left == [131])
        assert stop.by is None
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("SIGQUIT: ended at once")
    assert line.endswith("stacks.txt")
    stacks = (tmp_path / "stacks.txt").read_text()
    assert "test_sigquit_ends_at_once_with_one_line_and_the_stacks" in stacks


@pytest.mark.parametrize("saved", [False, True])
def test_an_end_by_force_says_what_is_saved_and_is_noted(left, tmp_path, capfd, saved):
    """Where nothing was saved, no checkpoint is called intact."""
    start_run(tmp_path, "a command")
    if saved:
        (tmp_path / "checkpoints" / "6" / "state").mkdir(parents=True)
    with Stop(leave=left.append, folder=tmp_path, grace=0.05):
        os.kill(os.getpid(), signal.SIGINT)
        assert until(lambda: left == [130])
    expected = "step 6 is saved and intact" if saved else "no step was saved"
    assert capfd.readouterr().err.strip().endswith(expected)
    run = summarise(tmp_path)
    assert (run.state, run.why) == ("stopped", "SIGINT, ended at once")


def test_a_hangup_that_is_ignored_stays_ignored(left):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop(leave=left.append) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert until(lambda: stop.save)
            assert stop.by is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with Stop():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    assert after == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_run_that_does_not_end_is_killed_after_its_grace_period(left, capfd):
    with Stop(grace=0.05, leave=left.append) as stop:
        time.sleep(0.1)
        assert left == []  # the control: no signal, no clock
        os.kill(os.getpid(), signal.SIGTERM)
        assert until(lambda: left == [143])
        assert stop.exit_code == 143
    assert "did not end within 0.05 s" in capfd.readouterr().err


def test_a_run_that_ends_in_time_is_not_killed(left):
    with Stop(grace=0.2, leave=left.append) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert until(lambda: stop.by is not None)
    time.sleep(0.3)
    assert left == []


def test_phases_in_which_nothing_is_lost_have_their_own_grace_period(left):
    with Stop(grace=600, leave=left.append) as stop, stop.short_grace(0.05):
        os.kill(os.getpid(), signal.SIGINT)
        assert until(lambda: left == [130])


def test_a_signal_during_a_blocking_native_call_is_handled():
    code = """
        import ctypes
        from transformers_jax.training.stop import Stop
        libc = ctypes.CDLL(None)  # releases the lock of the interpreter, as XLA does
        with Stop(grace=0.2):
            print("ready", flush=True)
            while True:
                libc.poll(None, 0, 10_000)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=8) == 143
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.stdout.close()


AGREE = """
    import os, signal, sys, time
    import jax
    port, index = sys.argv[1], int(sys.argv[2])
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index,
                               initialization_timeout=240)
    from transformers_jax.training.stop import Stop
    with Stop() as stop:
        saves = 0
        for step in range(1, 200):
            if index == 1 and step == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
                while not stop._received_save:  # until the thread has read the signal
                    time.sleep(0.005)
                assert not stop.save
            if index == 1 and step == 9:
                os.kill(os.getpid(), signal.SIGTERM)
                while stop._received is None:
                    time.sleep(0.005)
                assert stop.by is None  # one process does not stop by itself
            time.sleep(0.02)
            if stop.agreed():
                break
            if stop.save:
                saves, stop.save = saves + step, False
        print("stopped", step, stop.exit_code, saves, flush=True)
"""


def test_two_processes_stop_at_the_same_step_when_one_gets_the_signal():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", BY_LOCALHOST + textwrap.dedent(AGREE), str(port), str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], outputs
    ends = [out.split()[-4:] for out, _ in outputs]
    assert ends[0] == ends[1]
    word, step, code, saves = ends[0]
    assert (word, code) == ("stopped", "143")
    assert 9 <= int(step) <= 12
    assert 3 <= int(saves) <= 6
