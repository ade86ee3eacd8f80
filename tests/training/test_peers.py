"""A process that is dead, frozen or stuck is named by the others, which end with their stacks."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import BY_LOCALHOST, environment_of, free_port
from transformers_jax import processes
from transformers_jax.training.peers import Seen, Sign, find_fault
from transformers_jax.training.watchdog import EXIT_CODE

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


def test_a_port_is_closed_only_if_its_host_says_so():
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        assert not processes.is_closed(address)
    assert processes.is_closed(address)
    for nobody in ("", "no.such.host.invalid:80", "localhost:none"):
        assert not processes.is_closed(nobody)


def test_a_thread_that_aborts_leaves_the_others_time_to_end_the_process():
    program = """
import ctypes, os, sys, threading, time
from transformers_jax.processes import delay_abort
delay_abort()
threading.Thread(target=ctypes.CDLL(None).abort).start()
time.sleep(1 if sys.argv[1:] else 60)
os._exit(7)
"""
    run = lambda *arguments: subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment_of(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run("in time").returncode == 7
    late = run()
    assert late.returncode == -signal.SIGABRT
    assert "time.sleep" in late.stderr or "<string>" in late.stderr  # the stacks


# ---------------------------------------------------------------- processes

TIMEOUT = 6.0

PROGRAM = f"""{BY_LOCALHOST}
import os, pathlib, signal, sys, time
from transformers_jax import processes
from transformers_jax.training.peers import Peers
where, kind, victim, folder = sys.argv[1:]
processes.connect(where, {TIMEOUT})
import jax
with Peers(pathlib.Path(folder), {TIMEOUT}) as peers:
    for step in range(1000):
        peers.at(step, "steps")
        if step == 20 and jax.process_index() == int(victim):
            pathlib.Path(folder, "fault").write_text(str(time.time()))
            if kind == "stuck":
                time.sleep(1000)
            os.kill(os.getpid(), signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
        time.sleep(0.1)
"""
"""Steps without work, until something happens to one of two processes."""

FAULTS = {
    ("killed", 0): "process 0, which all others ask, is dead: nothing listens at localhost:",
    ("killed", 1): "process 1 has given no sign of life for",
    ("stuck", 1): "process 1 is stuck: alive, and for",
    ("stuck", 0): "process 0 is stuck: alive, and for",
    ("frozen", 0): "process 0, which all others ask, has not answered for",
    ("frozen", 1): "process 1 has given no sign of life for",
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """{fault: (exit code of the other process, seconds after the fault, its output, folder)}, of
    runs that all go on at once: they mostly wait."""
    started, ended = {}, {}
    for kind, victim in FAULTS:
        folder, port = tmp_path_factory.mktemp(f"{kind}-{victim}"), free_port()
        for index in range(2):
            where = f"localhost:{port},2,{index}"
            with (folder / f"{index}.log").open("w") as log:
                started[kind, victim, index] = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, where, kind, str(victim), str(folder)],
                    env=environment_of(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        ended[kind, victim] = folder
    found, end = {}, time.monotonic() + 240
    try:
        while len(found) < len(FAULTS) and time.monotonic() < end:
            for kind, victim in FAULTS.keys() - found.keys():
                code, folder = started[kind, victim, 1 - victim].poll(), ended[kind, victim]
                if code is not None:
                    began = (folder / "fault").read_text() if (folder / "fault").exists() else "nan"
                    output = (folder / f"{1 - victim}.log").read_text()
                    found[kind, victim] = code, time.time() - float(began), output, folder
            time.sleep(0.05)
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    return found


@pytest.mark.parametrize(("kind", "victim"), FAULTS)
def test_a_fault_ends_the_other_process_with_one_line_and_all_stacks(faults, kind, victim):
    code, seconds, output, folder = faults[kind, victim]
    assert code == EXIT_CODE, output[-3000:]
    assert seconds < TIMEOUT + 10
    line = f"process {1 - victim} of 2 ends: {FAULTS[kind, victim]}"
    assert output.count(line) == 1, output[-3000:]
    stacks = Path(folder, f"stacks{'-1' if victim == 0 else ''}.txt").read_text()
    assert line in stacks
    for text in (output, stacks):  # the main thread, and the one that looks
        assert '"<string>", line' in text
        assert "_watch" in text


def test_a_process_0_that_is_killed_is_noticed_at_once(faults):
    assert faults["killed", 0][1] < TIMEOUT  # its port is closed, which needs no patience
