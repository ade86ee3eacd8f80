"""Scaling laws fitted to finished runs: of compute, L(C), and of size and data, L(N, D).

    L(C)    = E + a C^-b                     of the runs on the frontier
    L(N, D) = E + A / N^alpha + B / D^beta   of all runs

N are parameters, D training tokens, C training FLOPs, L the held-out loss in nats per token, or in
bits per byte if the runs have different tokenizers.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3.3 and appendix D.3: the Huber loss
(delta 1e-3) of log L, from a grid of starts. Their optimiser had stopped early, as Besiroglu et al.
2024 (arXiv:2404.10102) found: so here the tolerance is far below the resolution of a fit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.publish import publish
from transformers_jax.runs import plots
from transformers_jax.runs.page import sections, table
from transformers_jax.runs.summary import Summary, compared_by, summarise
from transformers_jax.runs.summary import names as names_of
from transformers_jax.training.metrics import show_count

DELTA = 1e-3  # of the Huber loss: Hoffmann et al. 2022, appendix D.3
RESAMPLES = 200
LEVEL = 0.9  # of the intervals
SHARES, POWERS = (-1.0, 0.0, 0.5, 1.0), (0.1, 0.3, 0.6)
"""Where fits start: shares of E in the least loss, on the scale of a logit, and powers."""

Vector = Float[np.ndarray, "R"]


@dataclass(frozen=True)
class Law:
    """A fitted law: its parameters by name, and intervals of each from resampled runs."""

    kind: str
    """ "L(C)" or "L(N, D)" """
    values: dict[str, float]
    """E, then the factor of each input, then its power"""
    intervals: dict[str, tuple[float, float]]
    error: float
    """root of the mean square of log L - log predicted: the usual relative error"""

    def __call__(self, *inputs: Vector) -> Vector:
        """The loss at compute C, or at size N and data D."""
        floor, *others = self.values.values()
        terms = zip(others, inputs, others[len(inputs) :])
        return np.asarray(floor + sum(factor * x**-power for factor, x, power in terms))


def fit_compute(compute: Vector, loss: Vector, *, resamples: int = RESAMPLES, seed: int = 0) -> Law:
    """L(C) = E + a C^-b of runs that are the best at their compute.

    Raises:
        ValueError: fewer than four runs at different compute, which do not determine three
        parameters.
    """
    compute, loss = _checked(C=compute, L=loss)
    if len(set(compute)) < 4:
        raise ValueError(
            "L(C) has 3 parameters and needs 4 runs or more, at as many C; there are "
            f"{len(compute)} runs at {len(set(compute))}"
        )
    return _fit("L(C)", ["E", "a", "b"], [compute], loss, resamples, seed)


def fit_size_and_data(
    size: Vector, data: Vector, loss: Vector, *, resamples: int = RESAMPLES, seed: int = 0
) -> Law:
    """L(N, D) = E + A / N^alpha + B / D^beta.

    Raises:
        ValueError: fewer than six runs, or fewer than three sizes or amounts of data: they cannot
            determine five parameters.
    """
    size, data, loss = _checked(N=size, D=data, L=loss)
    if len(loss) < 6 or min(len(set(size)), len(set(data))) < 3:
        raise ValueError(
            "L(N, D) has 5 parameters and needs 6 runs or more, of 3 sizes and 3 amounts of data "
            f"or more; there are {len(loss)} runs, {len(set(size))} sizes, "
            f"{len(set(data))} amounts"
        )
    names = ["E", "A", "B", "alpha", "beta"]
    return _fit("L(N, D)", names, [size, data], loss, resamples, seed)


def frontier(compute: Vector, loss: Vector) -> list[int]:
    """The runs whose loss no other run reaches with the same or less compute, by compute."""
    order = np.lexsort((loss, compute))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], loss[order][:-1]]))
    return order[loss[order] < best_before].tolist()


def best_size(law: Law, compute: float) -> tuple[float, float]:
    """(N, D) of least loss at a compute C = 6 N D: Hoffmann et al. 2022, equation 4."""
    v = law.values
    both = v["alpha"] + v["beta"]
    ratio = (v["alpha"] * v["A"] / (v["beta"] * v["B"])) ** (1 / both)
    size = ratio * (compute / 6) ** (v["beta"] / both)
    return size, compute / 6 / size


# ---------------------------------------------------------------- the fit


def _fit(
    kind: str,
    names: list[str],
    inputs: Sequence[Vector],
    loss: Vector,
    resamples: int,
    seed: int,
) -> Law:
    """E + sum of factor / input^power. What is fitted are the logarithms of E, of the factors at
    the geometric mean of each input, where they do not depend on the powers, and of the powers.
    E starts below the least loss, and the terms as equal shares of the rest."""
    means = [np.log(x).mean() for x in inputs]
    logs = np.stack([np.log(x) - mean for x, mean in zip(inputs, means)])
    target, terms = np.log(loss), len(inputs)
    fits = []
    for share, *powers in itertools.product(SHARES, *[POWERS] * terms):
        floor = loss.min() / (1 + np.exp(-share - 1))
        rest = max(float(np.median(loss)) - floor, 1e-3 * floor) / terms
        start = np.log([floor, *[rest] * terms, *powers])
        fits.append(_minimise(start, logs, target))
    best = min(fits, key=lambda fit: fit[0])[1]

    def natural(x: np.ndarray) -> np.ndarray:
        """E, factors, powers: at inputs of one instead of at their mean."""
        powers = np.exp(x[1 + terms :])
        return np.concatenate([np.exp([x[0]]), np.exp(x[1 : 1 + terms] + powers * means), powers])

    generator, resampled = np.random.default_rng(seed), []
    for _ in range(resamples):
        rows = generator.integers(len(loss), size=len(loss))
        if len(set(rows.tolist())) > len(best):  # fewer runs are on any curve
            resampled.append(natural(_minimise(best, logs[:, rows], target[rows])[1]))
    ends = np.full((2, len(names)), np.nan)
    if len(resampled) > 10:
        ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    error = np.sqrt(np.mean((_predict(best, logs)[0] - target) ** 2))
    intervals = {name: (float(low), float(high)) for name, low, high in zip(names, *ends)}
    return Law(kind, dict(zip(names, map(float, natural(best)))), intervals, float(error))


def _predict(x: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log of the predicted loss, its derivatives by x)."""
    terms = len(logs)
    powers = np.exp(x[1 + terms :, None])
    floor = np.full((1, logs.shape[1]), x[0])
    parts = np.concatenate([floor, x[1 : 1 + terms, None] - powers * logs])
    total = np.logaddexp.reduce(parts, axis=0)
    shares = np.exp(parts - total)
    return total, np.concatenate([shares, -shares[1:] * powers * logs])


