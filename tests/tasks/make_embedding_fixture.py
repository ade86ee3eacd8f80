"""Writes embedding.json: what sentence-transformers computes of fixed vectors.

Run it where torch and sentence-transformers are: python tests/tasks/make_embedding_fixture.py
"""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sentence_transformers import util
from sentence_transformers.sentence_transformer import evaluation, losses

DRAW = np.random.default_rng(0)
QUERIES, DOCUMENTS, WIDTH = 12, 20, 6


class Vectors(torch.nn.Module):
    """A model that knows the vector of each text, in place of one that computes it."""

    similarity_fn_name = "cosine"
    model_card_data = mock.Mock()
    similarity = staticmethod(util.cos_sim)
    similarity_pairwise = staticmethod(util.pairwise_cos_sim)

    def __init__(self, vectors):
        super().__init__()
        self.vectors = vectors

    def encode(self, texts, **options):
        return torch.tensor(np.array([self.vectors[text] for text in texts]))

    encode_query = encode_document = encode

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}


def main():
    documents = {f"d{n}": DRAW.normal(size=WIDTH) for n in range(DOCUMENTS)}
    queries, relevant = {}, {}
    for n in range(QUERIES):
        own = sorted({f"d{n}", f"d{DRAW.integers(DOCUMENTS)}"})
        relevant[f"q{n}"] = own
        queries[f"q{n}"] = documents[f"d{n}"] + DRAW.normal(size=WIDTH)
    evaluator = evaluation.InformationRetrievalEvaluator(
        {n: n for n in queries}, {n: n for n in documents},
        {query: set(own) for query, own in relevant.items()},
        mrr_at_k=[10], ndcg_at_k=[10], accuracy_at_k=[10], map_at_k=[10],
        precision_recall_at_k=[1, 5, 10], write_csv=False,
        score_functions={"cosine": util.cos_sim},
    )  # fmt: skip
    model = Vectors(queries | documents)
    scores = evaluator.compute_metrices(model)["cosine"]
    retrieval = {f"recall@{k}": scores["recall@k"][k] for k in (1, 5, 10)}
    retrieval |= {"mrr@10": scores["mrr@k"][10], "ndcg@10": scores["ndcg@k"][10]}

    names = ("anchor", "positive", "negative_1", "negative_2")
    parts = {name: DRAW.normal(size=(5, WIDTH)) for name in names}
    tensors = [torch.tensor(x) for x in parts.values()]
    labels = DRAW.uniform(-1, 1, size=5)
    some = lambda count: [{"vectors": x} for x in tensors[:count]]
    ranking = losses.MultipleNegativesRankingLoss(model, scale=20.0)
    values = {
        "contrastive": ranking(some(4), None),
        "contrastive without negatives": ranking(some(2), None),
        "cosine": losses.CosineSimilarityLoss(model)(some(2), torch.tensor(labels)),
        "triplet": losses.TripletLoss(model, triplet_margin=1.0)(some(3), None),
    }
    similarity = evaluation.EmbeddingSimilarityEvaluator(
        [f"q{n}" for n in range(QUERIES)], [f"d{n}" for n in range(QUERIES)],
        DRAW.uniform(size=QUERIES).tolist(), write_csv=False,
    )  # fmt: skip
    found = similarity(model)
    fixture = {
        "queries": {n: x.tolist() for n, x in queries.items()},
        "documents": {n: x.tolist() for n, x in documents.items()},
        "relevant": relevant,
        "retrieval": {n: float(x) for n, x in retrieval.items()},
        "parts": {n: x.tolist() for n, x in parts.items()},
        "labels": labels.tolist(),
        "losses": {n: float(x) for n, x in values.items()},
        "scores": list(similarity.scores),
        "similarity": {n: float(found[f"{n}_cosine"]) for n in ("pearson", "spearman")},
    }
    Path(__file__).with_name("embedding.json").write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    main()
