"""Runs that differ in their seed alone: the mean and the deviation of their figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transformers_jax.metrics import mean_and_deviation
from transformers_jax.publish import publish_json
from transformers_jax.runs.page import table
from transformers_jax.runs.recipe import best_metrics
from transformers_jax.training.config import load
from transformers_jax.training.metrics import read


def report_seeds(out: str | Path) -> str:
    """A table of the mean and the standard deviation (n - 1) of each figure over the runs
    OUT/seed=N, of the step that each exported; it is written to OUT/seeds.json as well.

    Raises:
        ValueError: fewer than two runs.
    """
    folder = Path(out).expanduser()
    runs = sorted(folder.glob("seed=*/config.json"))
    if len(runs) < 2:
        raise ValueError(
            f"{folder} holds {len(runs)} runs that differ in their seed; two are needed"
        )
    figures = [best_metrics(read(one.parent / "metrics.jsonl"), load(one.parent)) for one in runs]
    names = [name for name in figures[0] if all(name in one for one in figures)]
    found = {name: mean_and_deviation(np.array([one[name] for one in figures])) for name in names}
    publish_json(folder / "seeds.json", {"runs": len(runs), "figures": found})
    rows = [[n, f"{one['mean']:.4f}", f"{one['deviation']:.4f}"] for n, one in found.items()]
    return table([f"over {len(runs)} seeds", "mean", "deviation"], rows)
