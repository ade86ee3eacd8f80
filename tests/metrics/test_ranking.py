"""Metrics of rankings: by hand, by scikit-learn, by their laws."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from transformers_jax import metrics


@st.composite
def rankings(draw):
    """(ranked, relevant, k): all documents are ranked."""
    documents, queries = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    numbers = range(documents)
    ranked = [draw(st.permutations(numbers)) for _ in range(queries)]
    grade = st.dictionaries(st.sampled_from(numbers), st.integers(0, 3), min_size=1)
    relevant = [draw(grade.filter(lambda of: any(of.values()))) for _ in range(queries)]
    return np.array(ranked), relevant, draw(st.integers(1, documents))


def arrays(ranked, relevant):
    """The grade of each document and a score by which documents are ranked, as scikit-learn."""
    truth = np.array([[of.get(n, 0) for n in range(ranked.shape[1])] for of in relevant])
    return truth, -np.argsort(ranked, 1).astype(float)


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_ndcg_is_that_of_scikit_learn(sample):
    ranked, relevant, k = sample
    truth, scores = arrays(ranked, relevant)
    wanted = ndcg_score(truth, scores, k=k, ignore_ties=True)
    assert metrics.retrieval(ranked, relevant, k)[f"ndcg@{k}"] == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_map_is_the_average_precision_of_scikit_learn(sample):
    ranked, relevant, k = sample
    truth, scores = arrays(ranked, relevant)
    wanted = np.mean([average_precision_score(t > 0, s) for t, s in zip(truth, scores)])
    assert metrics.retrieval(ranked, relevant, k)["map"] == pytest.approx(wanted)


def test_the_comparison_notices_gains_that_are_exponential():
    """Negative control: with 2^grade - 1 as the gain nDCG is another."""
    ranked, relevant = np.array([[0, 1, 2]]), [{0: 1, 1: 3}]
    ours = metrics.retrieval(ranked, relevant, 3)["ndcg@3"]
    truth, scores = arrays(ranked, relevant)
    assert ours == pytest.approx(ndcg_score(truth, scores, ignore_ties=True))
    assert ours != pytest.approx(ndcg_score(2.0**truth - 1, scores, ignore_ties=True))


def test_a_case_by_hand():
    ranked = [[4, 7, 9, 1], [3, 2, 8, 5]]
    relevant = [{7, 1, 6}, {3: 2.0, 8: 1.0, 2: 0.0}]
    scores = metrics.retrieval(ranked, relevant, k=[1, 3])
    log = math.log2
    # first query: hits at ranks 2 and 4, 3 relevant; second: at 1 and 3, 2 relevant (0 is none)
    assert scores == pytest.approx({
        "recall@1": (0 + 1 / 2) / 2, "precision@1": (0 + 1) / 2, "ndcg@1": (0 + 1) / 2,
        "recall@3": (1 / 3 + 1) / 2, "precision@3": (1 / 3 + 2 / 3) / 2,
        "ndcg@3": ((1 / log(3)) / (1 + 1 / log(3) + 1 / 2) + (2 + 1 / 2) / (2 + 1 / log(3))) / 2,
        "mrr": (1 / 2 + 1) / 2,
        "map": ((1 / 2 + 2 / 4) / 3 + (1 + 2 / 3) / 2) / 2,
    })  # fmt: skip
    assert all(type(value) is float for value in scores.values())


def test_a_query_without_a_hit_has_the_score_zero():
    assert set(metrics.retrieval([[0, 1]], [{2}], 2).values()) == {0.0}


@settings(max_examples=60, deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_scores_are_shares_and_independent_of_order_and_numbering(sample, random):
    ranked, relevant, k = sample
    scores = metrics.retrieval(ranked, relevant, k)
    assert all(0 <= value <= 1 + 1e-12 for value in scores.values())
    order = random.sample(range(len(ranked)), len(ranked))
    shuffled = metrics.retrieval(ranked[order], [relevant[n] for n in order], k)
    assert shuffled == pytest.approx(scores)
    names = np.array(random.sample(range(50), ranked.shape[1]))
    renamed = [{int(names[n]): grade for n, grade in of.items()} for of in relevant]
    assert metrics.retrieval(names[ranked], renamed, k) == pytest.approx(scores)


@settings(max_examples=40, deadline=None)
@given(rankings())
def test_the_best_ranking_has_the_highest_scores(sample):
    ranked, relevant, k = sample
    best = [sorted(row, key=lambda n: -of.get(n, 0)) for row, of in zip(ranked.tolist(), relevant)]
    scores = metrics.retrieval(best, relevant, k)
    for name in (f"ndcg@{k}", "mrr", "map"):
        assert scores[name] == pytest.approx(1)
    anyhow = metrics.retrieval(ranked, relevant, k)
    assert all(anyhow[name] <= value + 1e-12 for name, value in scores.items())


@settings(max_examples=40, deadline=None)
@given(rankings())
def test_sets_are_grades_of_one(sample):
    ranked, relevant, k = sample
    sets = [{n for n, grade in of.items() if grade} for of in relevant]
    ones = [dict.fromkeys(of, 1) for of in sets]
    scores = metrics.retrieval(ranked, sets, k)
    assert scores == metrics.retrieval(ranked, ones, k)
    graded = metrics.retrieval(ranked, relevant, k)
    assert {n: v for n, v in graded.items() if "ndcg" not in n} == {
        n: v for n, v in scores.items() if "ndcg" not in n
    }


@pytest.mark.parametrize(
    ("ranked", "relevant", "k", "words"),
    [
        ([[0, 1]], [{0}, {1}], 1, "ranked 1, relevant 2"),
        ([], [], 1, r"ranked: .* got the shape \(0,\)"),
        (np.zeros((0, 3), int), [{0}], 1, "ranked is empty"),
        ([[0, 1]], [{0}], 3, r"k is 1 to 2, .* got \[3\]"),
        ([[0, 1]], [{0}], (0, 1), r"got \[0\]"),
        ([[0, 0]], [{0}], 1, r"ranked\[0\] has one twice"),
        ([[0, -1]], [{0}], 1, r"not below 0: ranked\[0\]"),
        ([[0.5, 1.0]], [{0}], 1, "ranked: expected numbers of documents for each query, got float"),
        ([[0, 1]], [set()], 1, r"no document is relevant, .*: relevant\[0\]"),
        ([[0, 1]], [{0: 0.0}], 1, r"no document is relevant"),
        ([[0, 1]], [{0: -1.0}], 1, r"grades finite and not below 0: relevant\[0\] = \{0: -1.0\}"),
        ([[0, 1]], [{0: float("nan")}], 1, r"relevant\[0\] = \{0: nan\}"),
        ([[0, 1]], [{"0"}], 1, r"documents are numbers from 0"),
        ([[0, 1]], [{-3}], 1, r"documents are numbers from 0"),
        ([[0, 1]], [0], 1, r"relevant\[0\] is int 0"),
    ],
)
def test_wrong_rankings_are_refused(ranked, relevant, k, words):
    with pytest.raises(ValueError, match=words):
        metrics.retrieval(ranked, relevant, k)


def test_importing_the_metrics_imports_nothing_heavy():
    heavy = {"jax", "sklearn", "scipy", "seqeval", "sacrebleu", "rouge_score", "nltk", "pandas"}
    code = f"import sys, transformers_jax.metrics; print({heavy!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@st.composite
def candidates(draw):
    """(scores, grades, k) of several queries; scores are equal now and then."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(2, 13))
        one = lambda most, count=count: st.lists(
            st.integers(0, most), min_size=count, max_size=count
        )
        rows.append((draw(one(5)), draw(one(2))))
    scores, grades = zip(*rows)
    return scores, grades, draw(st.integers(1, 12))


