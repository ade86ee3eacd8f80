"""The loss of connectionist temporal classification (Graves et al. 2006): -log of the probability
of all ways to spread a text over frames."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from transformers_jax.arrays import Array, Bool, Float, Int, wide
from transformers_jax.nn.loss import IGNORED
from transformers_jax.shard import varying

NEVER = -1e5
"""Stands for the logarithm of zero (optax's own)."""


def ctc_loss(
    logits: Float[Array, "B T V"],
    lengths: Int[Array, " B"],
    labels: Int[Array, "B U"],
    blank: int,
) -> tuple[Float[Array, " B"], Int[Array, " B"]]:
    """(-log p(labels) of each row, how many labels it has), in float32 at least.

    A text with more symbols than fit into its frames has an infinite loss, and no gradient.

    Args:
        lengths: how many frames of a row are audio.
        labels: the symbols of each text; -100 and the blank are none, wherever they stand.
        blank: the class of frames at which no symbol begins.
    """
    counted = (labels != IGNORED) & (labels != blank)
    order = jnp.argsort(~counted, axis=1, stable=True)  # the symbols first, as they follow
    labels = jnp.take_along_axis(labels, order, axis=1)
    count = counted.sum(1)
    there = jnp.arange(labels.shape[1]) < count[:, None]
    audio = jnp.arange(logits.shape[1]) < lengths[:, None]
    losses = optax.ctc_loss(
        logits.astype(wide(logits)),
        (~audio).astype(jnp.float32),
        jnp.where(there, labels, blank),
        (~there).astype(jnp.float32),
        blank_id=blank,
        # what its loop begins with is made of this
        log_epsilon=varying(jnp.asarray(NEVER), logits, labels),
    )
    # optax has a large number for what cannot be
    fits = lengths >= count + _repeats(labels, there)
    return jnp.where(fits, losses, jnp.inf).astype(wide(logits)), count


def _repeats(labels: Int[Array, "B U"], there: Bool[Array, "B U"]) -> Int[Array, " B"]:
    """How many symbols follow an equal one, from which a blank must part them."""
    return ((labels[:, 1:] == labels[:, :-1]) & there[:, 1:]).sum(1)
