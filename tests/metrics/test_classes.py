"""Metrics of classes are those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from transformers_jax import metrics


def expected_of(predicted, expected, classes):
    score = lambda average: reference.f1_score(
        expected, predicted, average=average, zero_division=0
    )
    scores = {
        "accuracy": reference.accuracy_score(expected, predicted),
        "f1_micro": score("micro"),
        "f1_macro": score("macro"),
        "matthews": reference.matthews_corrcoef(expected, predicted),
    }
    return scores | ({"f1": score("binary")} if classes == 2 else {})


@st.composite
def labels(draw):
    """(predicted, expected, classes); often of few examples, so that classes are missing."""
    classes = draw(st.integers(2, 5))
    pair = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1))
    predicted, expected = np.array(draw(st.lists(pair, min_size=1, max_size=12))).T
    return predicted, expected, classes


def check(result, expected):
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        assert type(result[name]) is float
        assert result[name] == pytest.approx(value, rel=0, abs=1e-12), name


@pytest.mark.filterwarnings("ignore:A single label")  # scikit-learn's, of one class
@settings(max_examples=40, deadline=None)
@given(labels())
def test_scores_of_classes_are_those_of_scikit_learn(sample):
    check(metrics.classification(*sample), expected_of(*sample))


@settings(max_examples=40, deadline=None)
@given(labels())
def test_the_confusion_matrix_is_that_of_scikit_learn(sample):
    predicted, expected, classes = sample
    counts = metrics.confusion(*sample)
    wanted = reference.confusion_matrix(expected, predicted, labels=range(classes))
    assert np.array_equal(counts, wanted)
    assert counts[expected[0], predicted[0]] >= 1  # rows are the expected classes


def test_the_comparison_notices_exchanged_sides():
    """Negative control: of F1 and accuracy the sides may be exchanged, of the matrix not."""
    predicted, expected = [0, 1, 1, 1, 2, 2], [0, 0, 0, 1, 2, 1]
    wanted = reference.confusion_matrix(expected, predicted)
    assert not np.array_equal(metrics.confusion(expected, predicted, 3), wanted)


def test_the_comparison_notices_a_mean_over_classes_that_are_nowhere():
    """Negative control of `f1_macro`: class 2 is neither predicted nor expected."""
    sample = [0, 1, 1], [0, 1, 0], 3
    mean_over_all = expected_of(*sample)["f1_macro"] * 2 / 3
    assert metrics.classification(*sample)["f1_macro"] != pytest.approx(mean_over_all)


def test_a_case_by_hand():
    # class 1: 2 hits of 3 predicted and 3 expected, F1 2/3; class 0: 1 of 2 and 2, 1/2
    scores = metrics.classification([1, 1, 1, 0, 0], [1, 1, 0, 0, 1], 2)
    wanted = {"accuracy": 3 / 5, "f1": 2 / 3, "f1_micro": 3 / 5, "f1_macro": (2 / 3 + 1 / 2) / 2}
    # Matthews': (tp tn - fp fn) / sqrt(3 * 3 * 2 * 2) = (2 * 1 - 1 * 1) / 6
    check(scores, wanted | {"matthews": 1 / 6})


@settings(max_examples=40, deadline=None)
@given(labels(), st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(sample, random):
    predicted, expected, classes = sample
    order = list(range(len(predicted)))
    random.shuffle(order)
    shuffled = metrics.classification(predicted[order], expected[order], classes)
    assert shuffled == metrics.classification(*sample)


def test_a_perfect_prediction_has_the_score_one():
    assert set(metrics.classification([0, 1, 2, 1], [0, 1, 2, 1], 3).values()) == {1.0}
    truth = [[True, False], [False, True]]
    assert set(metrics.multi_label(truth, truth).values()) == {1.0}


def truths_of(data, rows, columns):
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    return np.array(bits).reshape(rows, columns)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(2, 4))
def test_scores_of_several_labels_are_those_of_scikit_learn(data, rows, columns):
    predicted, expected = (truths_of(data, rows, columns) for _ in range(2))
    score = lambda average: reference.f1_score(
        expected, predicted, average=average, zero_division=0
    )
    wanted = {
        "f1_micro": score("micro"),
        "f1_macro": score("macro"),
        "subset_accuracy": reference.accuracy_score(expected, predicted),
    }
    check(metrics.multi_label(predicted, expected), wanted)


def test_labels_may_be_arrays_of_jax():
    import jax.numpy as jnp

    predicted, expected = jnp.array([0, 1, 1]), jnp.array([0, 1, 0], jnp.int8)
    assert metrics.classification(predicted, expected, 2)["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("predicted", "expected", "classes", "words"),
    [
        ([0, 1], [0], 2, r"predicted \(2,\), expected \(1,\)"),
        ([], [], 2, r"predicted is empty \(shape \(0,\)\)"),
        ([0, 2, 5], [0, 1, 1], 2, r"2 classes 0 to 1: predicted\[1\] = 2, predicted\[2\]"),
        ([0, 1], [0, -100], 2, r"expected\[1\] = -100; leave out"),
        ([0, 1], [0.0, float("nan")], 2, "expected: expected the number of a class .* float64"),
        ([[0.1, 0.9]], [1], 2, r"got the shape \(1, 2\)"),
        ([[0, 1], [1]], [1], 2, "predicted: .* the rows differ in length"),
        ([0], [0], 1, "classes=1: there must be two"),
    ],
)  # fmt: skip
def test_wrong_classes_are_refused(predicted, expected, classes, words):
    for metric in (metrics.classification, metrics.confusion):
        with pytest.raises(ValueError, match=words):
            metric(predicted, expected, classes)


@pytest.mark.parametrize(
    ("predicted", "expected", "words"),
    [
        ([[1, 0]], [[1, 0], [0, 1]], r"predicted \(1, 2\), expected \(2, 2\)"),
        ([[1, 0]], [[1, 0, 1]], r"predicted \(1, 2\), expected \(1, 3\)"),
        ([[0.2, 0.9]], [[0, 1]], r"predicted\[0, 0\] = 0.2, .* compare probabilities"),
        ([[1, float("nan")]], [[0, 1]], r"predicted\[0, 1\] = nan"),
        ([1, 0], [1, 0], r"got the shape \(2,\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "is empty"),
    ],
)
def test_wrong_labels_are_refused(predicted, expected, words):
    with pytest.raises(ValueError, match=words):
        metrics.multi_label(predicted, expected)
