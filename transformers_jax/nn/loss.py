"""Losses, in float32 (or float64, of logits that are).

Labels of -100 are ignored; a batch without labels has loss 0, not 0 / 0.

Over a vocabulary, logits are the largest array of a model by far. `vocabulary_loss` needs of each
token only the log of the sum of exponents, the logit of its label, the mean and the largest logit;
in chunks of the vocabulary an online softmax computes these, and the backward pass computes
each chunk again, so that memory does not depend on V.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, Int, capped, is_symbolic, wide
from transformers_jax.nn.chunked_softmax import Statistics, chunked, product
from transformers_jax.nn.param import mixed_einsum
from transformers_jax.nn.unembedding import Unembedding
from transformers_jax.shard import constrain, cuts

IGNORED = -100

Mean = tuple[Float[Array, ""], Float[Array, ""]]
"""(sum, count): a mean whose parts, micro-batches or devices, can still be added up."""

WHOLE = 2**25
"""Logits (per device) up to which a loss makes them all at once: 128 MiB in float32."""
CHUNK = 8192
"""Rows of the table in a chunk beyond that."""


# ---------------------------------------------------------------- few classes


def cross_entropy(
    logits: Float[Array, "... V"], labels: Int[Array, "..."], ignored: int = IGNORED
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of -log p(label), number of labels): sums, so that devices average rightly.

    Raises:
        ValueError: labels that are no integers, or not one for each row of logits.
    """
    check_labels(labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels {labels.shape} must have the shape {logits.shape[:-1]}, of logits"
        )
    counted = labels != ignored
    logits = logits.astype(wide(logits))
    losses = jax.nn.logsumexp(logits, axis=-1) - _picked(logits, _or_zero(labels, counted))
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


def check_labels(labels: Array, name: str = "labels") -> None:
    """Labels that are classes are integers: truth values would be taken for the classes 0 and 1.

    Raises:
        ValueError: any other dtype.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{name} must hold integers, but its dtype is {labels.dtype}")


def sum_of_means(terms: Mapping[str, Mean]) -> Float[Array, ""]:
    """The sum of these means, each a sum by its count; without a count, 0."""
    loss: Any = sum(total / jnp.maximum(count, 1.0) for total, count in terms.values())
    return loss


def _or_zero(labels: Int[Array, "*n"], counted: Bool[Array, "*n"]) -> Int[Array, "*n"]:
    """The labels that count, 0 elsewhere, in a dtype that holds the size of a vocabulary: in int8 a
    number "outside the vocabulary" would wrap into it."""
    wide_labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    return jnp.where(counted, wide_labels, 0)


def _picked(logits: Float[Array, "... V"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """The logit of each label; NaN for a label outside the vocabulary, which would silently train
    a wrong token if it were clamped."""
    labels = jnp.where(labels < 0, logits.shape[-1], labels)  # JAX counts negative ones from behind
    return jnp.take_along_axis(logits, labels[..., None], axis=-1, mode="fill", fill_value=jnp.nan)[
        ..., 0
    ]


def shifted(labels: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Each position's label is the next token; the last has none."""
    return jnp.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED)


def classification_loss(
    logits: Float[Array, "B N"],
    labels: Array,
    problem: str | None,
    numbers: str = "multi_label_classification",
) -> Mean:
    """Cross-entropy, binary cross-entropy or squared error, by `problem_type` or the kind of label:
    its sum, and over how many rows or (the last two) numbers the loss is a mean.

    Without a problem type: one output is a regression, integer labels are classes, and a row of
    `numbers` per example is multi-label (the rule of transformers), or a "distribution" over the
    classes (DeBERTa).
    """
    logits = logits.astype(wide(logits))
    if problem is None:
        if logits.shape[-1] == 1:
            problem = "regression"
        elif jnp.issubdtype(labels.dtype, jnp.integer):
            problem = "single_label_classification"
        else:
            problem = numbers
    if problem != "single_label_classification":  # numbers, of the width of the logits
        labels = labels.astype(logits.dtype)
    if problem == "distribution":
        losses = -(jax.nn.log_softmax(logits) * labels).sum(-1)
        return losses.sum(), jnp.float32(losses.size)
    if problem == "regression":
        losses = jnp.square(logits.reshape(labels.shape) - labels)
        return losses.sum(), jnp.float32(losses.size)
    if problem == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1))
    if problem == "multi_label_classification":
        losses = jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        return losses.sum(), jnp.float32(losses.size)
    raise ValueError(
        f"problem_type {problem!r} is unknown; expected 'regression', "
        "'single_label_classification' or 'multi_label_classification'"
    )


# ---------------------------------------------------------------- a vocabulary of classes


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VocabularyLoss:
    """Sums over all labels that are not ignored.

    Attributes:
        total: what is minimised: cross-entropy, with smoothing if any, plus `z`.
        entropy: -log p(label), in nats, without smoothing.
        z: the penalty of log Z.
        correct: how many labels had the largest logit.
        count: how many labels there were.
    """

    total: Float[Array, ""]
    entropy: Float[Array, ""]
    z: Float[Array, ""]
    correct: Float[Array, ""]
    count: Float[Array, ""]


