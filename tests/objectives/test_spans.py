"""Span corruption: T5's arithmetic, UL2's mixture, BART's infilling, and their distributions."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from tests.objectives.corruption_cases import SIZE, WORDS, make, piece
from tests.objectives.test_masking import assert_rate
from transformers_jax.objectives import UL2, Denoiser, Denoising, SpanCorruption, Vocabulary
from transformers_jax.objectives.spans import (
    cover,
    lengths_to,
    noise_counts,
    noise_mask,
    round_randomly,
    span_starts,
)

PAD, EOS, MASK = (WORDS.special[role] for role in ("pad", "eos", "mask"))


def assert_even(counts, kinds):
    """Whether `kinds` outcomes are equally likely: each within 4.5 standard deviations."""
    assert len(counts) == kinds, counts
    for hits in counts.values():
        assert_rate(hits, sum(counts.values()), 1 / kinds)


@pytest.mark.parametrize(
    ("length", "rate", "mean_span", "room", "target"),
    [(512, 0.15, 3.0, 568, 114), (1024, 0.15, 3.0, 1137, 229), (512, 0.5, 3.0, 767, 513)],
)
def test_lengths_are_those_of_t5(length, rate, mean_span, room, target):
    """568 and 114 are published; the others follow from its formula, written out here.

    At a rate of 0.5 its code takes one token less than fits, for two sides of equal length.
    """
    record = SpanCorruption(rate, mean_span)

    def columns(n):
        noise = round(n * rate)
        spans = round(noise / mean_span)
        return n - noise + spans + 1, noise + spans + 1

    longest = max(n for n in range(1, 4 * length) if columns(n)[0] <= length)
    assert (record.room(length), record.target_width(length)) == (longest, columns(longest)[1])
    assert (longest, columns(longest)[1]) == (room, target)


def test_a_piece_of_room_fills_the_row_exactly():
    record = SpanCorruption()
    example = make(record, piece(568))
    assert len(example.tokens["input_ids"]) == 512
    assert len(example.target["labels"]) == 114
    assert len(make(record, piece(569)).tokens["input_ids"]) == 513


def test_a_noise_mask_has_the_expected_spans_and_starts_unmasked():
    for n in (2, 3, 10, 57):
        for rate, mean_span in ((0.15, 3.0), (0.5, 2.0), (0.9, 1.0)):
            noise, spans = noise_counts(n, rate, mean_span)
            hidden = noise_mask(n, rate, mean_span, np.random.default_rng(n))
            assert hidden.sum() == noise > 0
            assert np.sum(np.diff(hidden.astype(int)) == 1) == spans > 0
            assert not hidden[0]
            assert hidden[-1]


def test_all_masks_are_equally_likely():
    rng = np.random.default_rng(0)
    counts = Counter(noise_mask(8, 0.5, 2.0, rng).tobytes() for _ in range(3000))
    assert_even(counts, 3 * 3)  # 4 as an ordered sum of 2, twice


def test_a_biased_distribution_of_masks_is_detected():
    rng = np.random.default_rng(0)
    counts = Counter(noise_mask(8, 0.5, 2.0, rng).tobytes() for _ in range(3000))
    counts[next(iter(counts))] += 150
    with pytest.raises(AssertionError):
        assert_even(counts, 9)


def test_all_arrangements_of_spans_are_equally_likely():
    rng = np.random.default_rng(1)
    lengths = np.array([2, 0, 1])
    counts = Counter(tuple(span_starts(lengths, 5, rng)) for _ in range(4000))
    assert_even(counts, len(list(combinations(range(5), 3))))
    for starts in counts:
        ends = np.array(starts) + lengths
        assert np.all(ends[:-1] <= starts[1:])
        assert ends[-1] <= 5
        assert cover(np.array(starts), lengths, 5).sum() == 3


def test_drawn_lengths_add_up_and_are_no_more_than_tokens():
    rng = np.random.default_rng(2)
    for total in (1, 2, 3, 8, 40):
        for draw in (lambda k: rng.poisson(3.0, k), lambda k: rng.poisson(0.1, k)):
            for _ in range(50):
                lengths = lengths_to(total, draw, rng)
                assert lengths.sum() == total
                assert 1 <= len(lengths) <= total


def test_rounding_is_right_on_average():
    rng = np.random.default_rng(3)
    rounded = [round_randomly(2.3, rng) for _ in range(2000)]
    assert set(rounded) == {2, 3}
    assert_rate(sum(rounded) - 2 * 2000, 2000, 0.3)


def test_short_pieces_of_span_corruption():
    one, two, three = (make(SpanCorruption(), piece(n)) for n in (1, 2, 3))
    first = WORDS.sentinels[0]
    assert one.tokens["input_ids"].tolist() == [*piece(1).ids, EOS]
    assert one.target["labels"].tolist() == [EOS]
    assert one.target["decoder_input_ids"].tolist() == [PAD]
    assert two.tokens["input_ids"].tolist() == [piece(2).ids[0], first, EOS]
    assert two.target["labels"].tolist() == [first, piece(2).ids[1], EOS]
    assert three.tokens["input_ids"].tolist() == [*piece(3).ids[:2], first, EOS]


def test_too_few_sentinels_are_one_clear_error():
    words = Vocabulary(SIZE, WORDS.special, WORDS.sentinels[:5])
    make(SpanCorruption(), piece(100), words=words)
    with pytest.raises(ValueError, match=r"SpanCorruption needs 6 sentinels .* has .* 5 sentinels"):
        make(SpanCorruption(), piece(120), words=words)


def test_modes_are_mixed_by_weight_and_prefixed():
    original = piece(40)
    modes = {i: mode for mode, i in WORDS.modes.items()}
    counts = Counter(modes[make(UL2(), original, s).tokens["input_ids"][0]] for s in range(1400))
    for mode, part in {"R": 2 / 7, "S": 1 / 7, "X": 4 / 7}.items():
        assert_rate(counts[mode], 1400, part)
    only = UL2(denoisers=(Denoiser("X", 3, 0.5), Denoiser("S", None, 0.25, 0.0)))
    assert {make(only, original, s).tokens["input_ids"][0] for s in range(30)} == {WORDS.modes["X"]}


def test_a_sequential_denoiser_masks_a_suffix_of_uniform_length():
    n = 40
    record = UL2(denoisers=(Denoiser("S", None, 0.25),))
    assert record.modes == ("S",)
    lengths = []
    for seed in range(1900):
        source = make(record, piece(n), seed).tokens["input_ids"]
        lengths.append(len(source) - 3)
        np.testing.assert_array_equal(source[1:-2], piece(n).ids[: lengths[-1]])
        assert source[-2] == WORDS.sentinels[0]
    assert_even(Counter(lengths), 19)
    assert abs(np.mean(lengths) - 0.75 * n) < 0.6  # 4.5 * 5.5 / sqrt(1900)


def test_records_read_from_a_file_are_the_same():
    listed = [["R", 3, 0.15, 1.0], ["S", None, 0.25]]
    assert UL2(denoisers=listed) == UL2((Denoiser("R", 3, 0.15), Denoiser("S", None, 0.25)))


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_infilling_masks_the_rate_exactly_on_average(rate):
    n = 51
    hidden = [n - len(set(_unmasked_ids(Denoising(rate=rate), n, s))) for s in range(600)]
    assert set(hidden) == {int(rate * n), int(rate * n) + 1}
    assert_rate(sum(hidden) - 600 * int(rate * n), 600, rate * n % 1)


def _unmasked_ids(record, n, seed):
    source = make(record, piece(n), seed).tokens["input_ids"][1:-1]
    return [i for i in source if i != MASK]


def test_infilling_draws_poisson_lengths_with_spans_of_none():
    """Spans per masked token are about 1 / lambda, and one in e ** 3 masks nothing."""
    spans = nothing = total = 0
    for seed in range(300):
        source = make(Denoising(permute=False), piece(200), seed).tokens["input_ids"][1:-1]
        spans += np.sum(source == MASK)
        total += 60
        # A mask between neighbours of the text replaces no token.
        place_of = {int(i): p for p, i in enumerate(piece(200).ids)}
        for a, mask, b in zip(source, source[1:], source[2:]):
            if mask == MASK and a != MASK and b != MASK:
                nothing += place_of[int(b)] == place_of[int(a)] + 1
    assert 1 / 3.2 < spans / total < 1 / 2.7
    assert 0.02 < nothing / spans < np.exp(-3) * 1.1


def test_sentences_are_shuffled_in_every_order():
    record = Denoising(rate=0.0)
    original = piece(6, 0, sentences=3)
    orders = Counter(make(record, original, s).tokens["input_ids"].tobytes() for s in range(1500))
    assert_even(orders, 6)
    unchanged = Denoising(rate=0.0, permute=False)
    assert {make(unchanged, original, s).tokens["input_ids"].tobytes() for s in range(9)} == {
        np.array([2, *original.ids, 3], np.int32).tobytes()
    }
    assert record.sentences
    assert not unchanged.sentences


def test_bart_starts_its_decoder_with_the_end():
    example = make(Denoising(), piece(4))
    assert example.target["labels"].tolist() == [2, *piece(4).ids, 3]
    assert example.target["decoder_input_ids"].tolist() == [3, 2, *piece(4).ids]
