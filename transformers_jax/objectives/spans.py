"""Spans of noise: how they are drawn, span corruption (T5) and mixtures of denoisers (UL2).

SpanCorruption   thank you <0> me to your party <1> week  ->  <0> for inviting <1> last
UL2              span corruptions and prefix language modelling, named by a mode token
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transformers_jax.arrays import Bool, Int
from transformers_jax.objectives.example import Example, Seq2Seq
from transformers_jax.objectives.vocabulary import Vocabulary

SENTINELS = 100  # <extra_id_0> to <extra_id_99>: Raffel et al. 2019, section 3.1.4


def round_randomly(value: float, rng: np.random.Generator) -> int:
    """One of the two whole numbers around `value`, drawn so that the expected one is `value`."""
    return int(value + rng.random())


def choose(count: int, total: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    """`count` different numbers below `total` in ascending order; all sets are equally likely."""
    return np.sort(rng.choice(total, count, replace=False, shuffle=False))


def lengths_to(
    total: int, draw: Callable[[int], np.ndarray], rng: np.random.Generator
) -> Int[np.ndarray, " m"]:
    """At most `total` lengths from draw(count) that add up to `total`, in random order.

    The one with which the sum is reached is cut to fit; where all of them together are too
    short, which only happens to a few lengths that may be 0, the last one takes the rest.
    """
    drawn = draw(total)
    ends = np.cumsum(drawn)
    last = min(int(np.searchsorted(ends, total)), total - 1)
    drawn = drawn[: last + 1]
    drawn[last] += total - ends[last]
    return rng.permutation(drawn)


def span_starts(
    lengths: Int[np.ndarray, " m"], total: int, rng: np.random.Generator
) -> Int[np.ndarray, " m"]:
    """Starts of spans of these lengths among `total` positions; all arrangements equally likely.

    Spans do not overlap, but may touch; one of length 0 is between two positions.
    """
    count = len(lengths)
    slots = choose(count, total - int(lengths.sum()) + count, rng)
    return slots - np.arange(count) + np.cumsum(lengths) - lengths


def cover(
    starts: Int[np.ndarray, " m"], lengths: Int[np.ndarray, " m"], total: int
) -> Bool[np.ndarray, " total"]:
    """True inside the spans."""
    steps = np.zeros(total + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return np.cumsum(steps[:-1]) > 0


def noise_counts(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """How many of `length` tokens T5 corrupts, and in how many spans.

    Both are rounded, at least 1, and leave a token in front of every span. A single token is not
    corrupted. Source: Raffel et al. 2019, section 3.3.4, and `random_spans_noise_mask` of its code.
    """
    if length < 2:
        return 0, 0
    noise = min(max(round(length * rate), 1), length - 1)
    return noise, min(max(round(noise / mean_span), 1), noise, length - noise)


def noise_mask(
    length: int, rate: float, mean_span: float, rng: np.random.Generator
) -> Bool[np.ndarray, " length"]:
    """True at corrupted tokens: spans of text and of noise alternate, and text is first.

    All masks with the counts of `noise_counts` are equally likely.
    """
    noise, spans = noise_counts(length, rate, mean_span)
    if not spans:
        return np.zeros(length, bool)
    sizes = np.empty((spans, 2), np.int64)
    for column, total in enumerate((length - noise, noise)):
        ends = np.append(choose(spans - 1, total - 1, rng) + 1, total)
        sizes[:, column] = np.diff(ends, prepend=0)
    return np.repeat(np.tile([False, True], spans), sizes.ravel())


def target_side(labels: Int[np.ndarray, " m"], vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """The second side: labels, and the decoder's input, shifted by one and starting with pad."""
    shifted = np.empty_like(labels)
    shifted[0] = vocabulary.need("pad")
    shifted[1:] = labels[:-1]
    return {"decoder_input_ids": shifted, "labels": labels}


class _Spans(Seq2Seq):
    """Objectives that replace spans by sentinels, so that both sides have a width of their own."""

    roles: ClassVar[tuple[str, ...]] = ("pad", "eos")
    sentinels: ClassVar[int] = SENTINELS
    added: ClassVar[int] = 1
    """tokens of the first side that are not of the text: eos"""

    def widths(self, n: int) -> tuple[int, int]:
        """Columns of both sides for a piece of n tokens; neither falls as n grows."""
        raise NotImplementedError

    def check(self, rate: float, mean_span: float | None) -> None:
        """Raises ValueError for spans that cannot be."""
        fits = 0 < rate < 1 and (mean_span is None or mean_span >= 1)
        expected = "0 < rate < 1 and a mean span of at least 1 token"
        self.expect(fits, expected, rate=rate, mean_span=mean_span)

    def corrupted(
        self, ids: Int[np.ndarray, " n"], noise: Bool[np.ndarray, " n"], vocabulary: Vocabulary
    ) -> Example:
        """Each span of noise becomes a sentinel; the target lists them, each before its span.

        Both sides end with eos; the decoder starts with pad (Raffel et al. 2019, section 3.1.4 and
        figure 2).
        """
        first = noise.copy()
        first[1:] &= ~noise[:-1]
        number = np.flatnonzero(first)
        vocabulary.require(type(self).__name__, roles=self.roles, sentinels=len(number))
        sentinels = np.array(vocabulary.sentinels[: len(number)], np.int32)
        eos = np.int32(vocabulary.need("eos"))
        source = ids.copy()
        source[number] = sentinels
        starts = first[noise]
        where = np.arange(len(starts)) + np.cumsum(starts)
        labels = np.empty(len(starts) + len(number) + 1, np.int32)
        labels[where] = ids[noise]
        labels[where[starts] - 1] = sentinels
        labels[-1] = eos
        return Example(
            {"input_ids": np.append(source[first | ~noise], eos)}, target_side(labels, vocabulary)
        )

    def room(self, length: int) -> int:
        self.remaining(length, self.added)
        return bisect.bisect_right(range(1, 1 << 40), length, key=lambda n: self.widths(n)[0])

    def target_width(self, length: int) -> int:
        return self.widths(self.room(length))[1]


