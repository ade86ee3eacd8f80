"""Metrics of numbers are those of SciPy and scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from transformers_jax import metrics
from transformers_jax.metrics import values

NUMBERS = st.one_of(st.integers(-4, 4).map(float), st.floats(-1e3, 1e3, width=32))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12)  # of integers many are equal


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_correlations_are_those_of_scipy(pairs):
    predicted, expected = np.array(pairs).T
    # SciPy warns where nearly constant numbers leave few digits; those are no test of the formula
    assume(min(np.ptp(predicted), np.ptp(expected)) > 1e-3)
    scores = metrics.regression(predicted, expected)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(predicted, expected)[0], abs=1e-9)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(predicted, expected)[0], abs=1e-9)
    assert scores["mean_squared_error"] == pytest.approx(np.mean((predicted - expected) ** 2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_equal_numbers_have_the_mean_of_their_ranks(numbers):
    assert np.array_equal(values._ranks(np.array(numbers, float)), stats.rankdata(numbers))


def test_the_comparison_notices_ranks_by_order(monkeypatch):
    """Negative control: without the mean over equal numbers Spearman's correlation is another."""
    predicted, expected = np.array([1.0, 1, 2, 3]), np.array([2.0, 1, 3, 3])
    right = stats.spearmanr(predicted, expected)[0]
    assert metrics.regression(predicted, expected)["spearman"] == pytest.approx(right)
    monkeypatch.setattr(values, "_ranks", lambda x: np.argsort(np.argsort(x)) + 1.0)
    assert metrics.regression(predicted, expected)["spearman"] != pytest.approx(right)


def test_a_perfect_prediction_has_the_correlation_one():
    scores = metrics.regression([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert scores == {"pearson": 1.0, "spearman": 1.0, "mean_squared_error": 0.0}


def test_a_case_by_hand():
    # deviations from the means (2, 5): -1 0 1 and -1 -2 3; 4 / sqrt(2 * 14); ranks 1 2 3 and 2 1 3
    scores = metrics.regression([1, 2, 3], [4, 3, 8])
    assert scores["pearson"] == pytest.approx(4 / math.sqrt(28))
    assert scores["spearman"] == pytest.approx(1 / 2)
    assert scores["mean_squared_error"] == pytest.approx((9 + 1 + 25) / 3)


@pytest.mark.parametrize("constant", [[2.0, 2, 2], [0.1] * 3, [1e100] * 3])
def test_the_correlation_with_a_constant_is_not_defined(constant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((constant, [1, 2, 3]), ([1, 2, 3], constant)):
            scores = metrics.regression(*pair)
            assert math.isnan(scores["pearson"])
            assert math.isnan(scores["spearman"])


def test_the_correlation_of_large_and_of_small_numbers_is_that_of_their_multiples():
    x, y = np.array([1.0, 2, 4]), np.array([1.0, 3, 2])
    right = metrics.regression(x, y)["pearson"]
    for scale in (1e-200, 1e200):
        with np.errstate(over="ignore"):  # the squared error is infinite
            assert metrics.regression(x * scale, y)["pearson"] == pytest.approx(right)


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    before, after = (metrics.regression(*np.array(each).T) for each in (pairs, shuffled))
    assume(min(np.ptp(np.array(pairs), axis=0)) > 1e-3)
    assert after == pytest.approx(before, abs=1e-9)


def test_the_similarity_of_sentences_is_the_correlation_of_cosines():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 7, 5))
    expected = rng.uniform(0, 5, 7)
    cosine = [a @ b / math.sqrt(a @ a * (b @ b)) for a, b in zip(first, second)]
    scores = metrics.sentence_similarity(first, second, expected)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(cosine, expected)[0])
    assert scores["spearman"] == pytest.approx(stats.spearmanr(cosine, expected)[0])
    longer = metrics.sentence_similarity(first * rng.uniform(1, 9, (7, 1)), second, expected)
    assert longer == pytest.approx(scores)
    dots = stats.pearsonr((first * second).sum(1), expected)[0]  # negative control
    assert scores["pearson"] != pytest.approx(dots)


def test_mean_and_deviation_of_seeds():
    # deviations from 3: -2 0 2, squares 8, divided by 2 (by 3 it would be 1.63)
    assert metrics.mean_and_deviation([1, 3, 5]) == {"mean": 3.0, "deviation": 2.0}


@pytest.mark.parametrize(
    ("metric", "arguments", "words"),
    [
        (metrics.regression, ([1.0, 2.0], [1.0]), r"predicted \(2,\), expected \(1,\)"),
        (metrics.regression, ([], []), "predicted is empty"),
        (metrics.regression, ([1, math.nan], [1, 2]), r"predicted\[1\] = nan"),
        (metrics.regression, ([1, 2], [math.inf, 2]), r"expected\[0\] = inf"),
        (metrics.regression, ([1, None], [1, 2]), r"predicted\[1\] = nan"),
        (metrics.regression, (["1", "2"], [1, 2]), "predicted: expected a number"),
        (metrics.regression, ([[1.0], [2.0]], [1, 2]), r"predicted: .* the shape \(2, 1\)"),
        (metrics.sentence_similarity, ([[1.0]], [[1.0], [2.0]], [1]), r"first \(1, 1\), second"),
        (metrics.sentence_similarity, ([[0.0]], [[1.0]], [1]), r"first\[0\] is a vector of zeros"),
        (metrics.sentence_similarity, ([[1.0]], [[1.0]], [1, 2]), r"predicted \(1,\), expected"),
        (metrics.mean_and_deviation, ([1.0],), "two seeds at least"),
        (metrics.mean_and_deviation, ([1.0, math.nan],), r"values\[1\] = nan"),
    ],
)
def test_wrong_numbers_are_refused(metric, arguments, words):
    with pytest.raises(ValueError, match=words):
        metric(*arguments)
