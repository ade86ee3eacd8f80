"""How early the texts that belong to a text stand, of all texts ranked by their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.metrics import retrieval
from transformers_jax.tasks.rows import Form

CUTOFFS = (1, 5, 10)
TOGETHER = 1024  # queries that are compared with all documents


def vectors_of(
    answers: Mapping[str, np.ndarray], form: Form
) -> dict[str, Float[np.ndarray, "N E"]]:
    """The vectors of all parts, cut to the length that the directory says, in float64."""
    length = form.model.plan.sentence.truncate  # type: ignore[attr-defined]
    return {name: x[:, :length].astype(np.float64) for name, x in answers.items()}


def figures(
    texts: Mapping[str, Sequence[str]],
    vectors: Mapping[str, Float[np.ndarray, "N E"]],
    query: str,
    own: str,
    similarity: str,
) -> dict[str, float]:
    """Recall of the first 1, 5 and 10 documents, MRR and nDCG of the first 10.

    A text that occurs several times is one query, or one document; relevant to a query is whatever
    belongs to it in any record.

    Args:
        texts, vectors: of all records, by part.
        query: the part of the queries; all others are documents.
        own: the part of the document that belongs to a query.
        similarity: "cosine" or "dot".
    Source:
        sentence-transformers' InformationRetrievalEvaluator.
    """
    task = _retrieval(texts, vectors, query, own)
    best = ranked(task.queries, task.documents, similarity, most=max(CUTOFFS))
    cutoffs = {k: min(k, best.shape[1]) for k in CUTOFFS}  # of fewer documents, all
    scores = retrieval(best, task.relevant, sorted({*cutoffs.values()}))
    recall = {f"recall@{k}": scores[f"recall@{least}"] for k, least in cutoffs.items()}
    return {**recall, "mrr@10": scores["mrr"], "ndcg@10": scores[f"ndcg@{cutoffs[10]}"]}


def ranks(
    texts: Mapping[str, Sequence[str]],
    vectors: Mapping[str, Float[np.ndarray, "N E"]],
    query: str,
    own: str,
    similarity: str,
) -> list[int]:
    """The rank, from 1, of the nearest relevant document of each query; arguments as in
    `figures`."""
    task, found = _retrieval(texts, vectors, query, own), list[int]()
    for start, scores in _compared(task.queries, task.documents, similarity):
        relevant = task.relevant[start : start + TOGETHER]
        found += [rank_of(row, [*of]) for row, of in zip(scores, relevant)]
    return found


def rank_of(scores: Float[np.ndarray, " N"], relevant: Sequence[int]) -> int:
    """The rank, from 1, of the best of the relevant documents; of equal ones the first is in
    front."""
    best = scores[[*relevant]].max()
    first = min(n for n in relevant if scores[n] == best)
    return 1 + int((scores > best).sum() + (scores[:first] == best).sum())


class Retrieval(NamedTuple):
    """Different queries and documents, and the numbers of those that are relevant to each query."""

    queries: Float[np.ndarray, "Q E"]
    documents: Float[np.ndarray, "N E"]
    relevant: list[set[int]]


def _retrieval(
    texts: Mapping[str, Sequence[str]],
    vectors: Mapping[str, Float[np.ndarray, "N E"]],
    query: str,
    own: str,
) -> Retrieval:
    names = [name for name in texts if name != query]
    queries = _first(texts[query])
    documents = _first([text for name in names for text in texts[name]])
    numbers = dict(zip(documents, range(len(documents))))
    relevant: dict[str, set[int]] = {one: set() for one in queries}
    for one, document in zip(texts[query], texts[own]):
        relevant[one].add(numbers[document])
    every = np.concatenate([vectors[name] for name in names])[[*documents.values()]]
    return Retrieval(vectors[query][[*queries.values()]], every, [*relevant.values()])


def _first(texts: Sequence[str]) -> dict[str, int]:
    """Where each text stands first."""
    places: dict[str, int] = {}
    for number, text in enumerate(texts):
        places.setdefault(text, number)
    return places


def ranked(
    queries: Float[np.ndarray, "Q E"],
    documents: Float[np.ndarray, "N E"],
    similarity: str,
    most: int,
) -> Int[np.ndarray, "Q K"]:
    """The numbers of the nearest documents of each query, `most` at most: the nearest first, of
    equally near ones the first."""
    compared = _compared(queries, documents, similarity)
    best = [np.argsort(-scores, axis=1, kind="stable")[:, :most] for _, scores in compared]
    return np.concatenate(best)


def _compared(
    queries: Float[np.ndarray, "Q E"], documents: Float[np.ndarray, "N E"], similarity: str
) -> Iterator[tuple[int, Float[np.ndarray, "Q N"]]]:
    """(the number of the first query, scores of all documents) of so many queries at a time."""
    if similarity == "cosine":
        queries, documents = unit(queries), unit(documents)
    for start in range(0, len(queries), TOGETHER):
        yield start, queries[start : start + TOGETHER] @ documents.T


def cosines(a: Float[np.ndarray, "N E"], b: Float[np.ndarray, "N E"]) -> Float[np.ndarray, " N"]:
    """The cosine of each pair of vectors."""
    return (unit(a) * unit(b)).sum(-1)


def unit(x: Float[np.ndarray, "*N E"]) -> Float[np.ndarray, "*N E"]:
    """Vectors of length one; a zero vector stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
