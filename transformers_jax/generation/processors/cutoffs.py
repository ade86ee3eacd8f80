"""What is left of the distribution before a draw: temperature and cut-offs by rank or probability.

Those by entropy are in entropy.py.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, top_k
from transformers_jax.generation.processors.record import (
    BANNED,
    Processor,
    is_banned,
    number,
    record,
    static,
)
from transformers_jax.generation.text import Text


@record
class TemperatureLogitsWarper(Processor):
    """Scores are divided by the temperature: below 1 likely tokens become likelier."""

    temperature: Any

    def __post_init__(self) -> None:
        self.settle(temperature=number(self.temperature))
        self.check("temperature", lambda value: value > 0, "> 0 (0 is do_sample=False)")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return jnp.where(is_banned(scores), scores, scores / self.temperature)


class Cutoff(Processor):
    """Processors that drop tokens: their scores become `filter_value` (-inf), and at least
    `min_tokens_to_keep` stay."""

    filter_value: Any
    min_tokens_to_keep: int

    def check_cutoff(self) -> None:
        least = self.min_tokens_to_keep
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise ValueError(
                f"{type(self).__name__}: min_tokens_to_keep must be a whole number from 1 on, got "
                f"{least!r}"
            )

    def drop(self, dropped: Bool[Array, "R V"], scores: Float[Array, "R V"]) -> Array:
        return jnp.where(dropped, jnp.maximum(self.filter_value, BANNED), scores)

    def below_best(self, scores: Float[Array, "R V"]) -> Bool[Array, "R V"]:
        """Which scores are less than the least of the best `min_tokens_to_keep`."""
        return scores < _worst(scores, self.min_tokens_to_keep)


@record
class TopKLogitsWarper(Cutoff):
    """Keeps the `top_k` best tokens, and ties with the last of them."""

    top_k: int = static()
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1:
            raise ValueError(
                f"TopKLogitsWarper: top_k must be a whole number from 1 on, got {self.top_k!r}"
            )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        count = max(self.top_k, self.min_tokens_to_keep)
        return self.drop(scores < _worst(scores, count), scores)


@record
class TopPLogitsWarper(Cutoff):
    """Keeps the fewest best tokens whose probabilities sum to `top_p`.

    Source: Holtzman et al. 2020, section 3.1.
    """

    top_p: Any
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        self.settle(top_p=number(self.top_p))
        self.check("top_p", lambda value: 0 <= value <= 1, "in [0, 1]")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        # of equal scores the last counts as the best, as where they are sorted in ascending order
        chance = jax.nn.softmax(scores, axis=-1)[:, ::-1]
        kept = first_with_mass(scores[:, ::-1], chance, self.top_p, self.min_tokens_to_keep)
        return self.drop(~kept[:, ::-1], scores)


@record
class MinPLogitsWarper(Cutoff):
    """Keeps tokens with at least `min_p` times the probability of the best.

    Source: Nguyen et al. 2024, section 3.
    """

    min_p: Any
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        self.settle(min_p=number(self.min_p))
        self.check("min_p", lambda value: 0 <= value <= 1, "in [0, 1]")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        chance = jax.nn.softmax(scores, axis=-1)
        dropped = chance < self.min_p * chance.max(axis=-1, keepdims=True)
        best = top_k(chance, min(self.min_tokens_to_keep, scores.shape[1]))[1]
        dropped = dropped.at[jnp.arange(len(scores))[:, None], best].set(False)
        return self.drop(dropped, scores)


@record
class EpsilonLogitsWarper(Cutoff):
    """Keeps tokens with a probability of at least `epsilon`, or the best.

    Source: Hewitt et al. 2022, section 4.
    """

    epsilon: Any
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        self.settle(epsilon=number(self.epsilon))
        self.check("epsilon", lambda value: 0 < value < 1, "in (0, 1)")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        unlikely = jax.nn.softmax(scores, axis=-1) < self.epsilon
        return self.drop(unlikely & self.below_best(scores), scores)


HEAD = 256
"""Tokens that are looked at first: sorting a vocabulary takes a CPU longer than many a model."""


def first_with_mass(
    worth: Float[Array, "R V"], chance: Float[Array, "R V"], mass: Any, least: int
) -> Bool[Array, "R V"]:
    """The tokens of the greatest worth until their probabilities sum to `mass`, at least so many;
    of those of equal worth the first come first. All where a probability is NaN."""
    rows, vocab = jnp.arange(len(worth))[:, None], worth.shape[1]

    def among(count: int) -> tuple[Bool[Array, "R V"], Bool[Array, ""]]:
        """The tokens, of the best `count`, and whether there can be no others."""
        if count < vocab:
            order = top_k(worth, count)[1]
        else:
            order = jnp.argsort(-worth, axis=-1)
        each = jnp.take_along_axis(chance, order, axis=-1)
        before = jnp.cumsum(each, axis=-1) - each
        kept = ~(before >= mass) | (jnp.arange(count) < least)
        return jnp.zeros(worth.shape, bool).at[rows, order].set(kept), ~kept[:, -1].any()

    if vocab <= 4 * HEAD:
        return among(vocab)[0]
    few, whole = among(HEAD)
    return jax.lax.cond(whole, lambda: few, lambda: among(vocab)[0])


def _worst(scores: Float[Array, "R V"], count: int) -> Float[Array, "R 1"]:
    """The least of the `count` best scores."""
    return top_k(scores, min(count, scores.shape[1]))[0][:, -1:]
