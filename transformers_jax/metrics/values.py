"""Metrics of numbers: regression, the similarity of sentences, the results of several seeds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from transformers_jax.metrics.checks import numbers, same_length


def regression(
    predicted: Float[np.ndarray, " N"], expected: Float[np.ndarray, " N"]
) -> dict[str, float]:
    """Pearson's and Spearman's correlation, and the mean squared error.

    Ranks of equal numbers are averaged. Where one side is constant no correlation is defined: NaN.

    Raises:
        ValueError: lengths differ, there is no example, or a number is not finite.
    Source:
        SciPy's `pearsonr` and `spearmanr`; GLUE has both for STS-B.
    """
    predicted, expected = numbers("predicted", predicted), numbers("expected", expected)
    same_length(predicted=predicted, expected=expected)
    return {
        "pearson": _correlation(predicted, expected),
        "spearman": _correlation(_ranks(predicted), _ranks(expected)),
        "mean_squared_error": float(np.mean((predicted - expected) ** 2)),
    }


def sentence_similarity(
    first: Float[np.ndarray, "N D"],
    second: Float[np.ndarray, "N D"],
    expected: Float[np.ndarray, " N"],
) -> dict[str, float]:
    """How the cosine similarity of pairs of embeddings correlates with the expected similarity.

    Returns:
        `pearson` and `spearman`, as `regression` has them.
    Raises:
        ValueError: shapes differ, there is no example, a number is not finite, a vector is zero.
    Source:
        Reimers and Gurevych 2019, section 4; sentence-transformers' EmbeddingSimilarityEvaluator.
    """
    first, second = numbers("first", first, rank=2), numbers("second", second, rank=2)
    same_length(first=first, second=second)
    lengths = {"first": np.linalg.norm(first, axis=1), "second": np.linalg.norm(second, axis=1)}
    for name, length in lengths.items():
        if not length.all():
            raise ValueError(
                f"{name}[{np.argmin(length)}] is a vector of zeros: it has no direction"
            )
    cosine = np.einsum("nd,nd->n", first, second) / (lengths["first"] * lengths["second"])
    scores = regression(cosine, expected)
    return {name: scores[name] for name in ("pearson", "spearman")}


def mean_and_deviation(values: Float[np.ndarray, " N"]) -> dict[str, float]:
    """The mean of the results of several seeds, and their standard deviation (divided by N - 1).

    Raises:
        ValueError: there are less than two, or one is not finite.
    """
    values = numbers("values", values)
    if len(values) < 2:
        raise ValueError("one value has no deviation; give the results of two seeds at least")
    return {"mean": float(values.mean()), "deviation": float(values.std(ddof=1))}


def _correlation(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    """Pearson's; NaN where one side is constant."""
    if (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    x, y = (z / np.abs(z).max() for z in (x - x.mean(), y - y.mean()))  # squares stay in range
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def _ranks(x: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The rank of each number, from 1; equal ones have the mean of their ranks."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]
