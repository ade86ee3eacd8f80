"""Seconds to import the package, compared with `import jax, flax.nnx`, in alternating processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATEMENTS = {
    "jax, flax.nnx": "import jax, flax.nnx",
    "transformers_jax": "import transformers_jax",
    "transformers_jax and its names": "from transformers_jax import from_pretrained, generate",
}


def measure(rounds: int = 9) -> dict[str, float]:
    """Median wall seconds of a process that imports and ends, for each statement."""
    durations: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
            durations[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in durations.items()}
