"""What is left of the distribution before a draw: temperature and cut-offs by rank or probability.

Those by entropy are in entropy.py.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float
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
        vocab = scores.shape[1]
        order = jnp.argsort(scores, axis=-1)  # ascending: what is dropped comes first
        ascending = jnp.take_along_axis(scores, order, axis=-1)
        below = jnp.cumsum(jax.nn.softmax(ascending, axis=-1), axis=-1)
        dropped = below <= 1 - self.top_p
        dropped &= jnp.arange(vocab) < vocab - self.min_tokens_to_keep
        return self.drop(unsorted(dropped, order), scores)


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
        best = jax.lax.top_k(chance, min(self.min_tokens_to_keep, scores.shape[1]))[1]
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


def unsorted(values: Array, order: Array) -> Array:
    """Values of sorted tokens at the places of the tokens."""
    rows = jnp.arange(values.shape[0])[:, None]
    return jnp.zeros_like(values).at[rows, order].set(values)


def _worst(scores: Float[Array, "R V"], count: int) -> Float[Array, "R 1"]:
    """The least of the `count` best scores."""
    return jax.lax.top_k(scores, min(count, scores.shape[1]))[0][:, -1:]
