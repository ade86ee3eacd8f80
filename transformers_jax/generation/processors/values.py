"""The scores as numbers: without invalid ones, or as log-probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.generation.processors.record import Processor, is_banned, record
from transformers_jax.generation.text import Text, whole_rows


@record
class InfNanRemoveLogitsProcessor(Processor):
    """NaN becomes 0, and infinities the greatest and least finite numbers; what is banned becomes
    the least as well.

    A row with an id out of range, which ends at once inside `jax.jit`, has scores of NaN: with this
    processor it goes on.
    """

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        limits = jnp.finfo(scores.dtype)
        scores = jnp.where(jnp.isnan(scores), 0.0, scores)
        scores = jnp.where(scores == jnp.inf, limits.max, scores)
        return jnp.where(is_banned(scores), limits.min, scores)

    def __call__(self, input_ids: Int[Array, "B T"], scores: Float[Array, "B V"]) -> Array:
        return self.process(whole_rows(input_ids), jnp.asarray(scores))


@record
class LogitNormalization(Processor):
    """Log-probabilities among what is left (Marian's beams compare sums of them)."""

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        return jax.nn.log_softmax(scores, axis=-1)
