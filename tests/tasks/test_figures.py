"""What reports show of the answers to a task: matrices, scatters, histograms and tables."""

import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from transformers_jax.data.tables import of_python
from transformers_jax.runs.pictures import answers_of, draw, plot_answers
from transformers_jax.tasks import (
    DPO,
    Embedding,
    MultiLabel,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Reranking,
    SequenceClassification,
    TokenClassification,
    Translation,
)
from transformers_jax.tasks.answers import Window
from transformers_jax.tasks.figures import (
    MOST_ROWS,
    Confusion,
    Histogram,
    Listing,
    Scatter,
    confusion_of,
    errors_of,
    from_json,
    histogram_of_ranks,
    scatter_of,
    to_json,
    worst_texts,
)
from transformers_jax.tasks.nearest import rank_of, ranked, ranks
from transformers_jax.tasks.rows import Form, Rows
from transformers_jax.tasks.tokens import Aligned, Words


def rows_of(references, details=(), records=()):
    table = of_python("t", [*records] or [{"text": str(n)} for n in range(len(references))])
    return Rows(table, [], np.arange(len(references)), references, details)


def form_of(*classes, model=None, **columns):
    return Form(None, None, model, columns, classes)


def of_vectors(**columns):
    """The form of a model of vectors whose directory cuts them to two numbers."""
    sentence = SimpleNamespace(truncate=2, similarity="cosine")
    return form_of(model=SimpleNamespace(plan=SimpleNamespace(sentence=sentence)), **columns)


def logits(*best, count):
    """Scores by which these numbers are the answers."""
    return np.eye(count)[list(best)] * 9 - 4


def test_a_few_classes_are_a_matrix_whose_rows_are_what_was_expected():
    answers = {"logits": logits(0, 1, 1, 2, count=3)}
    figure = SequenceClassification().figure(answers, rows_of([0, 0, 1, 2]), form_of("a", "b", "c"))
    assert figure == Confusion(["a", "b", "c"], [[1, 1, 0], [0, 1, 0], [0, 0, 1]])


def test_of_many_classes_the_pairs_that_are_confused_most_are_listed():
    names = [f"c{n}" for n in range(40)]
    expected = np.array([3] * 8 + [7] * 4 + [*range(40)])
    predicted = np.array([5] * 6 + [3] * 2 + [9] * 3 + [7] + [*range(40)])
    figure = confusion_of(names, predicted, expected)
    assert isinstance(figure, Listing)
    assert figure.rows == [["c3", "c5", "6", "66.7%"], ["c7", "c9", "3", "60.0%"]]
    assert confusion_of(names, expected, expected).rows == []  # nothing is confused


def test_labels_are_listed_from_the_worst():
    answers = {"logits": np.array([[4, 4, -4.0], [4, -4, -4], [4, -4, 4]])}
    rows = rows_of([[1, 1, 0], [1, 1, 0], [1, 1, 0.0]])
    figure = MultiLabel().figure(answers, rows, form_of("a", "b", "c"))
    assert [row[0] for row in figure.rows] == ["c", "b", "a"]
    assert figure.rows[1] == ["b", "1.000", "0.333", "0.500", "3"]


def test_numbers_are_a_scatter_of_so_many_points():
    figure = Regression().figure({"logits": np.array([[0.5], [1.5]])}, rows_of([1.0, 2.0]), None)
    assert figure == Scatter([1.0, 2.0], [0.5, 1.5])
    many = scatter_of(range(9000), range(9000))
    assert 1500 < len(many.expected) == len(many.predicted) <= 2000


def test_words_are_a_matrix_of_types_of_entities():
    words = Words("Ada of Rome", [(0, 3), (4, 6), (7, 11)])
    details = [Aligned(words, np.array([0, 1, -1]))]  # the third is cut
    answers = {"logits": logits(1, 2, 0, count=4)[None]}
    form = form_of("O", "B-PER", "I-PER", "B-LOC")
    rows = rows_of([["B-PER", "O", "B-LOC"]], details)
    figure = TokenClassification().figure(answers, rows, form)
    assert figure == Confusion(["O", "PER", "LOC"], [[0, 1, 0], [0, 1, 0], [1, 0, 0]])


