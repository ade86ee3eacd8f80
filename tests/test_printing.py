"""Output that cannot be written, and Ctrl-C at any moment before a run."""

import os
import subprocess
import sys

import pytest

from transformers_jax.printing import _importing, print_line, until_interrupted


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


SLOW_IMPORT = """
import os, signal, sys, threading, time, warnings

class Loses:
    def __del__(self):  # whose errors Python drops
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            time.sleep(0.001)

Loses()
"""


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [("SIGINT", 130, "a command: interrupted"), ("SIGQUIT", 131, "SIGQUIT: ended at once")],
)
def test_a_signal_during_an_import_that_loses_exceptions_is_one_line(name, code, line, tmp_path):
    (tmp_path / "slow_module.py").write_text(SLOW_IMPORT.format(name=name))
    command = (
        "import sys\n"
        "from transformers_jax.printing import until_interrupted\n"
        "def call():\n    import slow_module\n    return 7\n"
        "sys.exit(until_interrupted(call, 'a command'))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:."}
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.strip().endswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert not _importing(sys._getframe())  # the control: elsewhere it is a KeyboardInterrupt


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device_and_no_file_gets_their_number(closed, tmp_path):
    command = (
        "import os, sys\n"
        "from transformers_jax.printing import print_line, until_interrupted\n"
        "def call():\n"
        "    number = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "    os.write(1, b'out'), os.write(2, b'err'), print('a'), print_line('b', error=True)\n"
        "    return number > 2 and not sys.stdout.isatty() and not sys.stderr.isatty()\n"
        "sys.exit(7 if until_interrupted(call, 'a command') else 1)"
    )
    file = tmp_path / "checkpoint"
    shell = f'exec "$0" -c "$1" "$2" {closed}'
    arguments = ["bash", "-c", shell, sys.executable, command, str(file)]
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    assert done.returncode == 7, done.stderr
    assert file.read_bytes() == b""


@pytest.mark.parametrize("arguments", [["--help"], ["env"]])
def test_a_result_that_cannot_be_written_is_an_error_in_one_line(arguments):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "transformers_jax", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("transformers-jax: error: ")
    assert done.stderr.endswith("No space left on device\n")
