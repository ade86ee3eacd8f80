"""Losses of the distance of vectors, in which every row counts by itself: how alike two texts are,
and that of two others one is nearer.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.nn.norm import unit
from transformers_jax.objectives.pairs import ComparesRows, check_shapes, floats, sum_of_known


@dataclass(frozen=True)
class CosineSimilarity(ComparesRows):
    """The mean squared difference of the cosine of two vectors from a number, the label (Reimers
    and Gurevych 2019, section 3, "Regression Objective Function"; sentence-transformers'
    CosineSimilarityLoss)."""

    def of(self, vectors, known=None, labels=None):
        """(mean loss, what is reported of it) of anchors and positives."""
        check_shapes(vectors, least=2)
        if labels is None or len(vectors) > 2:
            raise ValueError(
                f"the cosine of two texts is compared with a label; {len(vectors)} texts came, "
                f"{'without' if labels is None else 'with'} labels"
            )
        first, second = map(unit, floats(vectors))
        losses = jnp.square((first * second).sum(-1) - labels)
        total, count = sum_of_known(losses, known), _count(losses, known)
        return total / count, {"loss": (total, count)}


@dataclass(frozen=True)
class Triplet(ComparesRows):
    """max(|a - p| - |a - n| + margin, 0) with Euclidean distances, the mean over all negatives
    (Schroff et al. 2015; Reimers and Gurevych 2019, section 3, "Triplet Objective Function", with
    a margin of 1).

    `accuracy` is the share of triplets whose positive is nearer.
    """

    margin: float = 1.0

    def __post_init__(self):
        if not self.margin > 0:
            raise ValueError(f"margin ({self.margin}) must be above 0")

    def of(self, vectors, known=None, labels=None):
        """(mean loss, what is reported of it) of anchors, positives and negatives."""
        check_shapes(vectors, least=3)
        anchor, positive, *negatives = floats(vectors)
        near = _distance(anchor, positive)
        far = jnp.stack([_distance(anchor, one) for one in negatives])
        losses = jnp.maximum(near - far + self.margin, 0.0).sum(0)
        count = _count(losses, known) * len(negatives)
        total, right = sum_of_known(losses, known), sum_of_known((near < far).sum(0) * 1.0, known)
        return total / count, {"loss": (total, count), "accuracy": (right, count)}


def _count(rows: Array, known: Array | None) -> Float[Array, ""]:
    """How many rows count, at least one."""
    if known is None:
        return jnp.float32(len(rows))
    return jnp.maximum(known.sum(), 1).astype(jnp.float32)


def _distance(a: Float[Array, "B E"], b: Float[Array, "B E"]) -> Float[Array, " B"]:
    """Euclidean; 0 with gradient 0 where both are equal."""
    squares = jnp.square(a - b).sum(-1)
    return jnp.sqrt(jnp.where(squares > 0, squares, 1.0)) * (squares > 0)