def test_the_surest_wrong_answers_are_listed():
    records = [
        {"question": f"which {n}?", "context": "the red house and the blue one"} for n in range(3)
    ]
    offsets = np.array([[-1, -1], [4, 7], [22, 26]])
    spread = np.array([[0.0, 8, 0], [0, 2, 0], [0, 0, 9]])  # red, surely; red, less; blue
    answers = {"start_logits": spread, "end_logits": spread}
    references = [[("blue", 22)], [("blue", 22)], [("Blue", 22)]]
    rows = rows_of(references, [Window(offsets, 0)] * 3, records)
    form = form_of(text="question", text_pair="context")
    figure = QuestionAnswering().figure(answers, rows, form)
    assert "of 2 wrong answers to 3 questions" in figure.title
    assert [row[:3] for row in figure.rows] == [
        ["which 0?", "red", "blue"], ["which 1?", "red", "blue"],
    ]  # fmt: skip
    assert float(figure.rows[0][3]) > float(figure.rows[1][3])


def test_choices_are_a_histogram_of_the_right_one():
    figure = MultipleChoice().figure({"logits": np.zeros((5, 4))}, rows_of([0, 1, 2, 3, 0]), None)
    assert isinstance(figure, Histogram)
    assert figure.counts[5] == 5  # a quarter each
    assert (figure.edges[0], figure.edges[-1], sum(figure.counts)) == (0, 1, 5)


def test_preferences_are_a_histogram_of_margins_around_0():
    rewards = np.array([[3.0, 1], [0.5, 1], [1, 1.25], [4, 0]])
    figure = DPO().figure({"rewards": rewards, "log_probs": rewards}, None, None)
    assert (figure.edges[0], figure.edges[10], figure.edges[-1]) == (-4, 0, 4)
    assert (sum(figure.counts[:10]), figure.counts[15], figure.counts[19]) == (2, 1, 1)
    none = DPO().figure({"rewards": rewards * 0, "log_probs": rewards}, None, None)
    assert (none.edges[-1], sum(none.counts)) == (1, 4)  # nothing is preferred
    broken = np.array([[np.nan, 1], [2, 1]])
    assert sum(DPO().figure({"rewards": broken, "log_probs": broken}, None, None).counts) == 1


def test_pairs_with_numbers_are_a_scatter_of_cosines():
    records = [{"a": "x", "b": "y", "score": 4}, {"a": "x", "b": "z", "score": 1}]
    first, second = np.array([[3.0, 4, 9], [3, 4, 9]]), np.array([[6.0, 8, 0], [4, -3, 9]])
    rows = rows_of([0.8, 0.2], records=records)
    form = of_vectors(text="a", text_pair="b", label="score")
    figure = Embedding().figure({"anchor": first, "positive": second}, rows, form)
    assert figure == Scatter([0.8, 0.2], [1, 0])


def test_retrieval_is_a_histogram_of_the_rank_of_the_text_that_belongs_to_a_query():
    """A query that occurs twice counts once, by the nearest of the texts that belong to it."""
    records = [{"a": a, "b": b} for a, b in (("q", "d0"), ("q", "d1"), ("r", "d2"))]
    anchors = np.array([[1.0, 0], [1, 0], [1, 0]])
    documents = np.array([[0.0, 1], [2, 1], [1, 0]])
    rows, form = rows_of([None] * 3, records=records), of_vectors(text="a", text_pair="b")
    figure = Embedding().figure({"anchor": anchors, "positive": documents}, rows, form)
    assert figure.counts[:3] == [1, 1, 0]  # of r, and of q by d1
    assert (figure.edges[:2], sum(figure.counts)) == ([0.5, 1.5], 2)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_ranks_are_those_of_the_ranking(similarity):
    draw = np.random.default_rng(0)
    queries, documents = draw.integers(-2, 3, (2, 30, 3)).astype(float)  # some are equally near
    order = ranked(queries, documents, similarity, most=30)
    texts = {"q": [f"q{n}" for n in range(30)], "d": [f"d{n}" for n in range(30)]}
    found = ranks(texts, {"q": queries, "d": documents}, "q", "d", similarity)
    assert found == [1 + row.tolist().index(n) for n, row in enumerate(order)]
    assert len({*found}) > 10
    assert rank_of(np.array([5.0, 7, 7, 1]), [2, 3]) == 2  # of several the best
    assert histogram_of_ranks("it", [1, 19, 20, 21, 900]).counts == [1] + [0] * 17 + [1, 3]


def test_candidates_are_a_histogram_of_the_rank_of_the_first_relevant_one():
    """Of equal scores the relevant one is not in front, or a model that says nothing would seem
    right; queries without a relevant candidate are left out."""
    records = [
        {"query": name, "documents": ["a", "b", "c"], "labels": []} for name in ("q", "r", "s")
    ]
    rows = rows_of([[0.0, 1, 1], [1, 0, 0], [0, 0, 0]], records=records)
    form = form_of(text="query", text_pair="documents", label="labels")
    logits = np.array([[1.0, 0, 3], [2, 2, 2], [1, 2, 3]])
    figure = Reranking(ranking_loss="list_net").figure({"logits": logits}, rows, form)
    assert (figure.counts[0], figure.counts[2], sum(figure.counts)) == (1, 1, 2)