@dataclass(frozen=True)
class SpanCorruption(_Spans):
    """T5: spans are replaced by sentinels, and the decoder writes the spans.

    A piece of one token is not corrupted: the target is only eos.

    Source: Raffel et al. 2019, sections 3.1.4 and 3.3.4 (15 %, mean span 3), and the arithmetic of
    its code: a row of 512 takes 568 tokens, and their target 114 columns.
    """

    rate: float = 0.15
    """fraction of tokens that are corrupted"""
    mean_span: float = 3.0
    """mean length of a corrupted span, in tokens"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.rate, self.mean_span)

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece)
        noise = noise_mask(len(ids), self.rate, self.mean_span, rng)
        return self.corrupted(ids, noise, vocabulary)

    def widths(self, n: int) -> tuple[int, int]:
        """Columns of both sides for a piece of n tokens; neither falls as n grows."""
        noise, spans = noise_counts(n, self.rate, self.mean_span)
        return n - noise + spans + 1, noise + spans + 1


class Denoiser(NamedTuple):
    """One of UL2's denoisers: spans of some mean length, or (None) one suffix."""

    mode: str
    """the mode token in front: R, S or X"""
    mean_span: float | None
    """in tokens; None corrupts one suffix"""
    rate: float
    """fraction of tokens that are corrupted; of a suffix, on average"""
    weight: float = 1.0
    """how often it is drawn, relative to the others"""


TABLE_1 = (
    Denoiser("R", 3, 0.15),
    Denoiser("R", 8, 0.15),
    Denoiser("S", None, 0.25),
    Denoiser("X", 3, 0.5),
    Denoiser("X", 8, 0.5),
    Denoiser("X", 64, 0.15),
    Denoiser("X", 64, 0.5),
)
"""Tay et al. 2022, table 1. The mixture over these seven is uniform here."""


@dataclass(frozen=True)
class UL2(_Spans):
    """UL2's mixture of denoisers, for encoder-decoders.

    Each example draws a denoiser by weight and starts with its mode token. R (regular) and X
    (extreme: long spans or many tokens) are T5's span corruption; S (sequential) corrupts one
    suffix, which becomes a sentinel too, of a length uniform around `rate`.

    Since a short suffix leaves nearly all of a piece, room(length) is length - 2: rows of R and X
    examples are shorter than that, which packing makes up for.

    Source: Tay et al. 2022, section 3.1 and table 1. Span lengths are segmented as by T5.
    """

    added: ClassVar[int] = 2
    """the mode, and eos"""

    denoisers: tuple[Denoiser, ...] = TABLE_1

    def __post_init__(self) -> None:
        super().__post_init__()
        for d in self.denoisers:
            self.check(d.rate, d.mean_span)
            expected = "rate <= 0.5 of a suffix: its length is uniform up to twice its mean"
            self.expect(d.mean_span is not None or d.rate <= 0.5, expected, rate=d.rate)
        weights = [d.weight for d in self.denoisers]
        fits = min(weights, default=0) >= 0 and sum(weights) > 0
        self.expect(fits, "weights of at least 0 with a positive sum", weights=weights)

    @property
    def modes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The mode tokens that are needed."""
        return tuple(dict.fromkeys(d.mode for d in self.denoisers))

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece)
        vocabulary.require("UL2", roles=self.roles, sentinels=1, modes=self.modes)
        ends = np.cumsum([d.weight for d in self.denoisers])
        drawn = self.denoisers[np.searchsorted(ends, rng.random() * ends[-1], side="right")]
        if drawn.mean_span is None:
            cut = len(ids)
            if cut > 1:
                cut -= int(rng.integers(1, _longest_suffix(len(ids), drawn.rate) + 1))
            noise = np.arange(len(ids)) >= cut
        else:
            noise = noise_mask(len(ids), drawn.rate, drawn.mean_span, rng)
        example = self.corrupted(ids, noise, vocabulary)
        mode = np.array([vocabulary.modes[drawn.mode]], np.int32)
        source = np.concatenate([mode, example.tokens["input_ids"]])
        return Example({"input_ids": source}, example.target)

    def widths(self, n: int) -> tuple[int, int]:
        """Most columns of both sides over the denoisers that are drawn at all."""
        sources, targets = [], []
        for d in self.denoisers:
            if not d.weight:
                continue
            if d.mean_span is None:
                most = _longest_suffix(n, d.rate) if n > 1 else 0
                sources.append(n + 2 if most else 3)
                targets.append(most + 1 + bool(most))
            else:
                noise, spans = noise_counts(n, d.rate, d.mean_span)
                sources.append(n - noise + spans + 2)
                targets.append(noise + spans + 1)
        return max(sources), max(targets)


def _longest_suffix(n: int, rate: float) -> int:
    """The most tokens of a corrupted suffix: lengths are uniform from 1, with mean rate * n."""
    return max(round(2 * rate * n) - 1, 1)
