"""Checks of the labels of heads: one per token or one per row, as the head is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.models.arguments import FLAGS, holds
from transformers_jax.models.checks import at, integers, same_shape

if TYPE_CHECKING:
    from transformers_jax.models.base import Model

OF_WORDS = ("causal_lm", "masked_lm", "pretraining", "seq2seq_lm")
OF_SENTENCES = ("next_sentence_label", "sentence_order_label")
OF_PLACES = ("start_positions", "end_positions")


def answers(
    model: Model, inputs: Mapping[str, Any], shape: tuple[int, ...], like: str = "the input"
) -> None:
    """Labels of the head, by what the head predicts; `shape` is that of the tokens it answers."""
    config, head = model.config, model.plan.head
    marks = [mark.argument for mark in getattr(model, "marks", ())]  # checked with the tokens
    for name in model.labels:
        value = inputs.get(name)
        if value is None or name in marks or name in FLAGS:
            continue
        if name in OF_SENTENCES or head == "next_sentence":
            labels(name, value, 2)
            per_row(name, value, shape[0])
        elif name in OF_PLACES:
            places(name, value)
            per_row(name, value, shape[0])
        elif name == "question_lengths":
            integers(name, value, None)
            per_row(name, value, shape[0])
        elif name == "prompt_length":
            integers(name, value, 0)
        elif head == "replaced_token":
            labels(name, value, 2, 2)
            same_shape(name, value, shape, like)
        elif head in OF_WORDS or head == "token_classification":
            size = config.target_vocab if head in OF_WORDS else config.num_labels
            labels(name, value, size, 2)
            same_shape(name, value, shape, like)
        elif head == "multiple_choice":
            labels(name, value, shape[1])
            per_row(name, value, shape[0])
        elif head == "sequence_classification":
            classes(name, value, shape[0], config.num_labels, config.problem_type)


def labels(name: str, value: Any, size: int, rank: int | None = None) -> None:
    """Labels lie in [0, size), or are -100 where there is nothing to predict."""
    array = integers(name, value, rank)
    if array is None:
        return
    wrong = ((array < 0) & (array != -100)) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected -100 (ignored) or a class in [0, {size})"
        )


def places(name: str, value: Any) -> None:
    """Places in rows, or -100 where there is nothing to predict; beyond a row they are ignored."""
    array = integers(name, value, None)
    if array is None:
        return
    wrong = (array < 0) & (array != -100)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected a place in the row, counted from 0, or -100 "
            "(ignored, as are places beyond the row)"
        )


def per_row(name: str, value: Any, rows: int, columns: int = 1) -> None:
    """One value per row, or `columns` of them."""
    shape = np.shape(value)
    expected = (rows,) if columns == 1 else (rows, columns)
    if shape not in (expected, (rows, columns)):
        raise ValueError(f"{name} has shape {shape}; expected {expected} for {rows} rows of input")


def classes(name: str, value: Any, rows: int, count: int, problem: str | None) -> None:
    """Labels of whole rows: a class, or a number for each of `count` outputs."""
    if problem is None:
        single = count > 1 and holds(value, jnp.integer)
    else:
        single = problem == "single_label_classification"
    if single:
        labels(name, value, count)
        per_row(name, value, rows)
    else:
        per_row(name, value, rows, count)
