"""Training steps on a CPU by how the process's memory is allocated, ours and PyTorch's.

    python -m benchmarks.allocators [CASE ...] --torch-python PATH [--preload LIBRARY] [--cores N]

runs a case of `benchmarks.run` (default: "step bert") with glibc as it comes, with glibc that keeps
what is freed (`transformers_jax.allocator`, here by the environment, so that PyTorch can have it),
and with the library, such as libjemalloc.so.2. All processes are started and warmed up and take
turns; a ratio is taken within a round, of CPU seconds and of wall seconds, and the median over
rounds is printed with the least and the greatest.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile

from benchmarks.cases import module_of
from benchmarks.timed import Worker

KEEP = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
}
PLAIN = "glibc"


def allocators(preload: str | None) -> dict[str, dict[str, str]]:
    """{allocator: its environment}."""
    known = {PLAIN: dict[str, str](), "glibc that keeps": KEEP}
    if preload is not None:
        conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1"
        known[preload.rsplit("/", 1)[-1]] = {"LD_PRELOAD": preload, "MALLOC_CONF": conf}
    return known


def measure(
    case: str,
    torch_python: str,
    preload: str | None = None,
    cores: int | None = None,
    rounds: int = 7,
    seconds: float = 1.5,
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """{(side, allocator): the medians of each round: wall and CPU seconds of a step, and MiB}."""
    with tempfile.TemporaryDirectory() as folder:
        Worker(sys.executable, case, "prepare", folder).stop()
        workers = {}
        for side in ("ours", "eager"):
            python = sys.executable if side == "ours" else torch_python
            for name, environment in allocators(preload).items():
                worker = Worker(python, case, side, folder, cores, environment)
                worker.next_answer()
                workers[side, name] = worker
        taken: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in workers}
        for number in range(rounds):
            for key in list(workers)[:: 1 if number % 2 == 0 else -1]:
                run = workers[key].run(seconds)
                taken[key].append({kind: statistics.median(run[kind]) for kind in run})
        for worker in workers.values():
            worker.stop()
    return taken


def lines(taken: dict[tuple[str, str], list[dict[str, float]]]) -> list[str]:
    """A line for each side and allocator, with its ratios to our step with plain glibc."""
    text, first = [], taken["ours", PLAIN]
    for (side, name), rounds in taken.items():
        cells = []
        for kind in ("cpu", "wall"):
            ratios = sorted(mine[kind] / plain[kind] for mine, plain in zip(rounds, first))
            middle = statistics.median(mine[kind] for mine in rounds)
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
            cells.append(f"{kind} {1e3 * middle:.0f} ms, {spread}")
        memory = max(mine["memory"] for mine in rounds)
        text.append(f"{side:<6} {name:<20} {'; '.join(cells)}; {memory:.0f} MiB")
    return text


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["step bert"])
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--preload")
    parser.add_argument("--cores", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    for case in options.cases:
        module_of(case)  # an unknown case is named before anything runs
        print(f"{case}: CPU and wall time of a step; ratios to ours with {PLAIN}")
        settings = (options.preload, options.cores, options.rounds, options.seconds)
        for line in lines(measure(case, options.torch_python, *settings)):
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
