"""Predictions from left to right: labels, cuts of prefixes, and moved middles."""

from collections import Counter

import numpy as np
import pytest

from tests.objectives.corruption_cases import WORDS, make, piece
from tests.objectives.test_masking import assert_rate
from tests.objectives.test_spans import assert_even
from transformers_jax.objectives import CausalLM, FillInTheMiddle, Piece, PrefixLM

PREFIX, MIDDLE, SUFFIX = (WORDS.special[f"fim_{n}"] for n in ("prefix", "middle", "suffix"))
EOS = WORDS.special["eos"]


def test_all_tokens_but_the_first_are_labels():
    tokens = make(CausalLM(), piece(5)).tokens
    np.testing.assert_array_equal(tokens["input_ids"], piece(5).ids)
    np.testing.assert_array_equal(tokens["labels"], [-100, *piece(5).ids[1:]])


def test_prefix_lengths_are_uniform_and_leave_a_label():
    for minimum, kinds in ((1, 9), (4, 6)):
        cuts = Counter()
        for seed in range(1000):
            example = make(PrefixLM(minimum=minimum), piece(10), seed)
            prefix = example.tags["prefix"]
            cuts[int(prefix.sum())] += 1
            assert np.all(np.diff(prefix) <= 0)
            np.testing.assert_array_equal(example.tokens["labels"] == -100, prefix == 1)
        assert_even(cuts, kinds)
        assert min(cuts) == minimum
        assert max(cuts) == 9


@pytest.mark.parametrize(("n", "count"), [(1, 0), (2, 1), (3, 1), (4, 1)])
def test_pieces_of_up_to_the_minimum_predict_their_last_token(n, count):
    labels = make(PrefixLM(minimum=4), piece(n)).tokens["labels"]
    assert np.sum(labels != -100) == count


def kind(ids):
    if ids[0] != PREFIX:
        return "plain"
    return "spm" if ids[1] == SUFFIX else "psm"


def test_half_are_rearranged_and_half_of_these_suffix_first():
    """A piece in order of prefix, suffix, middle has an empty prefix in about one of n."""
    kinds = Counter()
    for seed in range(1200):
        kinds[kind(make(FillInTheMiddle(), piece(400), seed).tokens["input_ids"])] += 1
    assert_rate(kinds["plain"], 1200, 0.5)
    assert_rate(kinds["spm"], 1200, 0.25)


def test_the_two_layouts():
    ids = piece(6).ids
    for seed in range(40):
        for spm in (0.0, 1.0):
            tokens = make(FillInTheMiddle(rate=1.0, spm=spm), piece(6), seed).tokens
            moved = list(tokens["input_ids"])
            s, m = moved.index(SUFFIX), moved.index(MIDDLE)
            back, rest = moved[s + 1 : m], moved[m + 1 :]
            front = moved[1:s]
            assert moved[0] == PREFIX
            assert [*front, *rest, *back] == ids.tolist()
            assert spm == 0.0 or not front
            np.testing.assert_array_equal(tokens["labels"], [-100, *moved[1:]])


def test_the_middle_is_cut_at_two_uniform_positions():
    cuts = Counter()
    for seed in range(2000):
        ids = list(make(FillInTheMiddle(1.0, 0.0), piece(4), seed).tokens["input_ids"])
        front = ids.index(SUFFIX) - 1
        cuts[front, 4 - (ids.index(MIDDLE) - ids.index(SUFFIX) - 1)] += 1
    assert len(cuts) == 15
    for (low, high), hits in cuts.items():
        assert_rate(hits, 2000, (1 if low == high else 2) / 25)


def test_the_end_of_a_document_stays_at_the_end():
    ids = np.append(piece(8).ids, np.int32(EOS))
    for seed in range(40):
        arranged = make(FillInTheMiddle(), Piece(ids, np.zeros(1, int)), seed).tokens["input_ids"]
        assert arranged[-1] == EOS
        assert np.sum(arranged == EOS) == 1
