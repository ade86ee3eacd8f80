"""Output that cannot be written, and Ctrl-C at any moment before a run."""

import os
import subprocess
import sys

import pytest

from transformers_jax.printing import print_line, until_interrupted


def test_a_full_disk_is_said_once(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="No space"):  # the control
            print("a", flush=True)
        for _ in range(3):
            print_line("a line")
    said = "standard output cannot be written (No space left on device); work goes on\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("closed", ["pipe", "stream", "none"])
def test_output_that_nobody_reads_ends_quietly(closed, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    if closed == "stream":
        stream.close()
    monkeypatch.setattr(sys, "stdout", None if closed == "none" else stream)
    for _ in range(3):
        print_line("a line")
    assert ("cannot be written" in capsys.readouterr().err) == (closed == "stream")


def test_characters_that_the_encoding_lacks_are_escaped(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print_line("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert (tmp_path / "out").read_text() == "caf\\xe9\n"


def test_an_interrupt_is_one_line_whatever_was_made_of_it(capsys):
    def broken_import():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("numpy failed to import") from error

    assert until_interrupted(broken_import, "a command") == 130
    assert capsys.readouterr().err == "a command: interrupted\n"
    assert until_interrupted(lambda: 3, "a command") == 3
    with pytest.raises(ZeroDivisionError):
        until_interrupted(lambda: 1 // 0, "a command")


COMMAND = """
import os, signal, sys, threading
from {module} import main
sys.argv = ["it", *{arguments}]
threading.Timer({delay}, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "arguments", "delay"),
    [
        ("transformers_jax.__main__", ["pretrain", "configs/nano.py"], 0.05),
        ("train.pretrain", ["configs/nano.py"], 0.4),
    ],
)
def test_ctrl_c_during_imports_is_one_line(module, arguments, delay):
    code = COMMAND.format(module=module, arguments=arguments, delay=delay)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1].endswith(": interrupted")
    assert len(done.stderr.splitlines()) == 1, done.stderr
