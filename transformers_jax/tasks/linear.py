"""A linear layer on features, solved by scikit-learn: of classes, of labels, of a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.extras import need
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.sequences import (
    MultiLabel,
    Regression,
    SequenceClassification,
    softmax,
)

MOST = 20_000  # iterations of a logistic regression


class Linear(NamedTuple):
    """A last layer, x W + b, and the mean loss of the rows that it was solved for."""

    weight: Float[np.ndarray, "D N"]
    bias: Float[np.ndarray, " N"]
    loss: float


def solve(
    task: Task, x: Float[np.ndarray, "N D"], labels: Any, count: int, penalty: float, bias: bool
) -> Linear:
    """The last layer with the least mean loss + penalty / 2 * |W|^2; a bias costs nothing.

    Classes and labels are logistic regressions, a number is a ridge regression, of scikit-learn.

    Args:
        count: of classes, or of labels.
        bias: whether the layer has one.

    Raises:
        ValueError: a class without a row, or a label that all rows have or none; a regression that
            does not converge.
    """
    if isinstance(task, Regression):
        linear: Any = need("sklearn.linear_model", "eval", "a probe")
        y = np.asarray(labels, np.float64)
        ridge = linear.Ridge(alpha=penalty * len(y) / 2, fit_intercept=bias).fit(x, y)
        loss = np.mean((ridge.predict(x) - y) ** 2)
        return Linear(ridge.coef_[:, None], np.reshape(ridge.intercept_, 1), float(loss))
    if isinstance(task, MultiLabel):
        matrix = np.asarray(labels) > 0
        single = [n for n in range(count) if len({*matrix[:, n].tolist()}) < 2]
        if single:
            raise ValueError(
                f"label number {single[0]} is that of all rows to train on, or of none: a "
                "probe of it is not determined; --adapter.solver gradient trains one all the same"
            )
        parts = [_logistic(x, matrix[:, n], penalty * count, bias) for n in range(count)]
        weight = np.concatenate([part.weight for part in parts], 1)
        offsets = np.concatenate([part.bias for part in parts])
        return Linear(weight, offsets, float(np.mean([part.loss for part in parts])))
    numbers = np.asarray(labels)
    absent = sorted({*range(count)} - {*numbers.tolist()})
    if absent:
        raise ValueError(
            f"class number {absent[0]} has no row to train on: its scores are not determined; "
            "--adapter.solver gradient trains them all the same"
        )
    assert isinstance(task, SequenceClassification)
    weights = np.asarray(task.resolved or [1.0] * count)[numbers]
    if count > 2:
        return _logistic(x, numbers, penalty, bias, weights)
    # Two rows of weights that differ by w have the least squares as w / 2 and -w / 2.
    one = _logistic(x, numbers, penalty / 2, bias, weights)
    both = np.array([-0.5, 0.5])
    return Linear(one.weight * both, one.bias * both, one.loss)


def usual_penalty(task: Task, rows: int, count: int) -> float:
    """The penalty that scikit-learn has by default: C = 1, of a ridge regression alpha = 1. Two
    classes and labels have one row of weights each there, whose squares count otherwise here."""
    if isinstance(task, Regression):
        return 2 / rows
    if isinstance(task, MultiLabel):
        return 1 / (rows * count)
    return (2 if count == 2 else 1) / rows


def _logistic(
    x: Float[np.ndarray, "N D"],
    y: Any,
    penalty: float,
    bias: bool,
    weights: Float[np.ndarray, " N"] | None = None,
) -> Linear:
    linear: Any = need("sklearn.linear_model", "eval", "a probe")
    weights = np.ones(len(y)) if weights is None else weights
    total = weights.sum()
    strength = 1 / (penalty * total) if penalty else np.inf
    regression = linear.LogisticRegression(
        C=strength, fit_intercept=bias, tol=1e-9, max_iter=MOST
    ).fit(x, y, sample_weight=weights)
    if max(regression.n_iter_) >= MOST:
        raise ValueError(
            f"the probe has not converged in {MOST:,} iterations: raise --adapter.penalty "
            f"({penalty:g})"
        )
    scores = regression.decision_function(x)
    if scores.ndim == 1:
        logs = -np.logaddexp(0, np.where(np.asarray(y) > 0, -scores, scores))
    else:
        logs = np.log(softmax(scores)[np.arange(len(y)), np.asarray(y)])
    loss = -(weights * logs).sum() / total
    return Linear(regression.coef_.T, np.reshape(regression.intercept_, -1), float(loss))
