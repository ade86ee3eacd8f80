"""Routers: which experts serve a token, and how much each counts.

A router is a frozen record in the one slot `ExpertsSpec.router`: a function of the scores of all
experts. What its parameters are is said by `bias` and `corrected`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int, wide

LEAST = 1e-20
"""Added to a sum of sigmoids before the division by it (DeepSeek-V3's released code)."""


class Routes(NamedTuple):
    """The experts of each token, and how much each counts.

    Attributes:
        expert: in the order of their scores; E where an expert has no room for the token.
        weight: float32; zero where an expert has no room for the token.
    """

    expert: Int[Array, "*b k"]
    weight: Float[Array, "*b k"]


@dataclass(frozen=True)
class Router:
    """How the scores of a token become its experts and their weights.

    Attributes:
        bias: whether a bias is added to the scores.
    """

    bias: bool = False

    corrected: ClassVar[bool] = False
    """Whether there is a number per expert that is added where experts are chosen, and only there:
    no gradient reaches it, and no optimizer changes it."""

    def routes(
        self, logits: Float[Array, "*b E"], top: int, correction: Float[Array, " E"] | None = None
    ) -> Routes:
        """The `top` experts of each token, from scores in float32."""
        raise NotImplementedError

    def check(self, count: int, top: int) -> None:
        """Refuses numbers of experts, E and k, that do not fit.

        Raises:
            ValueError: such numbers.
        """


@dataclass(frozen=True)
class Softmax(Router):
    """The softmax over all experts, of which the k largest are taken (Switch, Mixtral).

    Attributes:
        normalise: whether the weights of a token are divided by their sum.
    """

    normalise: bool = False

    def routes(self, logits, top, correction=None):
        weight, expert = jax.lax.top_k(jax.nn.softmax(logits, -1), top)
        return Routes(expert, weight / weight.sum(-1, keepdims=True) if self.normalise else weight)


@dataclass(frozen=True)
class SoftmaxOfTop(Router):
    """The softmax over the k largest scores (gpt-oss)."""

    def routes(self, logits, top, correction=None):
        scores, expert = jax.lax.top_k(logits, top)
        return Routes(expert, jax.nn.softmax(scores, -1))


@dataclass(frozen=True)
class Sigmoid(Router):
    """The sigmoid of each score by itself; experts are chosen among the best groups of experts, by
    scores to which a correction is added (Liu et al. 2024, DeepSeek-V3, 2.1.2).

    Attributes:
        groups: of how many groups, side by side, experts are.
        kept: how many groups of a token serve it: those whose two best experts have the largest
            sum. (The paper adds the best k / kept of each group, which is two where k = 2 kept.)
        masked: the score of experts in other groups, among which the k best are chosen. At
            -infinity none of them is. transformers 4 had 0, of which experts whose corrected score
            is negative lose: then a token is served by experts outside of its groups.
        normalise: whether the weights of a token are divided by their sum.
        scale: multiplies the weights.
    """

    groups: int = 1
    kept: int = 1
    masked: float = -math.inf
    normalise: bool = False
    scale: float = 1.0

    corrected = True

    def routes(self, logits, top, correction=None):
        scores = jax.nn.sigmoid(logits)
        chosen_by = scores if correction is None else scores + correction
        if self.groups > 1:
            grouped = chosen_by.reshape(*chosen_by.shape[:-1], self.groups, -1)
            best = jax.lax.top_k(grouped, 2)[0].sum(-1)
            kept = jax.nn.one_hot(jax.lax.top_k(best, self.kept)[1], self.groups).sum(-2) > 0
            chosen_by = jnp.where(kept[..., None], grouped, self.masked).reshape(scores.shape)
        expert = jax.lax.top_k(chosen_by, top)[1]
        weight = jnp.take_along_axis(scores, expert, -1)
        if self.normalise:
            weight = weight / (weight.sum(-1, keepdims=True) + LEAST)
        return Routes(expert, weight * self.scale)

    def check(self, count, top):
        if self.groups < 1 or count % self.groups or not 1 <= self.kept <= self.groups:
            raise ValueError(
                f"groups ({self.groups}) of experts must divide their number ({count}), and those "
                f"that are kept ({self.kept}) lie between 1 and {self.groups}"
            )
        size = count // self.groups
        if self.groups > 1 and (size < 2 or size * self.kept < top):
            raise ValueError(
                f"{self.kept} of {self.groups} groups of {size} experts: a group needs at least 2, "
                f"and the groups of a token at least the {top} experts that serve it"
            )


def routed(router: Router, logits: Float[Array, "*b E"], top: int, correction=None) -> Routes:
    """The experts of each token, in int32, from scores of any dtype."""
    logits = logits.astype(wide(logits))
    expert, weight = router.routes(logits, top, correction)
    return Routes(expert.astype(jnp.int32), weight)
