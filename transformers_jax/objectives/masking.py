"""Masked language modelling (BERT) and replaced-token detection (ELECTRA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transformers_jax.arrays import Bool, Int
from transformers_jax.objectives.example import IGNORED, Corruption, Example
from transformers_jax.objectives.spans import choose, cover, lengths_to, round_randomly, span_starts
from transformers_jax.objectives.vocabulary import Vocabulary

Masked = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]
"""Ids of which some are masked, and the labels: the original ids of these, -100 elsewhere."""


def framed(parts: Sequence[Masked], vocabulary: Vocabulary) -> Masked:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]: one or two parts between special tokens."""
    inputs, labels = [np.array([vocabulary.need("cls")])], [np.array([IGNORED])]
    for ids, originals in parts:
        inputs += [ids, np.array([vocabulary.need("sep")])]
        labels += [originals, np.array([IGNORED])]
    return np.concatenate(inputs, dtype=np.int32), np.concatenate(labels, dtype=np.int32)


@dataclass(frozen=True)
class MaskedLM(Corruption):
    """BERT: some tokens are masked, and the model predicts them.

    `rate` of the tokens is chosen: the number is rounded at random, so that the expected rate is
    exact, but at least one is chosen. Of these `masked` become the mask token, `random` become a
    random ordinary token, and the rest stays as it is. Special tokens are never chosen; a piece
    that holds only special tokens has no label. Each call chooses anew (dynamic masking: Liu et al.
    2019, section 4.1).

    Source: Devlin et al. 2018, section 3.1 (15 %, 80-10-10); whole words: its later models; spans:
    Lan et al. 2019, section 4.1 (ngram=3, lengths with p(n) ~ 1/n), after Joshi et al. 2019.
    """

    head: ClassVar[str] = "masked_lm"
    loss: ClassVar[str] = "masked_lm"
    fractions: ClassVar[tuple[str, ...]] = ("masked", "random")

    rate: float = 0.15
    """fraction of ordinary tokens (of words, if whole_word) that are chosen"""
    masked: float = 0.8
    """fraction of the chosen that become the mask token"""
    random: float = 0.1
    """fraction of the chosen that become a random token"""
    whole_word: bool = False
    """choose words, all tokens of them, instead of tokens"""
    ngram: int = 1
    """choose spans of up to this many tokens (words, if whole_word)"""
    frame: bool = True
    """put cls in front and sep behind"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(0 < self.rate <= 1, "0 < rate <= 1", rate=self.rate)
        # 0.1 above 1 is an error; 1e-9 is how binary fractions add up.
        fits = self.masked + self.random <= 1 + 1e-9
        self.expect(fits, "masked + random <= 1", masked=self.masked, random=self.random)
        changes = self.masked + self.random > 0
        expected = "masked + random > 0 (all chosen tokens stay as they are, to be copied)"
        self.expect(changes, expected, masked=self.masked, random=self.random)
        self.expect(self.ngram >= 1, "ngram >= 1", ngram=self.ngram)

    @property
    def roles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The special tokens that are needed."""
        return ("mask", "cls", "sep") if self.frame else ("mask",)

    def example(self, piece, rng, vocabulary, other) -> Example:
        masked = self.mask_tokens(self.ids(piece, vocabulary), rng, vocabulary)
        inputs, labels = framed([masked], vocabulary) if self.frame else masked
        return Example({"input_ids": inputs, "labels": labels})

    def mask_tokens(
        self, ids: Int[np.ndarray, " n"], rng: np.random.Generator, vocabulary: Vocabulary
    ) -> Masked:
        """The ids with some tokens masked, and the labels: their original ids, -100 elsewhere."""
        chosen = np.flatnonzero(self._chosen(ids, rng, vocabulary))
        inputs, labels = ids.copy(), np.full(len(ids), IGNORED, np.int32)
        labels[chosen] = ids[chosen]
        choice = rng.random(len(chosen))
        inputs[chosen[choice < self.masked]] = vocabulary.need("mask")
        if self.random:
            drawn = chosen[(choice >= self.masked) & (choice < self.masked + self.random)]
            ordinary = vocabulary.ordinary
            inputs[drawn] = ordinary[rng.integers(len(ordinary), size=len(drawn))]
        return inputs, labels

    def _chosen(self, ids, rng, vocabulary) -> Bool[np.ndarray, " n"]:
        """True at the tokens that are chosen."""
        ordinary = vocabulary.is_ordinary[ids]
        starts = ordinary
        if self.whole_word:
            if vocabulary.continues is None:
                raise ValueError(
                    f"{type(self).__name__}(whole_word=True) needs to know which tokens continue a "
                    "word, which this vocabulary does not say: give Vocabulary(continues=...) or "
                    "set whole_word=False"
                )
            # The first token, and one after a special token, start a word whatever they look like.
            inside = np.asarray(vocabulary.continues)[ids]
            starts = ordinary & ~inside
            starts[1:] |= ordinary[1:] & ~ordinary[:-1]
            starts[0] = ordinary[0]
        total = int(np.count_nonzero(starts))
        if not total:
            return np.zeros(len(ids), bool)
        count = max(round_randomly(self.rate * total, rng), 1)
        if self.ngram == 1:
            units = np.zeros(total, bool)
            units[choose(count, total, rng)] = True
        else:
            lengths = lengths_to(count, lambda size: self._lengths(size, rng), rng)
            units = cover(span_starts(lengths, total, rng), lengths, total)
        return ordinary & units[np.maximum(np.cumsum(starts) - 1, 0)]

    def _lengths(self, size: int, rng: np.random.Generator) -> Int[np.ndarray, " size"]:
        """Lengths from 1 to ngram with p(n) ~ 1/n."""
        ends = np.cumsum(1 / np.arange(1, self.ngram + 1))
        return 1 + np.searchsorted(ends, rng.random(size) * ends[-1], side="right")

    def room(self, length: int) -> int:
        return self.remaining(length, 2 if self.frame else 0)


@dataclass(frozen=True)
class ReplacedToken(MaskedLM):
    """ELECTRA: a generator fills masked positions, a discriminator detects replaced tokens.

    The example is that of masked language modelling; the model has a generator and a
    discriminator (`models/electra_pretraining.py`).

    Source: Clark et al. 2020, sections 2 and 3.2 and appendix A: 15 %, weight 50. The paper masks
    all chosen tokens; its released code, followed here, 85 % and leaves the others. `fraction` is
    that of its small model (its base has 1/3).
    """

    head: ClassVar[str] = "replaced_token_detection"
    loss: ClassVar[str] = "replaced_token"

    masked: float = 0.85
    random: float = 0.0
    fraction: float = 0.25
    """width of the generator, relative to the discriminator's"""
    weight: float = 50.0
    """of the discriminator's loss, relative to the generator's"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(0 < self.fraction <= 1, "0 < fraction <= 1", fraction=self.fraction)
        self.expect(self.weight >= 0, "weight >= 0", weight=self.weight)
