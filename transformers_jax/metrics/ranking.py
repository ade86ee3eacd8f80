"""Retrieval and reranking: how early the relevant documents stand in a ranking."""

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


def reranking(scores: Sequence[Any], relevance: Sequence[Any], k: int = 10) -> dict[str, float]:
    """nDCG and MRR of the first k candidates, and MAP, of candidates that a model has scored; means
    over the queries.

    Args:
        scores: for each query those of its candidates, greater for better.
        relevance: for each query the grade of each candidate, 0 for one that is not relevant.
        k: how many candidates `ndcg` and `mrr` look at.
    Returns:
        `ndcg@k`, with the grade itself as the gain, and with candidates of equal scores sharing
        their ranks; `mrr@k`, 1 / the rank of the first relevant one, 0 if it is beyond k, with the
        later of equal ones in front; `map`, the mean of average precisions, in which candidates of
        equal scores are found together. A query without a relevant candidate counts as 0.
    Raises:
        ValueError: lengths differ, there is no query or no candidate, k is below 1, or a score or a
            grade is none.
    Source:
        scikit-learn's ndcg_score and average_precision_score, as CrossEncoderRerankingEvaluator of
        sentence-transformers calls them.
    """
    of_what = "one list of numbers for each query"
    scored = [_numbers("scores", at, row) for at, row in enumerate(scores)]
    graded = [_numbers("relevance", at, row) for at, row in enumerate(relevance)]
    same_length(scores=scored, relevance=graded)
    if not scored or k < 1:
        raise ValueError(f"there are {len(scored)} queries and k is {k}; expected {of_what}")
    rows = []
    for at, (score, grade) in enumerate(zip(scored, graded)):
        if len(score) != len(grade) or not len(score):
            raise ValueError(
                f"query {at} has {len(score)} scores and {len(grade)} grades; expected one of each "
                "for every candidate"
            )
        if grade.min() < 0:
            raise ValueError(f"grades are not below 0: relevance[{at}] has {grade.min():g}")
        rows.append(_of_query(score, grade, k) if grade.any() else (0.0, 0.0, 0.0))
    return dict(zip((f"ndcg@{k}", f"mrr@{k}", "map"), map(float, np.mean(rows, 0))))


def _numbers(name: str, at: int, row: Any) -> Float[np.ndarray, " C"]:
    try:
        numbers = np.asarray(row, np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError(f"{name}[{at}] is {row!r:.60}; expected finite numbers of the candidates")
    return numbers


def _of_query(
    score: Float[np.ndarray, " C"], grade: Float[np.ndarray, " C"], k: int
) -> tuple[float, float, float]:
    """(nDCG, reciprocal rank, average precision) of a query that has something relevant."""
    _, group, counts = np.unique(-score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)  # candidates with scores as great as these
    discounts = np.where(np.arange(len(score)) < k, 1 / np.log2(np.arange(2, len(score) + 2)), 0)
    shares = np.diff(np.cumsum(discounts)[ends - 1], prepend=0) / counts
    gain = (np.bincount(group, grade) * shares).sum()
    best = (np.sort(grade)[::-1] * discounts).sum()
    relevant = grade > 0
    hits = relevant[np.argsort(score, kind="stable")[::-1]][:k]
    found = np.bincount(group, relevant)
    precision = (found * np.cumsum(found) / ends).sum() / relevant.sum()
    return gain / best, 1 / (1 + np.argmax(hits)) if hits.any() else 0.0, precision


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
