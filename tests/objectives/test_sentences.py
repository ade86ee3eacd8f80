"""Objectives over sentences: pairs of segments, and gap sentences."""

from collections import Counter

import numpy as np
import pytest

from tests.objectives.corruption_cases import CASES, WORDS, make, other_piece, piece, segments
from tests.objectives.test_masking import assert_rate
from transformers_jax.objectives import GapSentences, MaskedLM, NextSentence, Piece, SentenceOrder
from transformers_jax.objectives.sentences import rouge_1

PAD, EOS, SEP, MASK = (WORDS.special[role] for role in ("pad", "eos", "sep", "mask"))
LONG = NextSentence(short=0.0)


def text(*sentences):
    """A piece of sentences that are written as letters."""
    starts = np.cumsum([0, *map(len, sentences[:-1])])
    return Piece(np.array([ord(c) for c in "".join(sentences)], np.int32), starts)


def letters(ids):
    """The ids as letters, with _ for the mask token and . for the end."""
    return "".join({MASK: "_", EOS: "."}.get(int(i), chr(int(i))) for i in ids)


def test_half_of_the_second_segments_follow():
    original = piece(40)
    labels = [make(NextSentence(), original, s).once["next_sentence_label"] for s in range(800)]
    assert_rate(sum(labels), 800, 0.5)
    with pytest.raises(AssertionError):
        assert_rate(sum(labels), 800, 0.4)


def test_a_segment_that_follows_is_the_rest_and_another_is_from_elsewhere():
    original = piece(40)
    other = set(other_piece(9).ids.tolist())
    for seed in range(60):
        example = make(LONG, original, seed)
        first, second = segments(example)
        np.testing.assert_array_equal(first, original.ids[: len(first)])
        assert len(first) in original.breaks[1:]
        if example.once["next_sentence_label"] == 0:
            np.testing.assert_array_equal(second, original.ids[len(first) :])
        else:
            assert set(second.tolist()) <= other
            assert 1 <= len(second) <= len(original.ids) - len(first)


def test_a_segment_from_elsewhere_is_as_long_as_the_one_it_replaces():
    """Where its document is long enough; so its length does not reveal the label."""
    record = NextSentence(random=1.0, short=0.0)
    original, far = piece(30), piece(200, seed=1)
    starts = set()
    for seed in range(60):
        example = record.example(original, np.random.default_rng(seed), WORDS, lambda: far)
        second = segments(example)[1]
        assert len(example.tokens["input_ids"]) == 33
        starts.add(int(np.flatnonzero(far.ids == second[0])[0]))
        assert starts <= set(far.breaks.tolist())
    assert len(starts) > 5


def test_some_examples_are_short():
    original = piece(40)
    sizes = [
        len(make(NextSentence(random=0.0), original, s).tokens["input_ids"]) for s in range(1500)
    ]
    short = np.array([size - 3 for size in sizes if size < 43])
    # Uniform from 2 to 40: one in 39 of the short ones keeps its length.
    assert_rate(len(short), 1500, 0.1 * 38 / 39)
    assert short.min() < 6
    assert short.max() > 36


@pytest.mark.parametrize("record", [LONG, SentenceOrder()], ids=["next", "order"])
def test_a_single_sentence_is_cut_at_its_middle_token(record):
    original = piece(11, sentences=1)
    labels = Counter()
    for seed in range(400):
        example = make(record, original, seed)
        first, second = segments(example)
        label = example.once["next_sentence_label"]
        labels[label] += 1
        swapped = label == 1 and record is not LONG
        assert len(second if swapped else first) == 5
    assert_rate(labels[1], 400, 0.5)


def test_pairs_of_short_pieces():
    for seed in range(20):
        single = make(NextSentence(), piece(1), seed)
        assert single.once == {"next_sentence_label": 1}
        assert [len(s) for s in segments(single)] == [1, 1]
        assert [len(s) for s in segments(make(NextSentence(), piece(2), seed))] == [1, 1]
        single = make(SentenceOrder(), piece(1), seed)
        assert single.once == {"next_sentence_label": -100}
        assert [len(s) for s in segments(single)] == [1, 0]


