"""How early the texts that belong to a text stand, of all texts ranked by their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.metrics import retrieval

CUTOFFS = (1, 5, 10)
TOGETHER = 1024  # queries that are compared with all documents


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
    names = [name for name in texts if name != query]
    queries = _first(texts[query])
    documents = _first([text for name in names for text in texts[name]])
    numbers = dict(zip(documents, range(len(documents))))
    relevant: dict[str, set[int]] = {one: set() for one in queries}
    for one, document in zip(texts[query], texts[own]):
        relevant[one].add(numbers[document])
    every = np.concatenate([vectors[name] for name in names])[[*documents.values()]]
    best = ranked(vectors[query][[*queries.values()]], every, similarity, most=max(CUTOFFS))
    cutoffs = {k: min(k, best.shape[1]) for k in CUTOFFS}  # of fewer documents, all
    scores = retrieval(best, list(relevant.values()), sorted({*cutoffs.values()}))
    recall = {f"recall@{k}": scores[f"recall@{least}"] for k, least in cutoffs.items()}
    return {**recall, "mrr@10": scores["mrr"], "ndcg@10": scores[f"ndcg@{cutoffs[10]}"]}


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
    if similarity == "cosine":
        queries, documents = unit(queries), unit(documents)
    best = []
    for start in range(0, len(queries), TOGETHER):
        scores = queries[start : start + TOGETHER] @ documents.T
        best.append(np.argsort(-scores, axis=1, kind="stable")[:, :most])
    return np.concatenate(best)


def unit(x: Float[np.ndarray, "*N E"]) -> Float[np.ndarray, "*N E"]:
    """Vectors of length one; a zero vector stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