def _minimise(start: np.ndarray, logs: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """(summed Huber loss, parameters) of the minimum nearest to a start."""
    from scipy.optimize import least_squares

    tolerances = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-12)
    with np.errstate(all="ignore"):  # a trial step may go far; it is taken back
        fit = least_squares(
            lambda x: _predict(x, logs)[0] - target,
            start,
            jac=lambda x: _predict(x, logs)[1].T,
            loss="huber",
            f_scale=DELTA,
            max_nfev=2000,
            **tolerances,
        )
    return float(fit.cost), fit.x


def _checked(**arrays: Sequence[float] | np.ndarray) -> list[np.ndarray]:
    """The arrays as float64.

    Raises:
        ValueError: different lengths, or values that have no logarithm.
    """
    floats = {name: np.asarray(values, np.float64) for name, values in arrays.items()}
    lengths = {name: values.shape for name, values in floats.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"a law needs as many values of each; there are {lengths}")
    for name, values in floats.items():
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if len(wrong):
            raise ValueError(f"{name} must be positive and finite in each run; one has {wrong[0]}")
    return list(floats.values())


# ---------------------------------------------------------------- of folders


def write_scaling(folders: Sequence[Path], out: Path) -> Path:
    """Fits both laws to the finished runs of folders; writes OUT.md and OUT.png.

    Raises:
        ValueError: another ending than .md, or too few finished runs for either law.
    """
    if out.suffix != ".md":
        raise ValueError(f"--out {out}: expected a name that ends in .md")
    every = [summarise(folder) for folder in folders]
    figure = compared_by(run for run in every if run.state == "finished")
    reasons = {run.folder: _why_left_out(run, figure) for run in every}
    left_out = {folder: reason for folder, reason in reasons.items() if reason}
    runs = [run for run in every if run.folder not in left_out]
    size, data, compute, loss = (
        np.array([getattr(run, name) for run in runs], np.float64)
        for name in ("parameters", "tokens", "flops", figure)
    )
    edge = frontier(compute, loss)
    of_compute = _law_or_reason(lambda: fit_compute(compute[edge], loss[edge]))
    of_both = _law_or_reason(lambda: fit_size_and_data(size, data, loss))
    if isinstance(of_compute, str) and isinstance(of_both, str):
        left = "; ".join(f"{folder}: {reason}" for folder, reason in left_out.items())
        raise ValueError(
            f"no law can be fitted to {len(runs)} finished runs: {of_compute} on the frontier. "
            f"{of_both}" + (f". Left out: {left}" if left else "")
        )
    image, line = out.with_suffix(".png"), None
    if isinstance(of_compute, Law):
        x = np.geomspace(compute.min(), compute.max(), 200)
        line = x, of_compute(x)
    out.parent.mkdir(parents=True, exist_ok=True)
    plots.plot_scaling(compute, loss, size, edge, line, image, plots.UNITS[figure])
    predicted = of_both(size, data) if isinstance(of_both, Law) else None
    rows = [
        [label, show_count(size[n]), show_count(data[n]), f"{compute[n]:.3g}", f"{loss[n]:.4f}",
         "-" if predicted is None else f"{predicted[n]:.4f}", "yes" if n in edge else ""]
        for n, label in enumerate(names_of(runs))
    ]  # fmt: skip
    head = [
        "run",
        "parameters",
        "tokens",
        "FLOPs",
        plots.UNITS[figure],
        "L(N, D)",
        "on the frontier",
    ]
    parts = {
        f"# Scaling of {len(runs)} runs": f"![loss against compute]({image.name})",
        "## L(C) = E + a C^-b, on the frontier": _parameters(of_compute),
        "## L(N, D) = E + A / N^alpha + B / D^beta": _parameters(of_both),
        "## The best size for a compute": _best_sizes(of_both, compute),
        "## Runs": table(head, rows),
        "## Left out": "\n".join(f"- {folder}: {reason}" for folder, reason in left_out.items()),
    }
    publish(out, sections(parts))
    return out


