"""Scaling laws fitted to finished runs: of compute, L(C), and of size and data, L(N, D).

    L(C)    = E + a C^-b                     of the runs on the frontier
    L(N, D) = E + A / N^alpha + B / D^beta   of all runs

N are parameters, D tokens seen, C training FLOPs, L the held-out loss in nats per token.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3.3 and appendix D.3: the Huber loss
(delta 1e-3) of log L, by BFGS from a grid of starts. Their optimiser had stopped early, as
Besiroglu et al. 2024 (arXiv:2404.10102) found: so here the losses are summed, not averaged, and
the tolerance is far below what a fit can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.runs import plots
from transformers_jax.runs.compare import grid as markdown_table
from transformers_jax.runs.compare import names as names_of
from transformers_jax.training.metrics import show_count
from transformers_jax.runs.summary import Summary, summarise

DELTA = 1e-3  # of the Huber loss: Hoffmann et al. 2022, appendix D.3
RESAMPLES = 200
LEVEL = 0.9  # of the intervals

Vector = Float[np.ndarray, "R"]


@dataclass(frozen=True)
class Law:
    """A fitted law: its numbers by name, and intervals of each from resampled runs."""

    kind: str
    """ "L(C)" or "L(N, D)" """
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    error: float
    """root of the mean square of log L - log predicted: the usual relative error"""

    def __call__(self, *at: Vector) -> Vector:
        """The loss at compute C, or at size N and data D."""
        v = self.values
        if self.kind == "L(C)":
            (compute,) = at
            return v["E"] + v["a"] * compute ** -v["b"]
        size, data = at
        return v["E"] + v["A"] * size ** -v["alpha"] + v["B"] * data ** -v["beta"]


def fit_compute(compute: Vector, loss: Vector, *, resamples: int = RESAMPLES, seed: int = 0) -> Law:
    """L(C) = E + a C^-b of runs that are the best at their compute.

    Raises:
        ValueError: fewer than four runs at different compute, which cannot tell three numbers.
    """
    compute, loss = _checked(C=compute, L=loss)
    if len(set(compute)) < 4:
        raise ValueError(
            f"L(C) has 3 numbers and needs 4 runs or more, at as many C; {_few(compute)}"
        )
    starts = itertools.product((-1.0, 0.0, 0.5, 1.0), (0.05, 0.1, 0.3, 0.6))
    return _fit("L(C)", [compute], loss, ["a"], ["b"], list(starts), resamples, seed)


def fit_size_and_data(
    size: Vector, data: Vector, loss: Vector, *, resamples: int = RESAMPLES, seed: int = 0
) -> Law:
    """L(N, D) = E + A / N^alpha + B / D^beta.

    Raises:
        ValueError: fewer than six runs, or fewer than three sizes or amounts of data: they cannot
            tell five numbers.
    """
    size, data, loss = _checked(N=size, D=data, L=loss)
    if len(loss) < 6 or min(len(set(size)), len(set(data))) < 3:
        raise ValueError(
            "L(N, D) has 5 numbers and needs 6 runs or more, of 3 sizes and 3 amounts of data or "
            f"more; there are {len(loss)} runs, {len(set(size))} sizes, {len(set(data))} amounts"
        )
    starts = itertools.product((-1.0, 0.0, 0.5), (0.1, 0.3, 0.6), (0.1, 0.3, 0.6))
    names = (["A", "B"], ["alpha", "beta"])
    return _fit("L(N, D)", [size, data], loss, *names, list(starts), resamples, seed)


def frontier(compute: Vector, loss: Vector) -> list[int]:
    """The runs that no other run beats with the same or less compute, by compute."""
    best = np.inf
    kept: list[int] = []
    for n in np.lexsort((loss, compute)):
        if loss[n] < best:
            best, kept = loss[n], [*kept, int(n)]
    return kept


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
    inputs: Sequence[Vector],
    loss: Vector,
    factors: list[str],
    powers: list[str],
    starts: Sequence[tuple[float, ...]],
    resamples: int,
    seed: int,
) -> Law:
    """E + sum of factor / input^power. What is fitted are the logarithms of E, of the factors at
    the geometric mean of each input, where they do not depend on the powers, and of the powers.
    E starts below the least loss, and the terms as equal shares of the rest."""
    centres = [np.log(x).mean() for x in inputs]
    logs = np.stack([np.log(x) - c for x, c in zip(inputs, centres)])
    target, terms = np.log(loss), len(inputs)
    first = []
    for share, *slopes in starts:  # share of E in the least loss, on the scale of a logit
        floor = loss.min() / (1 + np.exp(-share - 1))
        rest = max(float(np.median(loss)) - floor, 1e-3 * floor) / terms
        first.append(np.array([np.log(floor), *[np.log(rest)] * terms, *np.log(slopes)]))
    ones = np.ones(len(loss))
    found = min((_descend(x, logs, target, ones) for x in first), key=lambda fit: fit[0])[1]

    def natural(x: np.ndarray) -> np.ndarray:
        """E, factors, powers: at inputs of one instead of at their mean."""
        slopes = np.exp(x[1 + terms :])
        return np.concatenate([np.exp([x[0]]), np.exp(x[1 : 1 + terms] + slopes * centres), slopes])

    random, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        weights = np.bincount(random.integers(len(loss), size=len(loss)), minlength=len(loss))
        if (weights > 0).sum() > len(found):  # else any curve would do
            drawn.append(natural(_descend(found, logs, target, weights.astype(float))[1]))
    names, values = ["E", *factors, *powers], natural(found)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = (
        np.quantile(drawn, tails, axis=0) if len(drawn) > 10 else np.full((2, len(names)), np.nan)
    )
    error = np.sqrt(np.mean((_predict(found, logs)[0] - target) ** 2))
    return Law(
        kind,
        dict(zip(names, map(float, values))),
        {name: (float(low), float(high)) for name, low, high in zip(names, *ends)},
        float(error),
    )


def _predict(x: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log of the predicted loss, its derivatives by x)."""
    terms = len(logs)
    slopes = np.exp(x[1 + terms :, None])
    floor = np.full((1, logs.shape[1]), x[0])
    parts = np.concatenate([floor, x[1 : 1 + terms, None] - slopes * logs])
    top = parts.max(axis=0)
    total = top + np.log(np.exp(parts - top).sum(axis=0))
    shares = np.exp(parts - total)
    return total, np.concatenate([shares, -shares[1:] * slopes * logs])


