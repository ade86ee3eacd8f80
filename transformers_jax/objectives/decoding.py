"""Predictions from left to right: causal and prefix language models, and filling in the middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.graph import CAUSAL, Mask, Same, Where
from transformers_jax.objectives.example import IGNORED, Causal, Example


def _after(ids: Int[np.ndarray, " n"], first: int = 1) -> dict[str, np.ndarray]:
    """Ids with labels in place, from position `first` on; the loss shifts them."""
    labels = ids.copy()
    labels[: max(first, 1)] = IGNORED
    return {"input_ids": ids, "labels": labels}


@dataclass(frozen=True)
class CausalLM(Causal):
    """GPT: every token is predicted from those before it.

    The first token of a piece is no target, so a piece of one token has none. Ends of documents
    are part of the text.

    Source: Radford et al. 2018, section 3.1, equation 1.
    """

    def example(self, piece, rng, vocabulary, other) -> Example:
        return Example(_after(self.ids(piece).copy()))


@dataclass(frozen=True)
class PrefixLM(Causal):
    """A prefix that attends to itself in both directions; the rest is predicted from left to right.

    The piece is cut at a uniform position that leaves at least one target; the only target of one
    of up to `minimum` tokens is its last, and one of a single token has none.

    Source: Raffel et al. 2019, sections 3.2.1 and 3.3.1.
    """

    minimum: int = 1
    """fewest tokens of a prefix"""

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = "a prefix of at least 1 token (without one it is CausalLM)"
        self.expect(self.minimum >= 1, expected, minimum=self.minimum)

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece).copy()
        last = len(ids) - 1
        cut = int(rng.integers(self.minimum, last + 1)) if last > self.minimum else last
        prefix = (np.arange(len(ids)) < cut).astype(np.int32)
        return Example(_after(ids, cut), tags={"prefix": prefix})

    def mask(self, packed: bool) -> Mask:
        mask = CAUSAL | Where("prefix")
        return mask & Same("document") if packed else mask


@dataclass(frozen=True)
class FillInTheMiddle(Causal):
    """Causal language modelling in which some pieces have their middle moved to the end.

    A piece is cut at two positions, uniform over all of them, into prefix, middle and suffix, any
    of which may be empty:

        PSM   <fim_prefix> prefix <fim_suffix> suffix <fim_middle> middle
        SPM   <fim_prefix> <fim_suffix> suffix <fim_middle> prefix middle

    An end-of-document token at the end of the piece stays there: it says that the middle is joined
    to the suffix. All tokens but the first are targets; pieces left in order are as in CausalLM.

    Source: Bavarian et al. 2022, section 3 (SPM as trained jointly) and section 4 (rates); cuts
    fall between tokens, not characters.
    """

    roles: ClassVar[tuple[str, ...]] = ("fim_prefix", "fim_middle", "fim_suffix")
    fractions: ClassVar[tuple[str, ...]] = ("rate", "spm")

    rate: float = 0.5
    """fraction of pieces that are rearranged"""
    spm: float = 0.5
    """fraction of these in which the suffix comes first"""

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        if rng.random() >= self.rate:
            return Example(_after(ids.copy()))
        ended = len(ids) - int(ids[-1] == vocabulary.special.get("eos", -1))
        body, end = ids[:ended], ids[ended:]
        low, high = np.sort(rng.integers(0, ended + 1, size=2))
        front, middle, back = body[:low], body[low:high], body[high:]
        prefix, mid, suffix = (np.array([vocabulary.need(r)], np.int32) for r in self.roles)
        parts = [prefix, front, suffix, back, mid, middle, end]
        if rng.random() < self.spm:
            parts = [prefix, suffix, back, mid, front, middle, end]
        return Example(_after(np.concatenate(parts)))

    def room(self, length: int) -> int:
        return self.remaining(length, 2)
