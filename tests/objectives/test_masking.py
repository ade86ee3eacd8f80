"""Masked language modelling: rates, replacements, whole words and spans."""

import numpy as np
import pytest

from tests.objectives.corruption_cases import SIZE, WORDS, make, piece
from transformers_jax.objectives import MaskedLM, Piece, ReplacedToken, Vocabulary

MASK = WORDS.special["mask"]
SEEDS = 600


def chosen(record, original, seeds=SEEDS):
    """Which tokens are chosen, over seeds: Bool[seeds, n]."""
    masks = [make(record, original, s).tokens["labels"] != -100 for s in range(seeds)]
    return np.array(masks)[:, 1:-1]


def assert_rate(hits, total, rate):
    """Whether a count is within 4.5 standard deviations of a binomial's mean."""
    assert abs(hits - rate * total) < 4.5 * np.sqrt(total * rate * (1 - rate)) + 1e-9, hits / total


@pytest.mark.parametrize("rate", [0.15, 0.4])
@pytest.mark.parametrize("ngram", [1, 3])
def test_the_expected_rate_is_exact(rate, ngram):
    """Only the rounding is random, so the mean is far closer than a binomial's would be."""
    n = 97
    counts = chosen(MaskedLM(rate=rate, ngram=ngram), piece(n)).sum(1)
    assert set(counts) == {int(rate * n), int(rate * n) + 1}
    assert_rate((counts - int(rate * n)).sum(), SEEDS, rate * n % 1)


def test_rounding_to_the_nearest_is_not_the_rate():
    counts = np.full(SEEDS, round(0.15 * 97))
    with pytest.raises(AssertionError):
        assert_rate((counts - 14).sum(), SEEDS, 0.15 * 97 % 1)


@pytest.mark.parametrize("whole_word", [False, True])
def test_every_token_is_chosen_equally_often(whole_word):
    masks = chosen(MaskedLM(rate=0.2, whole_word=whole_word), piece(53))
    for hits in masks.sum(0):
        assert_rate(hits, SEEDS, 0.2)


def test_chosen_tokens_are_masked_replaced_or_unchanged():
    record, original = MaskedLM(rate=0.5), piece(101)
    masked = random = total = 0
    for seed in range(100):
        tokens = make(record, original, seed).tokens
        labelled = tokens["labels"] != -100
        ids, labels = tokens["input_ids"][labelled], tokens["labels"][labelled]
        total += len(ids)
        masked += np.sum(ids == MASK)
        random += np.sum((ids != MASK) & (ids != labels))
        assert np.all(WORDS.is_ordinary[ids] | (ids == MASK))
        unchanged = ~labelled[1:-1]
        np.testing.assert_array_equal(tokens["input_ids"][1:-1][unchanged], original.ids[unchanged])
    assert_rate(masked, total, 0.8)
    # A random token is the same one in one of about 900 draws.
    assert_rate(random, total, 0.1 * (1 - 1 / len(WORDS.ordinary)))
    with pytest.raises(AssertionError):
        assert_rate(masked, total, 0.85)


def test_random_tokens_are_any_ordinary_ones():
    words = Vocabulary(9, {"mask": 0, "cls": 1, "sep": 2}, (8,), {"R": 7})
    record = MaskedLM(rate=1.0, masked=0.0, random=1.0)
    original = Piece(np.full(500, 3, np.int32), np.zeros(1, int))
    ids = make(record, original, words=words).tokens["input_ids"][1:-1]
    assert set(ids) == {3, 4, 5, 6}


def test_special_tokens_are_never_chosen():
    ids = piece(60).ids.copy()
    special = [*WORDS.special.values(), *WORDS.modes.values(), WORDS.sentinels[0]]
    ids[5 : 5 + len(special)] = special
    for record in (MaskedLM(rate=0.9), MaskedLM(rate=0.9, whole_word=True, ngram=3)):
        for seed in range(30):
            tokens = make(record, Piece(ids, np.zeros(1, int)), seed).tokens
            labels = tokens["labels"][tokens["labels"] != -100]
            assert WORDS.is_ordinary[labels].all()
            here = tokens["input_ids"][6 : 6 + len(special)]
            np.testing.assert_array_equal(here, special)


def test_a_piece_of_special_tokens_has_no_labels():
    original = Piece(np.array([2, 3], np.int32), np.zeros(1, int))
    for record in (MaskedLM(), MaskedLM(whole_word=True), MaskedLM(ngram=2)):
        tokens = make(record, original).tokens
        assert set(tokens["labels"]) == {-100}
        np.testing.assert_array_equal(tokens["input_ids"], [4, 2, 3, 5])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_pieces_have_one_masked_token(n):
    for seed in range(20):
        assert chosen(MaskedLM(rate=0.01), piece(n), 20).sum(1).tolist() == [1] * 20, seed


def words_of(original):
    """The word of each token: a continuation belongs to the token before it."""
    inside = WORDS.continues[original.ids].copy()
    inside[0] = False
    return np.cumsum(~inside)


@pytest.mark.parametrize("ngram", [1, 3])
def test_words_are_chosen_whole(ngram):
    original = piece(71)
    word = words_of(original)
    assert word.max() < 60, "there are words of several tokens"
    for mask in chosen(MaskedLM(rate=0.3, whole_word=True, ngram=ngram), original, 50):
        assert not set(word[mask]) & set(word[~mask])


def test_masking_single_tokens_cuts_words():
    original = piece(71)
    word = words_of(original)
    mask = chosen(MaskedLM(rate=0.3), original, 1)[0]
    assert set(word[mask]) & set(word[~mask])


def test_whole_word_masking_needs_word_continuations():
    words = Vocabulary(SIZE, WORDS.special)
    with pytest.raises(ValueError, match="which tokens continue a word"):
        make(MaskedLM(whole_word=True), piece(9), words=words)


def test_spans_have_lengths_that_go_as_one_over_n():
    """Few spans in a long text hardly touch, so runs are spans: p(1), p(2), p(3) = 6, 3, 2 of 11.

    The last span of an example is cut to fit, so runs are a little shorter: hence a wide band.
    """
    lengths = []
    for mask in chosen(MaskedLM(rate=0.02, ngram=3), piece(800), 300):
        edges = np.flatnonzero(np.diff(mask.astype(int), prepend=0, append=0))
        lengths += list(edges[1::2] - edges[::2])
    parts = np.bincount(lengths, minlength=5)[1:5] / len(lengths)
    np.testing.assert_allclose(parts[:3], [6 / 11, 3 / 11, 2 / 11], atol=0.05)
    assert parts[3] < 0.03


def test_electra_leaves_some_of_the_chosen_and_draws_none_at_random():
    masked = total = 0
    for seed in range(200):
        tokens = make(ReplacedToken(), piece(101), seed).tokens
        labelled = tokens["labels"] != -100
        ids = tokens["input_ids"][labelled]
        assert np.all((ids == MASK) | (ids == tokens["labels"][labelled]))
        masked, total = masked + np.sum(ids == MASK), total + len(ids)
    assert_rate(masked, total, 0.85)
