"""SQuAD's scores: cases whose values the comments derive from the rules of the official scripts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_jax import metrics
from transformers_jax.metrics.answers import normalized

WORDS = st.lists(st.sampled_from(["the", "a", "red", "Red.", "cat", "sat,", "-"]), max_size=4)
ANSWERS = WORDS.map(" ".join)


def approx(**scores):
    return pytest.approx(scores, abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("The  Cat.", "cat"),  # lower case, punctuation, articles, spaces
        ("an apple a day", "apple day"),
        ("theatre another", "theatre another"),  # articles are whole words
        ("U.S.A.", "usa"),  # punctuation goes without a space, and before the articles
        ("a-b", "ab"),
        ("the.", ""),
        ("«the» “a” é", "« » “ ” é"),  # only ASCII punctuation goes; a space for an article
        ("a\tb\nc", "b c"),
        ("", ""),
    ],
)
def test_answers_are_normalised_as_by_the_official_script(answer, text):
    assert normalized(answer) == text


def test_version_1_takes_the_best_reference():
    predicted = ["the Eiffel Tower", "in 1889 or so", "blue"]
    expected = [["Eiffel tower", "tower"], ["1889", "in 1889"], ["red", "green"]]
    # exact: 1, 0, 0. F1 of the second: of 4 tokens 1 is right for "1889" (recall 1, precision 1/4:
    # 2/5); 2 for "in 1889" (recall 1, precision 1/2: 2/3), which is better
    scores = metrics.squad(predicted, expected)
    assert scores == approx(exact_match=100 / 3, f1=100 * (1 + 2 / 3) / 3)


def test_tokens_count_as_often_as_they_occur_in_both():
    # "b b" in "b b b c": 2 common; precision 2/3 of "b b x", recall 2/4
    f1 = 2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2)
    assert metrics.squad(["b b x"], [["b b b c"]]) == approx(exact_match=0, f1=100 * f1)


def test_an_answer_of_nothing_has_no_f1_in_version_1():
    # "the" is normalised to "": equal, but no token is common
    assert metrics.squad(["the"], [["a"]]) == approx(exact_match=100, f1=0)
    assert metrics.squad_v2(["the"], [["a"]])["f1"] == 100


PREDICTED = ["cat", "a dog", "", "bird", ""]
EXPECTED = [["cat"], ["dog house"], ["fish"], [], []]
# exact: cat 1, dog 0, "" 0; without an answer: bird 0, "" 1
# F1: cat 1; dog: precision 1, recall 1/2: 2/3; "" 0; 0; 1


def test_version_2_counts_questions_without_an_answer():
    scores = metrics.squad_v2(PREDICTED, EXPECTED)
    assert scores == approx(
        exact=40, f1=100 * (1 + 2 / 3 + 1) / 5, total=5,
        HasAns_exact=100 / 3, HasAns_f1=100 * (5 / 3) / 3, HasAns_total=3,
        NoAns_exact=50, NoAns_f1=50, NoAns_total=2,
    )  # fmt: skip


def test_above_the_threshold_there_is_no_answer():
    no_answer = [0.1, 0.9, 0.2, 0.8, 0.5]
    scores = metrics.squad_v2(PREDICTED, EXPECTED, no_answer, threshold=0.5)
    # dog becomes wrong, bird becomes right; 0.5 is not above 0.5
    assert scores["f1"] == pytest.approx(100 * (1 + 0 + 0 + 1 + 1) / 5)
    assert scores["HasAns_f1"] == pytest.approx(100 / 3)
    assert scores["NoAns_exact"] == 100
    assert metrics.squad_v2(PREDICTED, EXPECTED, no_answer)["f1"] == pytest.approx(
        metrics.squad_v2(PREDICTED, EXPECTED)["f1"]
    )  # the official default is 1, above which there is no probability


def test_the_best_threshold_is_that_of_the_highest_score():
    scores = metrics.squad_v2(PREDICTED, EXPECTED, [0.1, 0.6, 0.2, 0.8, 0.7])
    # No question answered: 2 points, for those without an answer. Then, by probability, cat (0.1)
    # +1: 3; "" (0.2) +0; dog (0.6) exact +0, F1 +2/3: 3 2/3; "" (0.7) +0; bird (0.8) -1.
    best = {name: value for name, value in scores.items() if name.startswith("best")}
    assert best == approx(
        best_exact=60, best_exact_thresh=0.1, best_f1=100 * (11 / 3) / 5, best_f1_thresh=0.6
    )


def test_if_no_question_should_be_answered_the_best_threshold_is_zero():
    scores = metrics.squad_v2(["x", "y"], [[], ["z"]], [0.2, 0.3])
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (50, 0)


def test_references_of_nothing_are_no_answer_but_the_question_has_one():
    # the official script asks the list for the group, the normalised texts for the score
    scores = metrics.squad_v2(["", "the"], [["the"], ["-", "x"]])
    assert scores["HasAns_total"] == 2
    assert scores["exact"] == 50
    assert "NoAns_exact" not in scores


def by_trying(predicted, expected, no_answer):
    """The best F1 of any threshold, by scoring every question anew with each."""
    scores = []
    for threshold in [-1.0, *no_answer]:
        kept = [p if n <= threshold else "" for p, n in zip(predicted, no_answer)]
        scores.append(metrics.squad_v2(kept, expected)["f1"])
    return max(scores)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_threshold_is_better_than_the_best(data):
    """Where probabilities differ; answers of nothing aside, which score by what they are for."""
    size = data.draw(st.integers(1, 6))
    texts = st.sampled_from(["red", "cat", "red cat", ""])
    predicted = data.draw(st.lists(texts, min_size=size, max_size=size))
    answers = st.lists(st.sampled_from(["red", "red cat", "sat"]), max_size=2)
    expected = data.draw(st.lists(answers, min_size=size, max_size=size))
    no_answer = np.array(data.draw(st.permutations(range(size)))) / size
    scores = metrics.squad_v2(predicted, expected, no_answer)
    assert scores["best_f1"] == pytest.approx(by_trying(predicted, expected, no_answer))
    again = metrics.squad_v2(predicted, expected, no_answer, scores["best_f1_thresh"])
    if scores["best_f1_thresh"]:
        assert again["f1"] == pytest.approx(scores["best_f1"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=3)), min_size=1))
def test_scores_of_version_1_are_shares_and_exact_is_never_above_f1_but_of_nothing(pairs):
    predicted, expected = zip(*pairs)
    scores = metrics.squad(predicted, expected)
    assert 0 <= scores["f1"] <= 100 + 1e-9
    empty = sum(not normalized(p) for p in predicted) / len(predicted)
    assert scores["exact_match"] <= scores["f1"] + 100 * empty + 1e-9
    assert scores == pytest.approx(metrics.squad(predicted[::-1], expected[::-1]))


def test_the_second_version_differs_where_nothing_is_right():
    """Negative control: with the first version's F1 a question without an answer is never right."""
    assert metrics.squad([""], [[""]])["f1"] == 0
    assert metrics.squad_v2([""], [[]])["f1"] == 100