def vocabulary_loss(
    output: Unembedding,
    labels: Int[Array, "B T"],
    *,
    smoothing: float = 0.0,
    z: float = 0.0,
    chunk: int | None = None,
    vocab: int | None = None,
    weights: Float[Array, "B T"] | None = None,
    ignored: int = IGNORED,
) -> VocabularyLoss:
    """Cross-entropy over a vocabulary, from features and table rather than from logits.

    Args:
        smoothing: e: labels count 1 - e and every token e / V, as torch's `label_smoothing`.
        z: weight of (log Z)^2, which keeps logits from drifting (PaLM, section 5: 1e-4).
        output: the last projection, of which logits are made.
        chunk: rows of the table at a time; 0 for all at once; None: all at once while a device has
            at most `WHOLE` logits, which is faster, and `CHUNK` rows otherwise.
        vocab: how many rows of the table are tokens, if it was padded; the others have no logits.
        weights: by which losses are multiplied before they are added up (`correct` and `count` are
            not); by default 1.

    Raises:
        ValueError: a vocab that the table does not hold; a negative chunk; labels that are no
            integers, or labels or weights that are not one per token.
    """
    counted, (log_z, picked, mean, best) = _statistics(output, labels, chunk, vocab, ignored)
    entropy = log_z - picked
    losses = entropy if not smoothing else entropy + smoothing * (picked - mean)
    penalty = z * jnp.square(log_z)
    add_up = lambda x: jnp.where(counted, x, 0.0).sum()
    if weights is not None and weights.shape != labels.shape:
        raise ValueError(f"weights {weights.shape} must have the shape {labels.shape}, of labels")
    weigh = (lambda x: x) if weights is None else lambda x: weights.astype(x.dtype) * x
    return VocabularyLoss(
        total=add_up(weigh(losses + penalty)),
        entropy=add_up(weigh(jax.lax.stop_gradient(entropy))),
        z=add_up(weigh(jax.lax.stop_gradient(penalty))),
        correct=add_up(jax.lax.stop_gradient((picked >= best).astype(jnp.float32))),
        count=counted.sum().astype(jnp.float32),
    )


def token_log_probs(
    output: Unembedding, labels: Int[Array, "B T"], *, chunk: int | None = None
) -> Float[Array, "B T"]:
    """log p(label) of each token, in nats, 0 where there is no label; `chunk` as in
    `vocabulary_loss`."""
    counted, (log_z, picked, *_) = _statistics(output, labels, chunk, None, IGNORED)
    return jnp.where(counted, picked - log_z, 0.0)


def token_choices(
    output: Unembedding, labels: Int[Array, "B T"], *, chunk: int | None = None
) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
    """(log p(label) as `token_log_probs` gives it, whether no token has a larger logit: where there
    is no label, this is true)."""
    counted, (log_z, picked, _, best) = _statistics(output, labels, chunk, None, IGNORED)
    return jnp.where(counted, picked - log_z, 0.0), ~counted | (picked >= best)


def _statistics(
    output: Unembedding, labels: Array, chunk: int | None, vocab: int | None, ignored: int
) -> tuple[Bool[Array, "B T"], Statistics]:
    """(where there is a label, the statistics of each token)."""
    rows = output.table.shape[0]
    if vocab is not None and not 0 < vocab <= rows:
        raise ValueError(f"vocab ({vocab}) must lie between 1 and the {rows} rows of the table")
    if chunk is not None and chunk < 0:
        raise ValueError(f"chunk ({chunk}) must be at least 0; 0 makes all logits at once")
    check_labels(labels)
    if labels.shape != output.features.shape[:-1]:
        raise ValueError(
            f"labels {labels.shape} must have the shape of the tokens {output.features.shape[:-1]}"
        )
    counted = labels != ignored
    classes = _or_zero(labels, counted)
    if chunk is None:
        shape = (*labels.shape, rows)
        if is_symbolic(*shape):  # of any size, once it has one
            chunk = 0 if rows <= CHUNK else CHUNK
        else:
            per_device = math.prod(shape) // math.prod(cuts("batch length vocab", shape))
            chunk = 0 if per_device <= WHOLE else CHUNK
    real = rows if vocab is None else vocab
    statistics = _whole if chunk == 0 else functools.partial(chunked, chunk)
    return counted, statistics(real, output, classes)


def _whole(real: int, output: Unembedding, labels: Array) -> Statistics:
    """By all logits at once."""
    if output.mixed or output.features.dtype == jnp.bfloat16:  # backward products as well
        y = mixed_einsum("btd,vd->btv", output.features, output.table)
    else:
        y = product(output, "btd,vd->btv", output.features, output.table)
    y = y if output.bias is None else y + output.bias.astype(y.dtype)
    y = constrain(capped(y, output.softcap), "batch length vocab")
    if real < y.shape[-1]:
        exists = jnp.arange(y.shape[-1]) < real
        picked = _picked(y, jnp.where(labels < real, labels, y.shape[-1]))
        mean = jnp.where(exists, y, 0.0).sum(-1) / real
        y = jnp.where(exists, y, MASKED)
    else:
        picked, mean = _picked(y, labels), y.mean(-1)
    return jax.nn.logsumexp(y, axis=-1), picked, mean, y.max(-1)
