"""Groups of beams that differ: what one group writes becomes less likely for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.generation.processors.record import Processor, copied, number, record
from transformers_jax.generation.text import Text


@record
class HammingDiversity(Processor):
    """Takes a penalty off the score of a token for every beam of an earlier group that has just
    written it. Source: Vijayakumar et al. 2016, section 4 (Hamming diversity).

    Attributes:
        penalty: taken off for each.
        used: how often the earlier groups of each prompt have written each token in this step.
    """

    penalty: Any
    used: Float[Array, "B V"] | None = None

    def __post_init__(self) -> None:
        self.settle(penalty=number(self.penalty))

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        if self.used is None:  # of the first group
            return scores
        return scores - self.penalty * copied(self.used, len(scores))


def with_used(
    processors: tuple[Processor, ...], tokens: Int[Array, "B N"] | None, vocabulary: int
) -> tuple[Processor, ...]:
    """The processors of a group, with the tokens that the groups before it have written."""
    if tokens is None:
        return processors
    used = jax.nn.one_hot(tokens, vocabulary, dtype=jnp.float32).sum(axis=1)
    return tuple(
        replace(one, used=used) if isinstance(one, HammingDiversity) else one for one in processors
    )
