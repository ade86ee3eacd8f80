"""Losses, in float32. Labels of -100 are ignored; a batch without labels has loss 0, not 0 / 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int

IGNORED = -100


def cross_entropy(
    logits: Float[Array, "... V"], labels: Int[Array, "..."], ignored: int = IGNORED
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of -log p(label), number of labels): sums, so that devices average rightly."""
    counted = labels != ignored
    logits = logits.astype(jnp.float32)
    # A label outside the vocabulary would silently train a wrong token if it were clamped.
    picked = jnp.take_along_axis(
        logits, jnp.where(counted, labels, 0)[..., None], axis=-1, mode="fill", fill_value=jnp.nan
    )[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


def mean_cross_entropy(
    logits: Float[Array, "... V"], labels: Int[Array, "..."], ignored: int = IGNORED
) -> Float[Array, ""]:
    """The mean over all labels of the batch that are not ignored."""
    total, count = cross_entropy(logits, labels, ignored)
    return total / jnp.maximum(count, 1.0)


def shifted(labels: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Each position's label is the next token; the last has none."""
    return jnp.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED)


def classification_loss(
    logits: Float[Array, "B N"], labels: Array, problem: str | None
) -> Float[Array, ""]:
    """Cross-entropy, binary cross-entropy or squared error, as `problem_type` says or labels tell.

    Without a problem type: one output is a regression, integer labels are classes, and a row of
    numbers per example is multi-label (the rule of transformers).
    """
    logits = logits.astype(jnp.float32)
    if problem is None:
        if logits.shape[-1] == 1:
            problem = "regression"
        elif jnp.issubdtype(labels.dtype, jnp.integer):
            problem = "single_label_classification"
        else:
            problem = "multi_label_classification"
    if problem == "regression":
        return jnp.square(logits.reshape(labels.shape) - labels).mean()
    if problem == "single_label_classification":
        return mean_cross_entropy(logits, labels.reshape(-1))
    if problem == "multi_label_classification":
        losses = jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        return losses.mean()
    raise ValueError(
        f"problem_type {problem!r} is unknown; expected 'regression', "
        "'single_label_classification' or 'multi_label_classification'"
    )