def test_the_worst_texts_are_listed():
    sources = [f"s{n}" for n in range(30)]
    figure = worst_texts(sources, ["right"] * 29 + ["wr ong"], ["right"] * 30)
    assert figure.rows[0] == ["s29", "wr ong", "right", "0.0"]
    assert figure.rows[1] == ["s0", "right", "right", "100.0"]
    assert len(figure.rows) == MOST_ROWS
    assert Translation.figure is not MultipleChoice.figure


def test_errors_are_a_histogram_and_a_list_of_those_with_most(tmp_path):
    heard = ["12", "1", "12", "123456"], ["12", "12", "12", "12"]
    figure = errors_of(["s0", "s1", "s2", "s3"], *heard)
    assert [count for count in figure.counts if count] == [2, 1, 1]
    assert (figure.counts[0], figure.counts[10], figure.counts[-1]) == (2, 1, 1)
    expected = [["s3", "123456", "12", "2.000"], ["s1", "1", "12", "0.500"]]
    assert figure.rows == expected
    (tmp_path / "figure.json").write_text(json.dumps({"step": 7, **to_json(figure)}))
    assert plot_answers(tmp_path) == ["figure.png"]
    text = answers_of(tmp_path, ["figure.png"])
    assert text.index("![answers](figure.png)") < text.index("| s3 | 123456 | 12 | 2.000 |")
    assert "| s1 | 1 | 12 | 0.500 |" in answers_of(tmp_path, [])  # without the picture
    assert "None." in answers_of_right(tmp_path)


def answers_of_right(folder):
    """The section of a report where no text has an error."""
    figure = errors_of(["s0"], ["12"], ["12"])
    (folder / "figure.json").write_text(json.dumps({"step": 7, **to_json(figure)}))
    return answers_of(folder, [])


FIGURES = {
    "matrix": Confusion(["a", "a name that is longer than others"], [[3, 1], [0, 0]]),
    "large": Confusion([f"class {n}" for n in range(30)], np.eye(30, dtype=int).tolist()),
    "scatter": Scatter([0.0, 1.0], [0.5, 0.75]),
    "histogram": Histogram("probability", [0, 0.5, 1], [3, 4]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_written_read_and_drawn(tmp_path, name):
    figure = FIGURES[name]
    (tmp_path / "figure.json").write_text(json.dumps({"step": 7, **to_json(figure)}))
    assert to_json(from_json(json.loads((tmp_path / "figure.json").read_text()))) == to_json(figure)
    assert plot_answers(tmp_path) == ["figure.png"]
    height, width, _ = matplotlib.image.imread(tmp_path / "figure.png").shape
    assert min(height, width) > (1200 if name == "large" else 300)  # names can be read
    text = answers_of(tmp_path, ["figure.png"], "there/")
    assert text.startswith("After step 7, how ") or name == "scatter"
    assert "![answers](there/figure.png)" in text
    assert answers_of(tmp_path, []) == ""  # which was not drawn


def test_a_table_is_written_into_the_report(tmp_path):
    assert answers_of(tmp_path, []) == ""
    listing = Listing("The worst", ["a", "b"], [["x | y", "z"]])
    (tmp_path / "figure.json").write_text(json.dumps({"step": 7, **to_json(listing)}))
    assert plot_answers(tmp_path) == []
    text = answers_of(tmp_path, [])
    assert text.startswith("After step 7. The worst:\n\n| a | b |")
    assert "| x \\| y | z |" in text
    assert from_json({"kind": "unknown"}) is None
    assert from_json({"kind": "scatter", "other": 1}) is None


def test_rows_of_a_matrix_are_shares_of_their_class(tmp_path):
    """A class with few examples is as dark as one with many: the colour is the recall."""
    draw(Confusion(["a", "b"], [[1000, 0], [0, 1]]), tmp_path / "one.png")
    draw(Confusion(["a", "b"], [[1000, 0], [0, 1000]]), tmp_path / "other.png")
    one, other = (matplotlib.image.imread(tmp_path / f"{n}.png") for n in ("one", "other"))
    assert one.shape == other.shape
    assert (np.abs(one - other).max(-1) > 0.1).mean() < 0.01  # but for the numbers in the cells
