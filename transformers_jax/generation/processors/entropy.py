"""Cut-offs that depend on the entropy of the distribution."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, top_k
from transformers_jax.generation.processors.cutoffs import Cutoff, first_with_mass
from transformers_jax.generation.processors.record import BANNED, Processor, number, record, static
from transformers_jax.generation.text import Text

TOP_H_CANDIDATES = 100
"""Of so many best tokens `TopHLogitsWarper` looks at the entropy, as transformers."""


@record
class TopHLogitsWarper(Processor):
    """Keeps best tokens as long as the entropy that they add up to is at most `top_h` times that
    of the 100 best. Source: Potraghloo et al. 2025, algorithm 1."""

    top_h: Any
    filter_value: Any = -jnp.inf

    def __post_init__(self) -> None:
        self.settle(top_h=number(self.top_h))
        self.check("top_h", lambda value: 0 < value <= 1, "in (0, 1]")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        count = min(TOP_H_CANDIDATES, scores.shape[1])
        best, index = top_k(scores, count)
        chance = jax.nn.softmax(best, axis=-1)
        added = jnp.cumsum(_surprise(chance, jnp.log(chance)), axis=-1)
        most = _entropy(best) * self.top_h
        kept = ((added <= most) & (chance > 0)).at[:, 0].set(True)
        rows = jnp.arange(len(scores))[:, None]
        kept = jnp.zeros(scores.shape, bool).at[rows, index].set(kept)
        return jnp.where(kept, scores, jnp.maximum(self.filter_value, BANNED))


@record
class TypicalLogitsWarper(Cutoff):
    """Keeps the tokens whose surprise is nearest to the entropy, until their probabilities sum to
    `mass`. Source: Meister et al. 2022, section 4."""

    mass: Any = 0.9
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        self.settle(mass=number(self.mass))
        self.check("mass", lambda value: 0 < value < 1, "in (0, 1)")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        log_chance = jax.nn.log_softmax(scores, axis=-1)
        entropy = _surprise(jnp.exp(log_chance), log_chance).sum(-1, keepdims=True)
        distance = jnp.abs(-log_chance - entropy)
        chance = jnp.exp(log_chance)
        kept = first_with_mass(-distance, chance, self.mass, 1)
        furthest = jnp.where(kept, distance, -jnp.inf).max(axis=-1, keepdims=True)
        kept |= distance <= furthest  # those that are as near as the last
        if self.min_tokens_to_keep > 1:
            kept |= first_with_mass(-distance, chance, self.mass, self.min_tokens_to_keep)
        return self.drop(~kept, scores)


@record
class EtaLogitsWarper(Cutoff):
    """Keeps tokens with a probability of at least min(epsilon, sqrt(epsilon) * exp(-entropy)), or
    the best. Source: Hewitt et al. 2022, section 4."""

    epsilon: Any
    filter_value: Any = -jnp.inf
    min_tokens_to_keep: int = static(default=1)

    def __post_init__(self) -> None:
        self.check_cutoff()
        self.settle(epsilon=number(self.epsilon))
        self.check("epsilon", lambda value: 0 < value < 1, "in (0, 1)")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        epsilon = jnp.asarray(self.epsilon, scores.dtype)
        eta = jnp.minimum(epsilon, jnp.sqrt(epsilon) * jnp.exp(-_entropy(scores)))
        unlikely = jax.nn.softmax(scores, axis=-1) < eta
        return self.drop(unlikely & self.below_best(scores), scores)


def _surprise(chance: Array, log_chance: Array) -> Array:
    """What each token adds to the entropy; 0 of what is impossible."""
    return jnp.where(chance > 0, -chance * jnp.where(chance > 0, log_chance, 0), 0)


def _entropy(scores: Float[Array, "R V"]) -> Float[Array, "R 1"]:
    log_chance = jax.nn.log_softmax(scores, axis=-1)
    return _surprise(jnp.exp(log_chance), log_chance).sum(-1, keepdims=True)
