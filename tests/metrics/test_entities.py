"""Entities are counted as seqeval counts them."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, IOBES, Tokens

from transformers_jax import metrics
from transformers_jax.metrics import tags as module

TYPES = ("PER", "LOC", "a-b")
TAGS = {
    scheme: st.sampled_from(["O", "O", *prefixes, *(f"{p}-{t}" for p in prefixes for t in TYPES)])
    for scheme, prefixes in (("conll", "BIES"), ("BIO", "BI"), ("BIOES", "BIES"))
}
STRICT = {"BIO": IOB2, "BIOES": IOBES}
SCHEMES = pytest.mark.parametrize("scheme", TAGS)


def seqeval_spans(tags, scheme):
    if scheme == "conll":
        return [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
    return [(e.tag, e.start, e.end) for e in Tokens(tags, STRICT[scheme]).entities]


@SCHEMES
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_spans_are_those_of_seqeval(scheme, data):
    tags = data.draw(st.lists(TAGS[scheme], max_size=10))
    assert metrics.spans(tags, scheme) == seqeval_spans(tags, scheme)


def test_the_comparison_notices_the_other_scheme():
    """Negative control: an entity without a beginning is one for CoNLL, and none in strict mode."""
    tags = ["O", "I-PER", "I-LOC", "B-LOC"]
    assert metrics.spans(tags) == [("PER", 1, 2), ("LOC", 2, 3), ("LOC", 3, 4)]
    assert metrics.spans(tags, "BIO") == [("LOC", 3, 4)] != seqeval_spans(tags, "conll")
    assert metrics.spans(["B-PER", "I-PER", "O", "S-LOC"], "BIOES") == [("LOC", 3, 4)]


@SCHEMES
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_scores_are_those_of_seqeval(scheme, data):
    rows = st.lists(st.tuples(TAGS[scheme], TAGS[scheme]), min_size=1, max_size=8)
    texts = data.draw(st.lists(rows, min_size=1, max_size=3))
    predicted, expected = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    mode = {} if scheme == "conll" else {"mode": "strict", "scheme": STRICT[scheme]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no entity, seqeval warns
        report = classification_report(
            expected, predicted, output_dict=True, zero_division=0, **mode
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = metrics.entities(predicted, expected, scheme)
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "number": "support"}
    types = report.keys() - {"micro avg", "macro avg", "weighted avg"}
    wanted = {f"{t}_{ours}": report[t][theirs] for t in types for ours, theirs in names.items()}
    wanted |= {name: report["micro avg"][names[name]] for name in ("precision", "recall", "f1")}
    wanted["f1_macro"] = report["macro avg"]["f1-score"] if types else 0.0
    pairs = [pair for text in texts for pair in text]
    wanted["accuracy"] = sum(p == e for p, e in pairs) / len(pairs)
    assert result == wanted
    assert all(type(value) is float for value in result.values())


def counts(predicted, expected, scheme):
    """Right, predicted and expected entities, by our spans."""
    sets = [
        {(n, span) for n, tags in enumerate(texts) for span in metrics.spans(tags, scheme)}
        for texts in (predicted, expected)
    ]
    return len(sets[0] & sets[1]), len(sets[0]), len(sets[1])


@SCHEMES
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_scores_follow_from_spans(scheme, data):
    rows = st.lists(st.tuples(TAGS[scheme], TAGS[scheme]), min_size=1, max_size=8)
    texts = data.draw(st.lists(rows, min_size=1, max_size=3))
    predicted, expected = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    right, said, there = counts(predicted, expected, scheme)
    result = metrics.entities(predicted, expected, scheme)
    assert result["precision"] == pytest.approx(right / max(said, 1))
    assert result["recall"] == pytest.approx(right / max(there, 1))
    assert result["f1"] == pytest.approx(2 * right / max(said + there, 1))


def test_a_case_by_hand():
    expected = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O"]]
    predicted = [["B-PER", "I-PER", "O", "O"], ["B-PER", "I-PER"]]
    # predicted 2, expected 3, right 1: the second PER is too long
    wanted = {
        "precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5, "f1_macro": (1 / 2 + 0) / 2,
        "accuracy": 4 / 6, "PER_precision": 1 / 2, "PER_recall": 1 / 2, "PER_f1": 1 / 2,
        "PER_number": 2, "LOC_precision": 0, "LOC_recall": 0, "LOC_f1": 0, "LOC_number": 1,
    }  # fmt: skip
    assert metrics.entities(predicted, expected) == pytest.approx(wanted)


def test_a_perfect_prediction_has_the_score_one():
    tags = [["B-PER", "I-PER", "O"], ["B-LOC"]]
    scores = metrics.entities(tags, tags, "BIO")
    assert {v for name, v in scores.items() if not name.endswith("number")} == {1.0}


@pytest.mark.parametrize("scheme", STRICT)
@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 2), st.integers(1, 3))))
def test_tags_of_spans_give_the_spans_back(scheme, pieces):
    spans, length = [], 0
    for kind, gap, width in pieces:
        spans.append((kind, length + gap, length + gap + width))
        length += gap + width
    tags = metrics.tags_of(spans, length + 1, scheme)
    assert len(tags) == length + 1
    assert metrics.spans(tags, scheme) == metrics.spans(tags) == spans


def test_the_notation_is_read_from_the_labels():
    assert metrics.scheme_of(["O", "B-PER", "I-PER"]) == "BIO"
    assert metrics.scheme_of({"O": 0, "B-PER": 1, "E-PER": 2}) == "BIOES"
    assert metrics.tags_of([("_", 0, 2)], 2, "BIOES") == ["B", "E"]


def test_without_seqeval_spans_are_read_and_scores_say_what_to_install(monkeypatch):
    def need(name, extra, what):
        raise ValueError(f"{what} needs the extra `{extra}`")

    monkeypatch.setattr(module, "need", need)
    assert metrics.spans(["B-PER"]) == [("PER", 0, 1)]
    with pytest.raises(ValueError, match="the score of entities needs the extra `eval`"):
        metrics.entities([["O"]], [["O"]])


@pytest.mark.parametrize(
    ("predicted", "expected", "scheme", "words"),
    [
        ([["O"]], [["O"], ["O"]], "conll", "predicted 1, expected 2"),
        ([["O"]], [["O", "O"]], "conll", "text 0: 1, 2"),
        ([], [], "conll", "predicted is empty"),
        ([[]], [[]], "conll", "no text has a tag"),
        (["O"], [["O"]], "conll", r"predicted: .* predicted\[0\] is str 'O'"),
        ([[0]], [["O"]], "conll", r"predicted\[0\]\[0\] is int 0"),
        ([["X-PER"]], [["O"]], "conll", r"\[0\]\[0\] = 'X-PER': tags of the scheme conll"),
        ([["O"]], [["E-PER"]], "BIO", r"expected\[0\]\[0\] = 'E-PER': .* O, B-TYPE, I-TYPE"),
        ([["O"]], [["B--PER"]], "BIO", r"expected\[0\]\[0\]"),
        ([["O"]], [["O-PER"]], "conll", r"expected\[0\]\[0\]"),
        ([["O"]], [["O"]], "IOB", "scheme='IOB': it is one of conll, BIO, BIOES"),
    ],
)  # fmt: skip
def test_wrong_tags_are_refused(predicted, expected, scheme, words):
    with pytest.raises(ValueError, match=words):
        metrics.entities(predicted, expected, scheme)


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([("PER", 1, 1)], "PER from 1 to 1"),
        ([("PER", 0, 4)], "there are the tags 0 to 2"),
        ([("PER", 0, 2), ("LOC", 1, 3)], "LOC from 1 to 3 overlaps"),
    ],
)
def test_wrong_spans_are_refused(spans, words):
    with pytest.raises(ValueError, match=words):
        metrics.tags_of(spans, 3)