@pytest.mark.parametrize("version", [metrics.squad, metrics.squad_v2])
def test_a_perfect_prediction_has_the_score_100(version):
    scores = version(["red", "The cat"], [["blue", "Red"], ["cat"]])
    assert {v for name, v in scores.items() if "total" not in name} == {100.0}


@pytest.mark.parametrize(
    ("metric", "arguments", "words"),
    [
        (metrics.squad, (["a"], [["a"], ["b"]]), "predicted 1, expected 2"),
        (metrics.squad, ([], []), "expected is empty"),
        (metrics.squad, (["a"], [[]]), r"without an answer: expected\[0\]; squad_v2"),
        (metrics.squad, (["a"], ["a"]), r"expected\[0\] is str 'a'"),
        (metrics.squad, ([None], [["a"]]), r"predicted\[0\] is NoneType None"),
        (metrics.squad_v2, (["a"], [[]], [0.1, 0.2]), "predicted 1, no_answer 2"),
        (metrics.squad_v2, (["a"], [[]], [float("nan")]), r"no_answer\[0\] = nan"),
        (metrics.squad_v2, ("a", [[]]), "expected a list of texts, got str"),
    ],
)
def test_wrong_answers_are_refused(metric, arguments, words):
    with pytest.raises(ValueError, match=words):
        metric(*arguments)
