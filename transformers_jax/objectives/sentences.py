"""Objectives over sentences: next sentence (BERT), sentence order (ALBERT), gap sentences (PEGASUS)
and denoising of masked spans and shuffled sentences (BART)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from transformers_jax.arrays import Bool, Float, Int
from transformers_jax.objectives.example import IGNORED, Corruption, Example, Piece, Seq2Seq
from transformers_jax.objectives.masking import MaskedLM, framed
from transformers_jax.objectives.spans import (
    cover,
    lengths_to,
    round_randomly,
    span_starts,
    target_side,
)
from transformers_jax.objectives.vocabulary import Vocabulary


class _Segments(Corruption):
    """[CLS] A [SEP] B [SEP], tokens masked in both, and one label of A and B."""

    head: ClassVar[str] = "pretraining"
    loss: ClassVar[str] = "pretraining"
    roles: ClassVar[tuple[str, ...]] = ("mask", "cls", "sep")
    sentences: ClassVar[bool] = True
    single: ClassVar[bool] = True

    masking: MaskedLM

    def pair(self, first, second, label: int, rng, vocabulary: Vocabulary) -> Example:
        """The example of two segments and their label."""
        # each by itself, so that no masked span runs from one segment into the other
        masked = [self.masking.mask_tokens(segment, rng, vocabulary) for segment in (first, second)]
        inputs, labels = framed(masked, vocabulary)
        types = (np.arange(len(inputs)) > len(first) + 1).astype(np.int32)
        tokens = {"input_ids": inputs, "labels": labels, "token_type_ids": types}
        return Example(tokens, once={"next_sentence_label": label})

    def room(self, length: int) -> int:
        # Two, because even a piece of one token gets a second segment.
        return self.remaining(length, 3, 2)


def _cut(breaks: Int[np.ndarray, " s"], n: int, rng: np.random.Generator) -> int:
    """Where a text of n tokens is cut in two: a random sentence start, else its middle token."""
    if len(breaks) > 1:
        return int(breaks[rng.integers(1, len(breaks))])
    return max(n // 2, 1)


@dataclass(frozen=True)
class NextSentence(_Segments):
    """BERT: masked tokens, and whether segment B follows segment A (0) or is from elsewhere (1).

    The piece is cut at a random sentence start; one of a single sentence, at its middle token, so
    that the label does not depend on how many sentences there are. B is the rest of the piece or,
    in `random` of the examples, as many tokens of another document, from a sentence start that
    leaves enough of them if there is one. A piece of one token has nothing that follows: its B is
    always from elsewhere. In `short` of the examples the piece is first cut to a random length,
    uniform from 2 tokens.

    Source: Devlin et al. 2018, section 3.1 (half random) and appendix A.2; 10 % short: its code.
    """

    fractions: ClassVar[tuple[str, ...]] = ("random", "short")

    masking: MaskedLM = MaskedLM()
    """how tokens are masked in both segments"""
    random: float = 0.5
    """fraction of examples whose second segment is from another document"""
    short: float = 0.1
    """fraction of examples that are made shorter than they could be"""

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids, breaks = self.ids(piece, vocabulary), np.asarray(piece.breaks)
        if rng.random() < self.short and len(ids) > 2:
            ids = ids[: rng.integers(2, len(ids) + 1)]
            breaks = breaks[breaks < len(ids)]
        cut = _cut(breaks, len(ids), rng)
        first, second = ids[:cut], ids[cut:]
        elsewhere = rng.random() < self.random or not len(second)
        if elsewhere:
            second = self._from(other(), max(len(second), 1), rng)
        return self.pair(first, second, int(elsewhere), rng, vocabulary)

    def _from(self, piece: Piece, count: int, rng: np.random.Generator) -> Int[np.ndarray, " m"]:
        ids, breaks = self.ids(piece), np.asarray(piece.breaks)
        starts = breaks[breaks <= len(ids) - count]
        start = int(starts[rng.integers(len(starts))]) if len(starts) else 0
        return ids[start : start + count]


@dataclass(frozen=True)
class SentenceOrder(_Segments):
    """ALBERT: masked tokens, and whether two consecutive segments are in order (0) or swapped (1).

    The piece is cut at a random sentence start; one of a single sentence, at its middle token. A
    piece of one token has no second segment and no label (-100). The label has the name
    that BERT's head gives its own, `next_sentence_label`.

    Source: Lan et al. 2019, section 3.1 (order), section 4.1 (words masked in spans of up to 3).
    """

    fractions: ClassVar[tuple[str, ...]] = ("swapped",)

    masking: MaskedLM = MaskedLM(ngram=3)
    """how tokens are masked in both segments"""
    swapped: float = 0.5
    """fraction of examples whose segments are swapped"""

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        cut = _cut(np.asarray(piece.breaks), len(ids), rng)
        first, second = ids[:cut], ids[cut:]
        if not len(second):
            return self.pair(first, second, IGNORED, rng, vocabulary)
        swapped = rng.random() < self.swapped
        if swapped:
            first, second = second, first
        return self.pair(first, second, int(swapped), rng, vocabulary)


Choice = Literal["principal", "random", "lead"]


@dataclass(frozen=True)
class GapSentences(Seq2Seq):
    """PEGASUS: whole sentences become one mask token each, and the decoder writes them.

    `rate` of the sentences is masked: the number is rounded, at least one, and one always stays.
    `principal` takes those that say most of the rest, each scored for itself against all others by
    ROUGE-1 F1 over token ids counted with repetition (the paper's Ind-Orig; the first of equals
    wins); `random` and `lead` are its other two. The target is the masked sentences in the order of
    the text. Both sides end with eos, and the decoder starts with pad.

    A piece of one sentence is cut at its middle token into two; a single token is masked.

    Source: Zhang et al. 2019, section 3.1, and section 6.1.2 (30 %). The masked language model on
    the encoder's side is left out, as in the paper's large model (section 6.1.2).
    """

    roles: ClassVar[tuple[str, ...]] = ("pad", "eos", "mask")
    fractions: ClassVar[tuple[str, ...]] = ("rate",)
    sentences: ClassVar[bool] = True

    rate: float = 0.3
    """fraction of sentences that are masked"""
    choice: Choice = "principal"
    """which sentences are masked"""

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        starts = np.asarray(piece.breaks)
        if len(starts) < 2:
            starts = np.unique([0, len(ids) // 2])
        sentence = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(ids)))
        masked = self._masked(ids, sentence, len(starts), rng)
        source = ids.copy()
        source[starts[masked]] = vocabulary.need("mask")
        removed = masked[sentence]
        visible = ~removed
        visible[starts] = True
        eos = np.int32(vocabulary.need("eos"))
        target = target_side(np.append(ids[removed], eos), vocabulary)
        return Example({"input_ids": np.append(source[visible], eos)}, target)

    def _masked(self, ids, sentence, total: int, rng) -> Bool[np.ndarray, " total"]:
        """True at the sentences that are masked."""
        count = max(min(round(self.rate * total), total - 1), 1)
        if self.choice == "lead":
            order = np.arange(total)
        elif self.choice == "random":
            order = rng.permutation(total)
        else:
            order = np.argsort(-rouge_1(ids, sentence, total), kind="stable")
        masked = np.zeros(total, bool)
        masked[order[:count]] = True
        return masked

    def room(self, length: int) -> int:
        # Masked sentences of one token each make the source no shorter.
        return self.remaining(length, 1)

    def target_width(self, length: int) -> int:
        # All but a sentence of one token, and eos; a single token is the whole target.
        return max(self.room(length), 2)


def rouge_1(
    ids: Int[np.ndarray, " n"], sentence: Int[np.ndarray, " n"], total: int
) -> Float[np.ndarray, " total"]:
    """ROUGE-1 F1 of each sentence against all others together; `sentence` numbers the tokens."""
    _, word = np.unique(ids, return_inverse=True)
    pairs, count = np.unique(word * total + sentence, return_counts=True)
    # Overlap with the rest: of each token, the lesser of its two counts.
    rest = np.bincount(word)[pairs // total] - count
    shared = np.bincount(pairs % total, np.minimum(count, rest), total)
    # F1 = 2 shared / (length of the sentence + length of the rest), and these add up to n.
    return 2 * shared / len(ids)


@dataclass(frozen=True)
class Denoising(Seq2Seq):
    """BART: sentences are shuffled, spans are masked, and the decoder writes the whole text.

    `rate` of the tokens is masked (the number is rounded at random, so the expected rate is exact)
    in spans of Poisson lengths. A span of length 0 inserts a mask token. There are at
    most as many spans as masked tokens, so the encoder's side is never longer than the text.
    Both sides are framed by bos and eos; the decoder's input is one behind and starts with eos.
    A piece of one sentence has nothing to shuffle.

    Source: Lewis et al. 2019, sections 2.2 and 5 (30 %, lambda = 3, all sentences permuted).
    """

    roles: ClassVar[tuple[str, ...]] = ("pad", "bos", "eos", "mask")
    fractions: ClassVar[tuple[str, ...]] = ("rate",)

    rate: float = 0.3
    """fraction of tokens that are masked"""
    mean_span: float = 3.0
    """lambda of the Poisson distribution of span lengths, in tokens"""
    permute: bool = True
    """whether sentences are shuffled"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(self.mean_span > 0, "mean_span > 0", mean_span=self.mean_span)

    @property
    def sentences(self) -> bool:  # type: ignore[override]
        """Whether it needs to know where sentences start."""
        return self.permute

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        bos, eos = (np.array([vocabulary.need(r)], np.int32) for r in ("bos", "eos"))
        labels = np.concatenate([bos, ids, eos])
        source = np.concatenate(
            [bos, self._infill(self._shuffled(ids, piece.breaks, rng), rng, vocabulary), eos]
        )
        decoder_input_ids = np.concatenate([eos, labels[:-1]])
        return Example(
            {"input_ids": source}, {"decoder_input_ids": decoder_input_ids, "labels": labels}
        )

    def _shuffled(self, ids, breaks, rng) -> np.ndarray:
        if not self.permute or len(breaks) < 2:
            return ids
        sentences = np.split(ids, breaks[1:])
        return np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])

    def _infill(self, ids, rng, vocabulary) -> np.ndarray:
        """Spans of the ids as one mask token each."""
        count = round_randomly(self.rate * len(ids), rng)
        if not count:
            return ids
        lengths = lengths_to(count, lambda size: rng.poisson(self.mean_span, size), rng)
        starts = span_starts(lengths, len(ids), rng)
        visible = ~cover(starts, lengths, len(ids))
        # Each mask goes before the first visible token at or after its span.
        before = np.concatenate([[0], np.cumsum(visible)])[starts]
        out = np.empty(len(ids) - count + len(lengths), np.int32)
        masks = np.zeros(len(out), bool)
        masks[before + np.arange(len(lengths))] = True
        out[masks] = vocabulary.need("mask")
        out[~masks] = ids[visible]
        return out

    def room(self, length: int) -> int:
        return self.remaining(length, 2)

    def target_width(self, length: int) -> int:
        return self.room(length) + 2
