"""Text infilling and shuffled sentences: BART."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transformers_jax.objectives.example import Example, Seq2Seq
from transformers_jax.objectives.spans import cover, lengths_to, round_randomly, span_starts


@dataclass(frozen=True)
class Denoising(Seq2Seq):
    """BART: sentences are shuffled, spans become a mask token, and the decoder writes it all.

    `rate` of the tokens is hidden (the number is rounded at random, so the expected rate is exact)
    in spans of Poisson lengths. A span of length 0 puts in a mask that hides nothing. There are at
    most as many spans as hidden tokens, so the encoder's side is never longer than the text.
    Both sides stand between bos and eos; the decoder's input is one behind and starts with eos.
    A piece of one sentence has nothing to shuffle.

    Source: Lewis et al. 2019, sections 2.2 and 5 (30 %, lambda = 3, all sentences permuted).
    """

    roles: ClassVar[tuple[str, ...]] = ("pad", "bos", "eos", "mask")
    fractions: ClassVar[tuple[str, ...]] = ("rate",)

    rate: float = 0.3
    """fraction of tokens that are hidden"""
    mean_span: float = 3.0
    """lambda of the Poisson distribution of span lengths, in tokens"""
    permute: bool = True
    """whether sentences are shuffled"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mean_span <= 0:
            raise ValueError(f"Denoising: expected mean_span > 0, came {self.mean_span}")

    @property
    def sentences(self) -> bool:  # type: ignore[override]
        """Whether it needs to know where sentences start."""
        return self.permute

    def example(self, piece, rng, words, other) -> Example:
        ids = self.ids(piece, words)
        bos, eos = (np.array([words.need(r)], np.int32) for r in ("bos", "eos"))
        labels = np.concatenate([bos, ids, eos])
        source = np.concatenate(
            [bos, self._infill(self._shuffled(ids, piece.breaks, rng), rng, words), eos]
        )
        behind = np.concatenate([eos, labels[:-1]])
        return Example({"input_ids": source}, {"decoder_input_ids": behind, "labels": labels})

    def _shuffled(self, ids, breaks, rng) -> np.ndarray:
        if not self.permute or len(breaks) < 2:
            return ids
        sentences = np.split(ids, breaks[1:])
        return np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])

    def _infill(self, ids, rng, words) -> np.ndarray:
        """Spans of the ids as one mask token each."""
        count = round_randomly(self.rate * len(ids), rng)
        if not count:
            return ids
        lengths = lengths_to(count, lambda size: rng.poisson(self.mean_span, size), rng)
        starts = span_starts(lengths, len(ids), rng)
        kept = ~cover(starts, lengths, len(ids))
        # Each mask goes before the first kept token at or after its span.
        before = np.concatenate([[0], np.cumsum(kept)])[starts]
        out = np.empty(len(ids) - count + len(lengths), np.int32)
        masks = np.zeros(len(out), bool)
        masks[before + np.arange(len(lengths))] = True
        out[masks] = words.need("mask")
        out[~masks] = ids[kept]
        return out

    def room(self, length: int) -> int:
        return self.beside(length, 2)

    def target_width(self, length: int) -> int:
        return self.room(length) + 2
