"""From the start of a process to its first finished training step, at the nanoGPT setting.

    python -m benchmarks.start SIDE FOLDER

prints the loss as soon as the step is done. `measure` runs it with an empty compile cache (cold)
and again with the cache that this left (second), for each side in turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SIDES = ("ours", "eager", "compiled")
CASE = "train nano"


def first_step(side: str, folder: str) -> None:
    """Builds the model, does one training step, and prints its loss."""
    from benchmarks.cases import training

    print(training.SIDES[side](training.CASES[CASE], folder, steps=1).answer[0], flush=True)


def seconds_to_first_step(python: str, side: str, folder: str, cache: str) -> float:
    """Wall seconds until the loss of the first step is there.

    Raises:
        RuntimeError: the process printed no loss.
    """
    caches = {
        "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, "-m", "benchmarks.start", side, folder],
        cwd=ROOT,
        env={**os.environ, **caches},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.communicate()
    if not line.strip():
        raise RuntimeError(f"{side} did no step")
    return seconds


def measure(torch_python: str, rounds: int = 5) -> dict[str, dict[str, float]]:
    """{"cold": {side: median seconds}, "second": ...}."""
    durations: dict[str, dict[str, list[float]]] = {"cold": {}, "second": {}}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.worker", CASE, "prepare", folder]
        subprocess.run(command, cwd=ROOT, check=True)
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                python = sys.executable if side == "ours" else torch_python
                with tempfile.TemporaryDirectory() as cache:
                    for kind in ("cold", "second"):
                        seconds = seconds_to_first_step(python, side, folder, cache)
                        durations[kind].setdefault(side, []).append(seconds)
    return {
        kind: {side: statistics.median(times) for side, times in sides.items()}
        for kind, sides in durations.items()
    }


if __name__ == "__main__":
    first_step(*sys.argv[1:3])