def of_sentence_transformers(scores, grades, k):
    """As CrossEncoderRerankingEvaluator has them, without the model."""
    rows = []
    for score, grade in zip(map(np.array, scores), map(np.array, grades)):
        if not grade.any():
            rows.append((0, 0, 0))
            continue
        hits = np.flatnonzero(grade[np.argsort(score, kind="stable")[::-1]][:k])
        reciprocal = 1 / (1 + hits[0]) if len(hits) else 0
        ndcg = ndcg_score([grade], [score], k=k)
        rows.append((ndcg, reciprocal, average_precision_score(grade > 0, score)))
    return np.mean(rows, 0)


@settings(max_examples=100, deadline=None)
@given(candidates())
def test_reranking_is_measured_as_scikit_learn_and_sentence_transformers_do(sample):
    scores, grades, k = sample
    found = metrics.reranking(scores, grades, k)
    assert list(found) == [f"ndcg@{k}", f"mrr@{k}", "map"]
    assert list(found.values()) == pytest.approx(of_sentence_transformers(scores, grades, k))


def test_reranking_of_unlike_scores_is_retrieval_of_the_ranking():
    """And the control: with equal scores it is not."""
    grades, scores = [[0, 2, 1, 0]], [[0.5, 0.1, 0.4, 0.9]]
    ranked = metrics.retrieval(np.argsort(-np.array(scores)), [{1: 2, 2: 1}], k=4)
    found = metrics.reranking(scores, grades, k=4)
    assert found["ndcg@4"] == pytest.approx(ranked["ndcg@4"])
    assert found["map"] == pytest.approx(ranked["map"])
    assert found["mrr@4"] == ranked["mrr"]
    assert metrics.reranking([[1, 1, 1, 1]], grades, k=4)["ndcg@4"] != pytest.approx(
        ranked["ndcg@4"]
    )
    assert metrics.reranking([[1.0]], [[1]]) == {"ndcg@10": 1.0, "mrr@10": 1.0, "map": 1.0}


@pytest.mark.parametrize(
    ("scores", "relevance", "words"),
    [
        ([], [], "there are 0 queries"),
        ([[1.0]], [[1.0], [0.0]], "one prediction for each reference"),
        ([[1.0, 2.0]], [[1.0]], "query 0 has 2 scores and 1 grades"),
        ([[1.0, math.nan]], [[1, 0]], r"scores\[0\] is"),
        ([[1.0]], ["x"], r"relevance\[0\] is 'x'"),
        ([[1.0, 2.0]], [[1, -1]], r"relevance\[0\] has -1"),
    ],
)
def test_scores_that_are_none_are_refused(scores, relevance, words):
    with pytest.raises(ValueError, match=words):
        metrics.reranking(scores, relevance)
