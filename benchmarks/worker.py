"""One side of one case in a process of its own: builds, warms up, then runs on request.

    python -m benchmarks.worker CASE SIDE FOLDER

Writes JSON lines: first {"answer", "work", "ready"}, then for every line `SECONDS` read from its
standard input the times of as many runs as fit (at least two, or `LEAST_RUNS` of the case), until
the input ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from benchmarks.cases import module_of

LEAST_RUNS = 2


def measure(run, seconds: float, least: int = LEAST_RUNS) -> dict[str, list[float]]:
    """Wall and CPU seconds of each run, and the highest memory of the process so far in MiB."""
    wall: list[float] = []
    cpu: list[float] = []
    while len(wall) < least or sum(wall) < seconds:
        began, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "memory": [peak]}


def main(case: str, side: str, folder: str) -> None:
    """Serves one side; `side` may be "prepare"."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print where they like; the answers stay clean
    module, began = module_of(case), time.perf_counter()
    setting = module.CASES[case]
    if side == "prepare":
        if hasattr(module, "prepare"):
            module.prepare(setting, folder)
        return
    prepared = module.SIDES[side](setting, folder)
    ready = {"answer": prepared.answer, "work": prepared.work}
    print(json.dumps(ready | {"ready": time.perf_counter() - began}), file=out, flush=True)
    least = getattr(module, "LEAST_RUNS", LEAST_RUNS)
    for line in sys.stdin:
        print(json.dumps(measure(prepared.run, float(line), least)), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