def _descend(
    start: np.ndarray, logs: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """(summed Huber loss, numbers) where the descent ends."""
    from scipy.optimize import minimize

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        predicted, slopes = _predict(x, logs)
        away = predicted - target
        inside = np.abs(away) <= DELTA
        cost = np.where(inside, away**2 / 2, DELTA * (np.abs(away) - DELTA / 2))
        pull = np.where(inside, away, DELTA * np.sign(away))
        scale = 1 / DELTA**2  # so that the tolerance is one of the fit, not of the units
        return scale * float((weights * cost).sum()), scale * (slopes * (weights * pull)).sum(
            axis=1
        )

    # BFGS, not its version for little memory: a fit has five numbers at most, and the triangular
    # solves of L-BFGS-B are threaded by OpenBLAS, which on a busy machine takes ten times as long.
    options = {"maxiter": 2000, "gtol": 1e-8}
    with np.errstate(all="ignore"):  # a step of the line search may go far; it comes back
        done = minimize(objective, start, jac=True, method="BFGS", options=options)
    return (float(done.fun) if np.isfinite(done.x).all() else np.inf), done.x


def _checked(**arrays: Sequence[float] | np.ndarray) -> list[np.ndarray]:
    """The arrays as float64.

    Raises:
        ValueError: different lengths, or values that have no logarithm.
    """
    found = {name: np.asarray(values, np.float64) for name, values in arrays.items()}
    lengths = {name: values.shape for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"a law needs as many values of each; there are {lengths}")
    for name, values in found.items():
        if not (np.isfinite(values).all() and (values > 0).all()):
            wrong = values[~(np.isfinite(values) & (values > 0))][0]
            raise ValueError(f"{name} must be positive and finite in each run; one has {wrong}")
    return list(found.values())


def _few(compute: np.ndarray) -> str:
    return f"there are {len(compute)} runs at {len(set(compute))}"


# ---------------------------------------------------------------- of folders


def write_scaling(folders: Sequence[Path], out: Path) -> Path:
    """Fits both laws to the finished runs of folders; writes OUT.md and, beside it, OUT.png.

    Raises:
        ValueError: another ending than .md, or too few finished runs for either law.
    """
    if out.suffix != ".md":
        raise ValueError(f"--out {out}: expected a name that ends in .md")
    found = [summarise(folder) for folder in folders]
    why_not = {run.folder: _unfit(run) for run in found}
    fit = [run for run in found if not why_not[run.folder]]
    size, data, compute, loss = (
        np.array([getattr(run, name) for run in fit], np.float64)
        for name in ("parameters", "tokens", "flops", "eval_loss")
    )
    edge = frontier(compute, loss)
    of_compute = _try(lambda: fit_compute(compute[edge], loss[edge]))
    of_both = _try(lambda: fit_size_and_data(size, data, loss))
    if isinstance(of_compute, str) and isinstance(of_both, str):
        left = "; ".join(f"{folder}: {why}" for folder, why in why_not.items() if why)
        raise ValueError(
            f"no law can be fitted to {len(fit)} finished runs: {of_compute} on the frontier. "
            f"{of_both}" + (f". Left out: {left}" if left else "")
        )
    image = out.with_suffix(".png")
    line = None
    if isinstance(of_compute, Law):
        over = np.geomspace(compute.min(), compute.max(), 200)
        line = over, of_compute(over)
    out.parent.mkdir(parents=True, exist_ok=True)
    plots.plot_scaling(compute, loss, size, edge, line, image)
    parts = {
        f"# Scaling of {len(fit)} runs": f"![loss against compute]({image.name})",
        "## L(C) = E + a C^-b, on the frontier": _told(of_compute),
        "## L(N, D) = E + A / N^alpha + B / D^beta": _told(of_both),
        "## The best size for a compute": _best(of_both, compute),
        "## Runs": _table(fit, edge, of_both),
        "## Left out": "\n".join(f"- {folder}: {why}" for folder, why in why_not.items() if why),
    }
    text = "\n\n".join(f"{title}\n\n{body}" for title, body in parts.items() if body)
    out.write_text(f"{text}\n")
    return out


def _unfit(run: Summary) -> str:
    """Why a run cannot be a point of a law; "" if it can."""
    if run.state != "finished":
        return f"{run.state}{': ' * bool(run.why)}{run.why}"
    needed = ("parameters", "tokens", "flops", "eval_loss")
    missing = [name for name in needed if getattr(run, name) is None]
    return f"{', '.join(missing)} not known" if missing else ""


def _try(fit: Callable[[], Law]) -> Law | str:
    try:
        return fit()
    except ValueError as error:
        return str(error)


def _told(law: Law | str) -> str:
    if isinstance(law, str):
        return f"Not fitted: {law}."
    rows = [
        [name, f"{value:.4g}", f"{law.intervals[name][0]:.4g} to {law.intervals[name][1]:.4g}"]
        for name, value in law.values.items()
    ]
    table = markdown_table(["", "value", f"{LEVEL:.0%} interval"], rows)
    return f"{table}\n\nUsual relative error {law.error:.2%}; intervals from {RESAMPLES} resamples."


def _best(law: Law | str, compute: np.ndarray) -> str:
    """A table of sizes and tokens, to a hundred times the largest compute."""
    if isinstance(law, str):
        return ""
    rows = []
    for budget in compute.max() * np.array([1.0, 10.0, 100.0]):
        size, data = best_size(law, budget)
        loss = float(law(np.array(size), np.array(data)))
        rows.append(
            [
                f"{budget:.3g}",
                show_count(size),
                show_count(data),
                f"{data / size:.3g}",
                f"{loss:.4f}",
            ]
        )
    head = ["FLOPs", "parameters", "tokens", "tokens per parameter", "loss by the law"]
    return markdown_table(head, rows) + "\n\nAll but the first are beyond what was measured."


def _table(fit: Sequence[Summary], edge: Sequence[int], law: Law | str) -> str:
    rows = []
    for n, (label, run) in enumerate(zip(names_of(fit), fit)):
        values = [run.parameters, run.tokens, run.flops, run.eval_loss]
        assert not any(value is None for value in values)
        size, data, flops, loss = map(float, values)  # type: ignore[arg-type]
        said = "-" if isinstance(law, str) else f"{float(law(np.array(size), np.array(data))):.4f}"
        rows.append(
            [label, show_count(size), show_count(data), f"{flops:.3g}", f"{loss:.4f}", said,
             "yes" if n in edge else ""]
        )  # fmt: skip
    head = ["run", "parameters", "tokens", "FLOPs", "loss", "L(N, D)", "on the frontier"]
    return markdown_table(head, rows)
