"""The finished texts of beams: the best of each prompt, and whether a better one may come."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, top_k
from transformers_jax.generation.job import Job

NEVER = -1e20
"""Score of an unused slot among the running beams: below every sum of log-probabilities (which
options may scale within `SCALE_LIMITS`) and above the score of banned tokens. An unused slot among
the hypotheses has the score -inf, because `length_penalty` may make theirs arbitrarily low."""


class Hypotheses(NamedTuple):
    """Finished beams, best first. Slots that are still empty have the score -inf."""

    ids: Int[Array, "B N W"]
    score: Float[Array, "B N"]
    length: Int[Array, "B N"]
    real: Bool[Array, "B N"]


def no_hypotheses(ids: Int[Array, "B N W"]) -> Hypotheses:
    """Empty slots, with these texts."""
    shape = ids.shape[:2]
    score, length = jnp.full(shape, -jnp.inf), jnp.zeros(shape, jnp.int32)
    return Hypotheses(ids, score, length, jnp.zeros(shape, bool))


def best_of(old: Hypotheses, new: Hypotheses, count: int) -> Hypotheses:
    """The best `count` of both."""
    return top(joined(old, new), count)


def joined(one: Hypotheses, other: Hypotheses) -> Hypotheses:
    """The slots of both, one after the other."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), one, other)


def top(hypotheses: Hypotheses, count: int) -> Hypotheses:
    """The best `count` of each row, best first."""
    best = top_k(hypotheses.score, count)[1]
    return jax.tree.map(lambda x: pick(x, best), hypotheses)


def may_improve(
    best_running: Float[Array, " B"], finished: Hypotheses, length: Int[Array, ""], job: Job
) -> Bool[Array, " B"]:
    """Whether the best running beam could still become better than the worst hypothesis.

    By default its score is normalised by the present length; with early_stopping="never" and a
    penalty that favours long texts, by the greatest length it could reach.
    """
    penalty = job.length_penalty
    if job.options.early_stopping == "never":
        length = jnp.where(penalty > 0, job.limit, length)
    attainable = best_running / length.astype(jnp.float32) ** penalty
    worst = jnp.where(finished.real.all(axis=1), finished.score.min(axis=1), -jnp.inf)
    return attainable > worst


def pick(x: Array, index: Int[Array, "B C"]) -> Array:
    """x[b, index[b, c]] for every b and c."""
    return x[jnp.arange(x.shape[0])[:, None], index]
