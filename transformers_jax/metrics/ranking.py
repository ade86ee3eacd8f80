"""Retrieval: how early the relevant documents stand in a ranking."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from transformers_jax.metrics.checks import integers, named, same_length, sequence

Relevant = Collection[int] | Mapping[int, float]
"""Numbers of documents; or the grade of each, 0 for one that is not relevant."""


def retrieval(
    ranked: Int[np.ndarray, "Q K"], relevant: Sequence[Relevant], k: int | Sequence[int]
) -> dict[str, float]:
    """Recall, precision and nDCG of the first k documents, MRR and MAP; means over the queries.

    Args:
        ranked: for each query the numbers of the documents that were found, the best first.
        relevant: for each query the numbers of those that are relevant, or {number: grade}.
        k: how many documents are looked at: a number, or several.
    Returns:
        For each k: `recall@k`, the share of the relevant documents that are among the first k;
        `precision@k`, the share of the first k that are relevant; `ndcg@k`, the sum of grades over
        log2(1 + rank), divided by that of the best ranking. Of all K documents: `mrr`, 1 / the rank
        of the first relevant one, 0 if there is none; `map`, the sum of the precisions at each
        relevant one, divided by how many are relevant.
    Raises:
        ValueError: lengths differ, there is no query, k is out of range, a document is ranked
            twice, a query has no relevant document, or a number or a grade is negative or none.
    Source:
        Järvelin and Kekäläinen 2002 for nDCG, with the grade itself as the gain; Voorhees 1999 for
        MRR; trec_eval, whose recall, P, map and ndcg_cut these are.
    """
    ranked = integers("ranked", ranked, "numbers of documents for each query", rank=2)
    grades = _grades(relevant)
    same_length(ranked=ranked.tolist(), relevant=grades)
    _check_ranked(ranked)
    cutoffs = _cutoffs(k, ranked.shape[1])

    gains = np.array([[of.get(n, 0.0) for n in row] for row, of in zip(ranked.tolist(), grades)])
    hits = gains > 0
    total = np.array([sum(grade > 0 for grade in of.values()) for of in grades])
    found = np.cumsum(hits, 1)
    ranks = np.arange(1, ranked.shape[1] + 1)
    dcg, best = _dcg(gains), _dcg(_ideal(grades, ranked.shape[1]))

    result: dict[str, Float[np.ndarray, " Q"]] = {}
    for n in cutoffs:
        result[f"recall@{n}"] = found[:, n - 1] / total
        result[f"precision@{n}"] = found[:, n - 1] / n
        result[f"ndcg@{n}"] = dcg[:, n - 1] / best[:, n - 1]
    result["mrr"] = np.where(hits.any(1), 1 / (1 + np.argmax(hits, 1)), 0)
    result["map"] = (hits * found / ranks).sum(1) / total
    return {name: float(values.mean()) for name, values in result.items()}


def _dcg(gains: Float[np.ndarray, "Q K"]) -> Float[np.ndarray, "Q K"]:
    """The discounted cumulative gain of the first document, of the first two, ..."""
    return np.cumsum(gains / np.log2(np.arange(2, gains.shape[1] + 2)), 1)


def _ideal(grades: list[dict[int, float]], length: int) -> Float[np.ndarray, "Q K"]:
    """The gains of the best ranking of each query."""
    rows = [sorted(of.values(), reverse=True)[:length] for of in grades]
    return np.array([row + [0.0] * (length - len(row)) for row in rows])


def _grades(relevant: Any) -> list[dict[int, float]]:
    """{document: grade} of each query."""
    valid = lambda value: isinstance(value, Collection) and not isinstance(value, str)
    of_what = "sets of documents, or dicts with their grades"
    grades, wrong, without = [], [], []
    for at, documents in enumerate(sequence("relevant", relevant, of_what, valid)):
        pairs = documents.items() if isinstance(documents, Mapping) else ((n, 1) for n in documents)
        of: dict[int, float] = {}
        for number, grade in pairs:
            try:
                number, grade = operator.index(number), float(grade)
            except (TypeError, ValueError):
                number = -1
            if number < 0 or not (math.isfinite(grade) and grade >= 0):
                wrong.append(f"relevant[{at}] = {documents!r:.60}")
                break
            of[number] = grade
        if not any(of.values()):
            without.append(f"relevant[{at}]")
        grades.append(of)
    if wrong:
        raise ValueError(
            f"documents are numbers from 0, and grades finite and not below 0: {named(wrong)}"
        )
    if without:
        raise ValueError(f"no document is relevant, leave the query out: {named(without)}")
    return grades


def _check_ranked(ranked: Int[np.ndarray, "Q K"]) -> None:
    if len(negative := np.flatnonzero((ranked < 0).any(1))):
        raise ValueError(f"numbers of documents are not below 0: ranked[{negative[0]}] has one")
    row = np.sort(ranked, 1)
    if len(twice := np.flatnonzero((row[:, 1:] == row[:, :-1]).any(1))):
        raise ValueError(f"a ranking has a document only once: ranked[{twice[0]}] has one twice")


def _cutoffs(k: int | Sequence[int], length: int) -> list[int]:
    cutoffs = [int(n) for n in np.atleast_1d(integers("k", np.atleast_1d(k), "numbers"))]
    if wrong := [n for n in cutoffs if not 1 <= n <= length]:
        raise ValueError(
            f"k is 1 to {length}, the number of documents that are ranked; got {wrong}"
        )
    return cutoffs
