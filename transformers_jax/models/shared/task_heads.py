"""The heads of fine-tuning, which most families have, and the rows that several of them repeat."""

from __future__ import annotations

from typing import TypedDict, TypeVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn import head as heads
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.pooling import Name, Pooling
from transformers_jax.spec import Initial

Inner = heads.Square | heads.Activated | Norm
Value = TypeVar("Value")


def first_of(*values: Value | None) -> Value:
    """The first of some values that a config says (of a dropout, ...)."""
    return next(value for value in values if value is not None)


class TaskOptions(TypedDict, total=False):
    """What a head of fine-tuning has between the stream and its answer, where it is not as
    in `task_head`."""

    rate: float
    pooling: Pooling | Name
    inner: Inner | None
    pooled_rate: float
    numbers: str


def task_head(
    config: FamilyConfig,
    head: str,
    width: int,
    initial: Initial,
    *,
    rate: float = 0.0,
    pooling: Pooling | Name = "pooler",
    inner: Inner | None = None,
    pooled_rate: float | None = None,
    bias: bool = True,
    numbers: str = "multi_label_classification",
) -> heads.Head:
    """The head of a task behind a stream of this width, with those of the options that concern the
    task: a label per token and the span of an answer are not pooled, and only the classes of a row
    may be without a bias, or several at once."""
    labels = config.num_labels
    if head == "sequence_classification":
        return heads.SequenceClassification(
            width,
            labels,
            initial,
            pooling=pooling,
            inner=inner,
            problem=config.problem_type,
            bias=bias,
            rate=rate,
            pooled_rate=pooled_rate,
            numbers=numbers,
        )
    if head == "multiple_choice":
        before = 0.0 if pooled_rate is None else pooled_rate
        return heads.MultipleChoice(
            width, initial, rate, pooling=pooling, inner=inner, pooled_rate=before
        )
    if head == "token_classification":
        return heads.TokenClassification(width, labels, initial, rate, inner=inner)
    return heads.QuestionAnswering(width, initial, rate, inner=inner)


def classifier_rows(theirs: str) -> str:
    """The rows of a classifier of rows with a layer in front of it."""
    return layer(f"{theirs}.dense", "head.inner") + layer(f"{theirs}.out_proj", "head.classify")
