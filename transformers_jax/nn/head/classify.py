"""Heads that a task is fine-tuned with: classes, choices, spans of an answer."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.inputs import checks
from transformers_jax.inputs import labels as check
from transformers_jax.nn.head.base import (
    Dense,
    Head,
    HeadInputs,
    mean_loss_of,
    scored,
)
from transformers_jax.nn.loss import IGNORED, check_labels, classification_loss
from transformers_jax.nn.noise import dropout, numbered_key, split_key
from transformers_jax.nn.pooling import LastOf, Name, Pooling


class SequenceClassification(Head):
    """A class per row, from its pooled vector (`pooling`), through `inner` if there is one.

    `rate` is the dropout of what is classified, `pooled_rate` (if it is another) that of what goes
    into `inner`. `numbers` is the problem where labels are one number per class and `problem` is
    None.
    """

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        *,
        pooling: Pooling | Name = "pooler",
        inner: nnx.Module | None = None,
        problem: str | None = None,
        bias: bool = True,
        rate: float = 0.0,
        pooled_rate: float | None = None,
        numbers: str = "multi_label_classification",
    ):
        self.pooling, self.problem, self.rate, self.numbers = pooling, problem, rate, numbers
        self.count = count
        self.inner, self.pooled_rate = inner, rate if pooled_rate is None else pooled_rate
        self.classify = Dense(width, count, "label", initial, bias)

    def __call__(self, x, inputs, *, labels=None):
        keys = split_key(inputs.key, 2)
        pooled = self.pooled(x, inputs)
        pooled = dropout(pooled, self.pooled_rate, keys[0])
        if self.inner is not None:
            pooled = dropout(self.inner(pooled), self.rate, keys[1])
        loss = partial(classification_loss, problem=self.problem, numbers=self.numbers)
        return scored(self.classify(pooled), labels, loss)

    def pooled(self, x: Float[Array, "B T D"], inputs: HeadInputs) -> Float[Array, "B E"]:
        """What is classified of each row: a hook."""
        return inputs.pool(x, self.pooling)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.classes("labels", labels, shape[0], self.count, self.problem)
        if isinstance(self.pooling, LastOf):
            checks.present("input_ids", arguments.get("input_ids"), self.pooling.token)


class TokenScores(Head):
    """Scores of each token, through `inner` if there is one: what two heads begin with."""

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: nnx.Module | None = None,
    ):
        self.rate, self.inner, self.count = rate, inner, count
        self.classify = Dense(width, count, "label", initial)

    def logits(self, x: Float[Array, "B T D"], inputs: HeadInputs) -> Float[Array, "B T N"]:
        """The scores of each token."""
        x = x if self.inner is None else self.inner(x)
        return self.classify(dropout(x, self.rate, inputs.key))


class TokenClassification(TokenScores):
    """A class per token."""

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.per_token("labels", labels, self.count, shape, like)

    def __call__(self, x, inputs, *, labels=None):
        return scored(self.logits(x, inputs), labels)


class MultipleChoice(Head):
    """Which of C candidate rows [B C T] is right; they are rows of their own, [B * C T], until the
    head compares them.

    `rate` is the dropout of what is scored, `pooled_rate` that of the pooled vector before `inner`.
    """

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        pooling: Pooling | Name = "pooler",
        inner: nnx.Module | None = None,
        pooled_rate: float = 0.0,
    ):
        self.rate, self.pooling, self.inner = rate, pooling, inner
        self.pooled_rate = pooled_rate
        self.classify = Dense(width, 1, "label", initial)

    rank = 3

    def prepare(self, arguments):
        arrays = {name: x for name, x in arguments.items() if hasattr(x, "shape") and x.ndim > 2}
        rows = {name: jnp.reshape(x, (-1, *x.shape[2:])) for name, x in arrays.items()}
        return {**arguments, **rows, "choices": next(iter(arrays.values())).shape[1]}

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.labels("labels", labels, shape[1])
            check.per_row("labels", labels, shape[0])

    def __call__(self, x, inputs, *, labels=None):
        pooled = inputs.pool(x, self.pooling)
        if self.pooled_rate and inputs.key is not None:
            pooled = dropout(pooled, self.pooled_rate, numbered_key(inputs.key, 1))
        pooled = pooled if self.inner is None else self.inner(pooled)
        scores = self.classify(dropout(pooled, self.rate, inputs.key))
        logits = scores.reshape(-1, inputs.arguments["choices"])
        return scored(logits, None if labels is None else labels.reshape(-1))


class QuestionAnswering(TokenScores):
    """Where the answer starts and where it ends.

    `start_positions` and `end_positions` are indices in the row, Int[B] or Int[B 1]. One that is
    -100 or lies beyond the row is ignored: the loss is half the mean over the starts that count and
    half that over the ends. Other negative indices make it NaN.
    """

    labels: tuple[str, ...] = ("start_positions", "end_positions")

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: nnx.Module | None = None,
    ):
        super().__init__(width, 2, initial, rate, inner=inner)

    def check(self, arguments, shape, like="the input"):
        for name in ("start_positions", "end_positions"):
            if (positions := arguments.get(name)) is not None:
                check.positions(name, positions)
                check.per_row(name, positions, shape[0])

    def __call__(self, x, inputs, *, start_positions=None, end_positions=None, added=None):
        logits = self.logits(x, inputs)
        start, end = jnp.moveaxis(logits if added is None else logits + added[..., None], -1, 0)
        fields = {"start_logits": start, "end_logits": end}
        if start_positions is None or end_positions is None:
            return fields
        first, last = (
            labels_of(positions.reshape(-1), x.shape[1])
            for positions in (start_positions, end_positions)
        )
        return {**mean_loss_of(start_loss=(start, first), end_loss=(end, last)), **fields}


def labels_of(positions: Int[Array, " B"], length: int) -> Int[Array, " B"]:
    """Positions in rows of `length` tokens as labels: those beyond the row are ignored."""
    check_labels(positions, "start_positions and end_positions")
    # compared in a dtype that holds the length, and (uint32) before large numbers turn negative
    unsigned = jnp.issubdtype(positions.dtype, jnp.unsignedinteger)
    least = jnp.promote_types(positions.dtype, jnp.uint32 if unsigned else jnp.int32)
    beyond = positions.astype(least) >= length
    positions = positions.astype(jnp.promote_types(positions.dtype, jnp.int32))
    return jnp.where(beyond, IGNORED, positions)