def test_order_is_swapped_half_of_the_time():
    original = piece(40)
    swaps = 0
    for seed in range(600):
        example = make(SentenceOrder(), original, seed)
        first, second = segments(example)
        label = example.once["next_sentence_label"]
        swaps += label
        both = [second, first] if label else [first, second]
        np.testing.assert_array_equal(np.concatenate(both), original.ids)
    assert_rate(swaps, 600, 0.5)


def test_both_segments_have_masked_words_and_special_tokens_are_never_masked():
    for seed in range(30):
        tokens = make(LONG, piece(40), seed).tokens
        labelled = tokens["labels"] != -100
        middle = int(np.flatnonzero(tokens["input_ids"] == SEP)[0])
        assert labelled[1:middle].any()
        assert labelled[middle + 1 : -1].any()
        assert not labelled[[0, middle, -1]].any()


def test_segments_are_masked_at_the_rate_of_their_masking():
    record = NextSentence(masking=MaskedLM(rate=0.4), short=0.0, random=0.0)
    original = piece(60, sentences=1)
    counts = [np.sum(make(record, original, s).tokens["labels"] != -100) for s in range(50)]
    assert counts == [24] * 50


def test_rows_hold_one_pair_and_need_sentences():
    for record in CASES.values():
        pair = isinstance(record, (NextSentence, SentenceOrder))
        assert record.single == pair
        if pair:
            assert record.sentences


# ------------------------------------------------------------------------------------- gaps


def slow_rouge(sentences, k):
    """ROUGE-1 F1 of sentence k against the others, from its definition."""
    mine = Counter(sentences[k])
    rest = Counter("".join(s for i, s in enumerate(sentences) if i != k))
    shared = sum((mine & rest).values())
    precision, recall = shared / max(mine.total(), 1), shared / max(rest.total(), 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_rouge(seed):
    rng = np.random.default_rng(seed)
    sentences = ["".join(rng.choice(list("abcdefg"), rng.integers(1, 9))) for _ in range(6)]
    ids = text(*sentences).ids
    number = np.repeat(np.arange(6), [len(s) for s in sentences])
    scores = rouge_1(ids, number, 6)
    np.testing.assert_allclose(scores, [slow_rouge(sentences, k) for k in range(6)], rtol=1e-12)


def test_the_sentence_with_the_highest_rouge_is_the_target():
    example = make(GapSentences(), text("wxyz", "abcd", "ab", "cdw"))
    assert letters(example.tokens["input_ids"]) == "wxyz_abcdw."
    assert letters(example.target["labels"]) == "abcd."
    assert example.target["decoder_input_ids"].tolist() == [PAD, *map(ord, "abcd")]


def test_other_choices():
    original = text("ab", "cd", "ef", "gh", "ij", "kl")
    lead = make(GapSentences(choice="lead"), original)
    assert letters(lead.tokens["input_ids"]) == "__efghijkl."
    assert letters(lead.target["labels"]) == "abcd."
    counts = Counter()
    for seed in range(600):
        counts.update(letters(make(GapSentences(choice="random"), original, seed).target["labels"]))
    for letter in "abcdefghijkl":
        assert_rate(counts[letter], 600, 1 / 3)


@pytest.mark.parametrize(("count", "hidden"), [(2, 1), (3, 1), (4, 1), (5, 2), (10, 3), (20, 6)])
def test_the_number_of_gaps_is_rounded_and_one_sentence_stays(count, hidden):
    original = piece(2 * count, sentences=None)
    original = Piece(original.ids, np.arange(0, 2 * count, 2))
    source = make(GapSentences(), original).tokens["input_ids"]
    assert np.sum(source == MASK) == hidden
    everything = make(GapSentences(rate=1.0), original).tokens["input_ids"]
    assert np.sum(everything == MASK) == count - 1


def test_gaps_in_short_pieces():
    one = make(GapSentences(), text("a"))
    assert letters(one.tokens["input_ids"]) == "_."
    assert letters(one.target["labels"]) == "a."
    two = make(GapSentences(), text("abcde"))
    assert letters(two.tokens["input_ids"]) == "_cde."
    assert letters(two.target["labels"]) == "ab."
