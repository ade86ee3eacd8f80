"""Runs that differ in their seed alone: the mean and the deviation of their figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transformers_jax.json_files import finite_or_null
from transformers_jax.metrics import mean_and_deviation
from transformers_jax.publish import publish_json
from transformers_jax.runs.page import table
from transformers_jax.runs.recipe import exported_metrics


def report_seeds(out: str | Path, seeds: int) -> str:
    """A table of the mean and the standard deviation (n - 1) of each figure over the runs
    OUT/seed=0, OUT/seed=1, ..., of the step that each exported; it is written to OUT/seeds.json as
    well.

    Raises:
        ValueError: fewer than two runs.
    """
    folder = Path(out).expanduser()
    runs = [one for n in range(seeds) if (one := folder / f"seed={n}").is_dir()]
    if len(runs) < 2:
        raise ValueError(
            f"{folder} holds {len(runs)} runs that differ in their seed; two are needed"
        )
    figures = [exported_metrics(one) for one in runs]
    names = [name for name in figures[0] if all(name in one for one in figures)]
    found = {name: _over([one[name] for one in figures]) for name in names}
    shown = {name: finite_or_null(one) for name, one in found.items()}
    publish_json(folder / "seeds.json", {"runs": len(runs), "figures": shown})
    rows = [[n, f"{one['mean']:.4f}", f"{one['deviation']:.4f}"] for n, one in found.items()]
    return table([f"over {len(runs)} seeds", "mean", "deviation"], rows)


def _over(values: Sequence[float]) -> dict[str, float]:
    """The mean and the deviation; NaN where a run has no number, as of equal predictions."""
    if not np.isfinite(values).all():
        return {"mean": math.nan, "deviation": math.nan}
    return mean_and_deviation(np.array(values))
