"""Measures and writes RESULTS.md and results.json.

    python -m benchmarks.run [CASE ...] [--torch-python PATH] [--rounds N] [--seconds S]
                             [--one-core]

Without a case everything is measured; `long` stands for every case whose name begins so. Our side
runs in this interpreter, PyTorch's in the one given by --torch-python. A case measured again
replaces its old figures in results.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import (
    bucketing,
    checkpoints,
    engine,
    importing,
    loading,
    pictures,
    report,
    start,
    timed,
)  # fmt: skip
from benchmarks.cases import all_cases

HERE = Path(__file__).parent
WHOLE = ("start", "loading", *checkpoints.LOADS, "importing", "engine", "bucketing", "pictures")
OURS = ("jax", "jaxlib", "flax", "optax", "numpy")
THEIRS = ("torch", "transformers")


def versions(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of packages in an interpreter."""
    code = (
        "import json, sys; from importlib.metadata import version; "
        f"print(json.dumps({{n: version(n) for n in {packages!r}}}))"
    )
    return json.loads(subprocess.check_output([python, "-c", code], text=True))


def machine() -> str:
    """Processor, cores and memory."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def measured(case: str, options: argparse.Namespace) -> Any:
    """The figures of a case, as JSON can hold them."""
    if case == "start":
        return start.measure(options.torch_python, max(2, options.rounds // 2))
    if case == "loading":
        return loading.measure()
    if case in checkpoints.LOADS:
        return checkpoints.measure(case, options.torch_python, min(3, options.rounds))
    if case == "engine":
        return engine.measure()
    if case == "bucketing":
        return bucketing.measure(options.rounds)
    if case == "pictures":
        return pictures.measure(options.rounds)
    if case == "importing":
        return importing.measure(options.rounds)
    cores = 1 if options.one_core else None
    result = timed.run(case, options.torch_python, options.rounds, options.seconds, cores)
    return dataclasses.asdict(result) | {"best": result.best, "ratio": result.ratio}


def main(arguments: list[str]) -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--one-core", action="store_true", help="compare CPU seconds on one core")
    options = parser.parse_args(arguments)
    known = [*all_cases(), *WHOLE]
    chosen: list[str] = []
    for name in options.cases:
        matches = [case for case in known if f"{case} ".startswith(f"{name} ")]
        if not matches:
            parser.error(f"no case {name!r}; there are {', '.join(known)}")
        chosen += [name] if name in matches else matches
    results_file = HERE / "results.json"
    about = {
        "machine": machine(),
        "python": platform.python_version(),
        **versions(sys.executable, OURS),
        **versions(options.torch_python, THEIRS),
    }
    for case in chosen or known:
        busy = os.getloadavg()[0]
        figures = measured(case, options)
        when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
        kind = "one core" if options.one_core and case not in WHOLE else "all cores"
        entry = {"figures": figures, "when": when, "load": busy, "about": about}
        results = json.loads(results_file.read_text()) if results_file.exists() else {}
        results.setdefault(case, {})[kind] = entry
        results_file.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(report.text(results, known))
        print(case, json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
