"""Is a run of several processes the run of one?   python -m benchmarks.processes

A run of one process and eight devices, and one of two processes with four each, on this machine: do
they have the same losses, does each go on from the checkpoints of the other, and after how many
seconds is a process noticed that was killed, stopped, or is stuck?
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.survival import write_text
from transformers_jax.training.metrics import read

ROOT = Path(__file__).parents[1]
DEVICES = 8
FAULTS = ("killed", "frozen", "stuck")
WAIT = 600.0  # seconds for anything, on a machine that does much else

BY_LOCALHOST = """
import functools, socket, sys
try:
    socket.gethostbyname(socket.gethostname())
except OSError:  # processes on CPUs find each other by this name, which not all machines know
    from jax._src.lib import _jax
    _jax.make_gloo_tcp_collectives = functools.partial(
        _jax.make_gloo_tcp_collectives, hostname="localhost")
"""
"""What a program begins with whose processes run on one machine."""

START = f"""{BY_LOCALHOST}
from transformers_jax.runs.pretrain import main
sys.exit(main(sys.argv[1:]))
"""


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def environment_of(devices: int = 1) -> dict[str, str]:
    """The variables of a process that runs this package on so many devices of a CPU."""
    count = f"--xla_force_host_platform_device_count={devices}"
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}",
    }


@dataclass
class Ended:
    """How a process ended."""

    code: int
    output: str
    after: float = 0.0
    """seconds from the fault until it had ended"""


@dataclass
class Runs:
    """Runs of one or several processes over a small text, all in one folder."""

    root: Path
    flags: Sequence[str] = ()
    config: str = "configs/nano.py"
    environment: dict[str, str] = field(default_factory=dict)
    devices: int = DEVICES

    def start(
        self,
        name: str,
        count: int,
        *flags: str,
        extra: Sequence[Sequence[str]] = (),
    ) -> list[subprocess.Popen]:
        """Starts the processes of a run; `extra` are flags of each of them alone."""
        text = self.root / "text.txt"
        if not text.exists():
            write_text(text)
        port = free_port()
        environment = {
            **environment_of(self.devices // count),
            "JAX_COMPILATION_CACHE_DIR": str(self.root / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            **self.environment,
        }
        processes = []
        for index in range(count):
            command = [
                *(sys.executable, "-c", START, self.config, "--data.path", str(text)),
                *("--out", str(self.root / name), *self.flags, *flags),
                *(extra[index] if extra else ()),
            ]
            if count > 1:
                command += ["--distributed", f"localhost:{port},{count},{index}"]
            with self.log(name, index).open("w") as log:
                processes.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        return processes

    def log(self, name: str, index: int) -> Path:
        """What a process printed, in its last run of this name."""
        return self.root / f"{name}-{index}.log"

    def wait(self, name: str, processes: Sequence[subprocess.Popen]) -> list[Ended]:
        """Waits for the end of all."""
        began, ends = time.monotonic(), {}
        try:
            while len(ends) < len(processes):
                for index, process in enumerate(processes):
                    if index not in ends and process.poll() is not None:
                        ends[index] = time.monotonic() - began
                if time.monotonic() - began > WAIT:
                    raise TimeoutError(self.log(name, 0).read_text()[-3000:])
                time.sleep(0.05)
        finally:
            for process in processes:
                process.kill()
        read_log = lambda index: self.log(name, index).read_text(errors="replace")
        return [Ended(p.returncode, read_log(n), ends[n]) for n, p in enumerate(processes)]

    def run(self, name: str, count: int, *flags: str) -> list[Ended]:
        """Starts and waits.

        Raises:
            RuntimeError: a process failed, with what it printed.
        """
        ended = self.wait(name, self.start(name, count, *flags))
        if any(each.code for each in ended):
            outputs = "\n".join(f"{each.code}: {each.output[-3000:]}" for each in ended)
            raise RuntimeError(f"{name}: {outputs}")
        return ended

    def losses(self, name: str) -> dict[int, float]:
        """{step: loss} of a run."""
        lines = read(self.root / name / "metrics.jsonl")
        return {line["step"]: line["loss"] for line in lines}

    def until(self, name: str, step: int) -> None:
        """Returns once the run has recorded a step of this start."""
        end = time.monotonic() + WAIT
        while max(self.losses(name), default=0) < step:
            if time.monotonic() > end:
                raise TimeoutError(self.log(name, 0).read_text()[-3000:])
            time.sleep(0.02)

    def fault(self, kind: str, victim: int, name: str, step: int, *flags: str) -> list[Ended]:
        """A run of two in which something happens to one after a step; how both ended."""
        stall = ["--debug.stall-at", str(step)]
        extra = [stall if kind == "stuck" and index == victim else [] for index in range(2)]
        processes = self.start(name, 2, *flags, extra=extra)
        self.until(name, step - 2 if kind == "stuck" else step)
        if kind != "stuck":
            number = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[kind]
            processes[victim].send_signal(number)
        if kind != "frozen":
            return self.wait(name, processes)
        began = time.monotonic()
        code = processes[1 - victim].wait(timeout=WAIT)
        seconds = time.monotonic() - began
        processes[victim].kill()
        ended = self.wait(name, processes)
        ended[1 - victim] = Ended(code, ended[1 - victim].output, seconds)
        return ended


def difference(one: dict[int, float], two: dict[int, float]) -> float:
    """The greatest difference of losses of the same steps."""
    steps = one.keys() & two.keys()
    assert steps, "no step in common"
    return max(abs(one[step] - two[step]) for step in steps)


def named(ended: Ended) -> str:
    """The line in which a process says why it ended."""
    found = re.findall(r"^.*(?:process \d+ of \d+ ends).*$", ended.output, re.MULTILINE)
    return found[-1][:200] if found else ended.output.strip().splitlines()[-1][:200]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as root:
        runs = Runs(Path(root), ["--save-every", "5", "--log-every", "5", "--sample.tokens", "8"])
        whole = ["--steps", str(steps), "--schedule-steps", str(steps)]
        half = ["--steps", str(steps // 2), "--schedule-steps", str(steps)]
        runs.run("one", 1, *whole)
        runs.run("two", 2, *whole)
        first, second = runs.losses("one"), runs.losses("two")
        print(f"one process against two: {difference(first, second):.1e} over {steps} steps")
        for begin, then in ((1, 2), (2, 1)):
            name = f"{begin}-{then}"
            runs.run(name, begin, *half)
            runs.run(name, then, *whole)
            far = difference(first, runs.losses(name))
            print(f"{begin} then {then} from a checkpoint: {far:.1e} of a run of one")
        for victim in (1, 0):
            for kind in FAULTS:
                name = f"{kind}-{victim}"
                ended = runs.fault(kind, victim, name, 8, "--steps", "100000")
                other = ended[1 - victim]
                print(
                    f"process {victim} {kind}: exit {other.code} after {other.after:.1f} s; "
                    f"{named(other)}"
                )


if __name__ == "__main__":
    main()
