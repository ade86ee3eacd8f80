"""The heads of fine-tuning, which most families have, and the rows that several of them repeat."""

from __future__ import annotations

from typing import Any, TypeVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn import head as heads
from transformers_jax.spec import Initial

Value = TypeVar("Value")


def first_of(*values: Value | None) -> Value:
    """The first of some values that a config says (of a dropout, ...)."""
    return next(value for value in values if value is not None)


def task_head(
    config: FamilyConfig, head: str, width: int, initial: Initial, **options: Any
) -> heads.Head:
    """The head of a task behind a stream of this width; `options` are those of its class (`rate`,
    `pooling`, `inner`, ...)."""
    labels = config.num_labels
    if head == "sequence_classification":
        problem = config.problem_type
        return heads.SequenceClassification(width, labels, initial, problem=problem, **options)
    if head == "token_classification":
        return heads.TokenClassification(width, labels, initial, **options)
    if head == "multiple_choice":
        return heads.MultipleChoice(width, initial, **options)
    return heads.QuestionAnswering(width, initial, **options)


def classifier_rows(theirs: str) -> str:
    """The rows of a classifier of rows with a layer in front of it."""
    return layer(f"{theirs}.dense", "head.inner") + layer(f"{theirs}.out_proj", "head.classify")