def _why_left_out(run: Summary, figure: str) -> str:
    """Why a run cannot be a point of a law; "" if it can."""
    if run.state != "finished":
        return f"{run.state}{': ' * bool(run.why)}{run.why}"
    needed = ("parameters", "tokens", "flops", figure)
    missing = [name for name in needed if getattr(run, name) is None]
    if missing:
        return f"{', '.join(missing)} not known"
    wrong = [name for name in needed if not math.isfinite(getattr(run, name))]
    return ", ".join(f"{name} is {getattr(run, name)}" for name in wrong)


def _law_or_reason(fit: Callable[[], Law]) -> Law | str:
    try:
        return fit()
    except ValueError as error:
        return str(error)


def _parameters(law: Law | str) -> str:
    if isinstance(law, str):
        return f"Not fitted: {law}."
    rows = [
        [name, f"{value:.4g}", f"{law.intervals[name][0]:.4g} to {law.intervals[name][1]:.4g}"]
        for name, value in law.values.items()
    ]
    text = table(["", "value", f"{LEVEL:.0%} interval"], rows)
    return f"{text}\n\nUsual relative error {law.error:.2%}; intervals from {RESAMPLES} resamples."


def _best_sizes(law: Law | str, compute: np.ndarray) -> str:
    """A table of sizes and tokens, to a hundred times the largest compute."""
    if isinstance(law, str):
        return ""
    rows = []
    for flops in compute.max() * np.array([1.0, 10.0, 100.0]):
        size, data = best_size(law, flops)
        loss = float(law(np.array(size), np.array(data)))
        counts = [show_count(size), show_count(data), f"{data / size:.3g}"]
        rows.append([f"{flops:.3g}", *counts, f"{loss:.4f}"])
    head = ["FLOPs", "parameters", "tokens", "tokens per parameter", "loss by the law"]
    return table(head, rows) + "\n\nAll but the first are beyond what was measured."
