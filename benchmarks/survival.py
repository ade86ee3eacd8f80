"""Does a run survive what happens to runs?   python -m benchmarks.survival --kills 50

One run is not interrupted. Another of the same config is killed (-9) at random moments, started
again each time, driven into a full disk, and stopped by signals. It has survived if every loss that
was ever logged, the replayed ones too, has the bits of the first run's, if every start continued
from the newest step that was complete when the one before died, and if the last checkpoints are
equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from transformers_jax.training.recorded import is_step, read_record, verify_step

ROOT = Path(__file__).parents[1]
CONFIG = "configs/nano.py"
WAIT = 120.0  # seconds until a start must have made its first step


@dataclass
class Life:
    """One process, from its start to its end."""

    how: str
    began: int
    """the step that it continued from"""
    newest: int
    """the newest complete step when it began"""
    reached: int
    """the last step that it logged"""
    left: int
    """the newest complete step after its end"""
    code: int
    seconds: float
    """from the signal to the end of the process"""
    output: str

    @property
    def replayed(self) -> int:
        """Steps that the next life has to make again."""
        return self.reached - self.left


@dataclass
class Survival:
    """A run in a folder, killed and restarted, against the losses of an uninterrupted one."""

    out: Path
    text: Path
    steps: int
    every: int
    cache: Path
    expected: dict[int, str] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    compared: int = 0
    wrong: list[int] = field(default_factory=list)

    def live(
        self,
        how: str,
        do: Callable[[subprocess.Popen, Survival], None],
        limit_kilobytes: int | None = None,
    ) -> Life:
        """Starts the command, does something to it once it runs, and waits for its end."""
        newest = self.newest()
        log = self.out.parent / f"{self.out.name}.log"
        command = [
            sys.executable, "-m", "train.pretrain", CONFIG,
            "--data.path", str(self.text), "--steps", str(self.steps),
            "--save-every", str(self.every), "--out", str(self.out), "--sample.count", "0",
            "--evaluation.every", "0",
        ]  # fmt: skip
        if limit_kilobytes is not None:
            command = ["bash", "-c", f'ulimit -f {limit_kilobytes}; exec "$@"', "-", *command]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.cache / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            "TRANSFORMERS_JAX_CACHE": str(self.cache),
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                do(process, self)
                done = time.monotonic()
                code = process.wait(timeout=WAIT)
            finally:
                process.kill()
                process.wait()
        seconds, words = time.monotonic() - done, log.read_text()
        continued = re.search(r"continuing from step (\d+)", words)
        losses = self.losses()
        life = Life(
            how=how,
            began=int(continued.group(1)) if continued else 0,
            newest=newest,
            reached=max(losses, default=0),
            left=self.newest(),
            code=code,
            seconds=seconds,
            output=words,
        )
        if self.expected:
            mine = {step: loss for step, loss in losses.items() if step > life.began}
            self.compared += len(mine)
            self.wrong += [step for step, loss in mine.items() if self.expected[step] != loss]
        self.lives.append(life)
        return life

    def losses(self) -> dict[int, str]:
        """{step: bits of the loss} of what has been logged; a line that was cut off is not."""
        file, losses = self.out / "metrics.jsonl", {}
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "loss_hex" in values:
                losses[values["step"]] = values["loss_hex"]
        return losses

    def checkpoints(self) -> list[int]:
        """The steps that are complete."""
        folder = self.out / "checkpoints"
        return (
            sorted(int(p.name) for p in folder.iterdir() if is_step(p)) if folder.exists() else []
        )

    def newest(self) -> int:
        """The newest complete step, or 0."""
        return max(self.checkpoints(), default=0)

    def checksums(self, step: int) -> dict[str, int]:
        """Those of a complete step, once every leaf was read and found to be what was saved."""
        path = self.out / "checkpoints" / str(step)
        bad = {
            name: leaf.verdict for name, leaf in (verify_step(path) or {}).items() if not leaf.good
        }
        if bad:
            raise ValueError(f"{path}: {bad}")
        return read_record(path)["checksums"]


def until_step(step: int, process: subprocess.Popen, run: Survival) -> None:
    """Returns when a step has been logged by this process, or when it has ended."""
    log = run.out.parent / f"{run.out.name}.log"
    end = time.monotonic() + WAIT
    while process.poll() is None:
        # until then the losses in the folder are those of the process before
        started = re.search(r"(starting in|continuing from) ", log.read_text())
        if started and max(run.losses(), default=0) >= step:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"no step {step} within {WAIT} s: {log.read_text()[-2000:]}")
        time.sleep(0.004)


def wait_for_end(process: subprocess.Popen, run: Survival) -> None:
    """Waits for the end of the process."""
    process.wait(timeout=WAIT)


def send(number: signal.Signals, step: int, delay: float = 0.0):
    """Sends a signal so many seconds after a step."""

    def do(process: subprocess.Popen, run: Survival) -> None:
        until_step(step, process, run)
        time.sleep(delay)
        process.send_signal(number)

    return do


def save_on_request(step: int, then: signal.Signals):
    """SIGUSR1 after a step; once that is saved and two more steps are made, another signal."""

    def do(process: subprocess.Popen, run: Survival) -> None:
        until_step(step, process, run)
        process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + WAIT
        while not any(s % run.every for s in run.checkpoints()) and process.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError("SIGUSR1 saved nothing")
            time.sleep(0.002)
        until_step(max(run.losses()) + 2, process, run)
        process.send_signal(then)

    return do


def kill_often(run: Survival, kills: int, until: int, seed: int = 0) -> None:
    """Kills a run at random moments on its way to step `until`, and starts it again each time."""
    generator = random.Random(seed)
    for number in range(kills):
        begin = run.newest()
        far = max(1.0, 2 * (until - begin) / (kills - number + 1))
        step = begin + 1 + int(generator.uniform(0, far))
        run.live("SIGKILL", send(signal.SIGKILL, min(step, until), generator.uniform(0, 0.04)))


def problems(run: Survival, whole: Survival) -> list[str]:
    """The promises that were broken."""
    failures = [f"step {step} has other bits" for step in run.wrong]
    for number, life in enumerate(run.lives, 1):
        if life.began != life.newest:
            failures.append(
                f"life {number} continued from {life.began}, complete was {life.newest}"
            )
        # at most the interval, and the checkpoint that was being written
        if life.how == "SIGKILL" and life.replayed > 2 * run.every:
            failures.append(f"life {number} has lost {life.replayed} steps")
        if life.how in ("SIGTERM", "SIGINT") and life.replayed:
            failures.append(f"life {number} was asked to stop and has lost {life.replayed} steps")
    if run.losses() != whole.losses():
        failures.append("metrics.jsonl has not every step once, as it was")
    if run.checksums(run.steps) != whole.checksums(run.steps):
        failures.append("the last checkpoints differ")
    return failures


def main(arguments: list[str] | None = None) -> int:
    """Prints a table of the lives; returns 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    steps = 5 * (options.kills + 8)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        text = write_text(root / "text.txt")
        whole = Survival(root / "whole", text, steps, options.save_every, root / "cache")
        whole.live("not interrupted", wait_for_end)
        run = Survival(
            root / "run", text, steps, options.save_every, root / "cache", whole.losses()
        )
        kill_often(run, options.kills, steps - 40, options.seed)
        for number in (signal.SIGTERM, signal.SIGINT):
            run.live(number.name, send(number, run.newest() + 3))
        run.live("not interrupted", wait_for_end)
        print("| life | how | from | reached | complete | again | code | s |")
        print("|---|---|---|---|---|---|---|---|")
        for number, x in enumerate(run.lives, 1):
            print(
                f"| {number} | {x.how} | {x.began} | {x.reached} | {x.left} | {x.replayed} "
                f"| {x.code} | {x.seconds:.2f} |"
            )
        wrong = problems(run, whole)
        print(f"{len(run.lives)} lives, {run.compared} logged losses, {len(run.wrong)} with")
        print(f"other bits; most steps made again: {max(x.replayed for x in run.lives)}")
        print("\n".join(wrong) or "every promise was kept")
    return 1 if wrong else 0


def write_text(path: Path) -> Path:
    """Sixty thousand characters that are easy to learn."""
    path.write_text(
        "".join(f"line {n}: {n} times {n % 7} is {n * (n % 7)}.\n" for n in range(2000))
    )
    return path


if __name__ == "__main__":
    sys.exit(main())
