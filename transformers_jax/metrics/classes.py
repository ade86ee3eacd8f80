"""Metrics of classes: one for each example, or several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from transformers_jax.metrics.checks import class_numbers, same_length, truths


def confusion(
    predicted: Int[np.ndarray, " N"], expected: Int[np.ndarray, " N"], classes: int
) -> Int[np.ndarray, "C C"]:
    """How many examples of each expected class (rows) were predicted as each class (columns).

    Raises:
        ValueError: lengths differ, there is no example, or a number is none of a class.
    """
    if classes < 2:
        raise ValueError(f"classes={classes}: there must be two at least")
    predicted = class_numbers("predicted", predicted, classes)
    expected = class_numbers("expected", expected, classes)
    same_length(predicted=predicted, expected=expected)
    counts = np.bincount(expected * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def classification(
    predicted: Int[np.ndarray, " N"], expected: Int[np.ndarray, " N"], classes: int
) -> dict[str, float]:
    """Accuracy, F1 and Matthews' correlation of one class for each example.

    `f1_macro` is the mean over the classes that are predicted or expected anywhere. Of two classes
    `f1` is that of class 1, as GLUE has it for MRPC and QQP; of more there is none. A class that
    was never hit has the F1 0; Matthews' correlation is 0 where one side is constant.

    Raises:
        ValueError: lengths differ, there is no example, or a number is none of a class.
    Source:
        scikit-learn's `accuracy_score`, `f1_score` and `matthews_corrcoef`, whose defaults these
        are; Gorodkin 2004 for Matthews' correlation of more than two classes.
    """
    counts = confusion(predicted, expected, classes)
    hits, support, chosen = np.diag(counts), counts.sum(1), counts.sum(0)
    f1 = _f1(hits, chosen, support)
    two = {"f1": float(f1[1])} if classes == 2 else {}
    accuracy = float(hits.sum() / counts.sum())
    return {
        "accuracy": accuracy,
        **two,
        "f1_micro": accuracy,  # each mistake is one false positive and one false negative
        "f1_macro": float(f1[support + chosen > 0].mean()),
        "matthews": _matthews(counts),
    }


def multi_label(
    predicted: Bool[np.ndarray, "N C"], expected: Bool[np.ndarray, "N C"]
) -> dict[str, float]:
    """F1 over all labels (micro) and its mean over classes (macro), and subset accuracy.

    `f1_macro` is the mean over all classes, also those that occur nowhere, whose F1 is 0.
    `subset_accuracy` is the share of the examples all of whose labels are right.

    Raises:
        ValueError: shapes differ, there is no example, or a value is neither true nor false.
    Source:
        scikit-learn's `f1_score` and `accuracy_score` of label indicators.
    """
    predicted, expected = truths("predicted", predicted), truths("expected", expected)
    same_length(predicted=predicted, expected=expected)
    each = [x.sum(0) for x in (predicted & expected, predicted, expected)]
    return {
        "f1_micro": float(_f1(*(x.sum() for x in each))),
        "f1_macro": float(_f1(*each).mean()),
        "subset_accuracy": float((predicted == expected).all(1).mean()),
    }


def _f1(hits: Any, chosen: Any, support: Any) -> Any:
    """2 * hits / (chosen + support): the harmonic mean of precision and recall; 0 of nothing."""
    return 2 * hits / np.maximum(chosen + support, 1)


def _matthews(counts: Int[np.ndarray, "C C"]) -> float:
    """The correlation of predicted and expected classes, each a vector of zeros and a one."""
    support, chosen = counts.sum(1).tolist(), counts.sum(0).tolist()  # integers of any size
    total, hits = sum(support), int(np.trace(counts))
    covariance = hits * total - sum(s * c for s, c in zip(support, chosen))
    variances = [total**2 - sum(n**2 for n in side) for side in (support, chosen)]
    return covariance / math.sqrt(variances[0] * variances[1]) if all(variances) else 0.0
