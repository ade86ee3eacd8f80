"""Heads that a task is fine-tuned with: classes, choices, spans of an answer."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Int
from transformers_jax.nn.head.base import Activated, Dense, Head, Square, loss_of
from transformers_jax.nn.loss import IGNORED, check_labels, classification_loss, cross_entropy
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.pooling import Name, Pooling, pool


class SequenceClassification(Head):
    """A class per row, from the vector that stands for it (`pooling`), through `inner` if given.

    `rate` is the dropout of what is classified, `pooled_rate` (if it is another) that of what goes
    into `inner`. `numbers` is the problem that labels of one number per class are, where `problem`
    does not say.
    """

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        *,
        pooling: Pooling | Name = "pooler",
        inner: Square | None = None,
        problem: str | None = None,
        bias: bool = True,
        rate: float = 0.0,
        pooled_rate: float | None = None,
        numbers: str = "multi_label_classification",
    ):
        self.pooling, self.problem, self.rate, self.numbers = pooling, problem, rate, numbers
        self.inner, self.pooled_rate = inner, rate if pooled_rate is None else pooled_rate
        self.classify = Dense(width, count, "label", initial, bias)

    def __call__(self, x, seen, *, labels=None):
        keys = (None, None) if seen.key is None else jax.random.split(seen.key)
        pooled = pool(x, self.pooling, seen.valid, ids=seen.ids, pooled=seen.pooled)
        pooled = dropout(pooled, self.pooled_rate, keys[0])
        if self.inner is not None:
            pooled = dropout(self.inner(pooled), self.rate, keys[1])
        logits = self.classify(pooled)
        if labels is None:
            return {"logits": logits}
        loss = classification_loss(logits, labels, self.problem, self.numbers)
        return {**loss_of(loss=loss), "logits": logits}


class TokenClassification(Head):
    """A class per token, through `inner` if given."""

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: Square | None = None,
    ):
        self.rate, self.inner = rate, inner
        self.classify = Dense(width, count, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        x = x if self.inner is None else self.inner(x)
        logits = self.classify(dropout(x, self.rate, seen.key))
        if labels is None:
            return {"logits": logits}
        return {**loss_of(loss=cross_entropy(logits, labels)), "logits": logits}


class MultipleChoice(Head):
    """Which of C candidate rows is right; rows come flattened as [B * C T] (`choices`).

    `rate` is the dropout of what is scored, `pooled_rate` that of the pooled vector before `inner`.
    """

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        pooling: Pooling | Name = "pooler",
        inner: Square | Activated | None = None,
        pooled_rate: float = 0.0,
    ):
        self.rate, self.pooling, self.inner = rate, pooling, inner
        self.pooled_rate = pooled_rate
        self.classify = Dense(width, 1, "label", initial)

    def __call__(self, x, seen, *, choices: int, labels=None):
        pooled = pool(x, self.pooling, seen.valid, ids=seen.ids, pooled=seen.pooled)
        if self.pooled_rate and seen.key is not None:
            pooled = dropout(pooled, self.pooled_rate, jax.random.fold_in(seen.key, 1))
        pooled = pooled if self.inner is None else self.inner(pooled)
        scores = self.classify(dropout(pooled, self.rate, seen.key))
        logits = scores.reshape(-1, choices)
        if labels is None:
            return {"logits": logits}
        return {**loss_of(loss=cross_entropy(logits, labels.reshape(-1))), "logits": logits}


class QuestionAnswering(Head):
    """Where the answer starts and where it ends.

    `start_positions` and `end_positions` are places in the row, Int[B] or Int[B 1]. What is -100 or
    lies beyond the row is ignored: the loss is half the mean over the starts that count and half
    that over the ends. Other negative places make it NaN.
    """

    labels: tuple[str, ...] = ("start_positions", "end_positions")

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: Square | None = None,
    ):
        self.rate, self.inner = rate, inner
        self.classify = Dense(width, 2, "label", initial)

    def __call__(self, x, seen, *, start_positions=None, end_positions=None, added=None):
        x = x if self.inner is None else self.inner(x)
        logits = self.classify(dropout(x, self.rate, seen.key))
        start, end = jnp.moveaxis(logits if added is None else logits + added[..., None], -1, 0)
        fields = {"start_logits": start, "end_logits": end}
        if start_positions is None or end_positions is None:
            return fields
        length = x.shape[1]
        terms = {}
        for name, logits, place in (
            ("start_loss", start, start_positions),
            ("end_loss", end, end_positions),
        ):
            total, count = cross_entropy(logits, labels_of(place.reshape(-1), length))
            terms[name] = (total / 2, count)
        return {**loss_of(**terms), **fields}


def labels_of(places: Int[Array, " B"], length: int) -> Int[Array, " B"]:
    """Places in rows of `length` tokens as labels: those beyond the row are ignored."""
    check_labels(places, "start_positions and end_positions")
    # compared in a dtype that holds the length, and (uint32) before large numbers turn negative
    unsigned = jnp.issubdtype(places.dtype, jnp.unsignedinteger)
    least = jnp.promote_types(places.dtype, jnp.uint32 if unsigned else jnp.int32)
    beyond = places.astype(least) >= length
    return jnp.where(beyond, IGNORED, places.astype(jnp.promote_types(places.dtype, jnp.int32)))
