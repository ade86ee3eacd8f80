"""The log-probability of continuations: how likely a model finds these words after those.

Pairs of like length are computed together, in rows of few widths and a few columns that are
scored, so that any number of pairs needs a handful of compiled programs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, Params, ordinary, wide
from transformers_jax.generation.padding import bucket
from transformers_jax.models.base import Model
from transformers_jax.models.output import Output
from transformers_jax.nn.loss import IGNORED, token_choices
from transformers_jax.nn.param import merge, split
from transformers_jax.scoring.pairs import Pair, check_writes, pairs_of
from transformers_jax.sizes import check_count

Scores = tuple[list[Float[np.ndarray, " U"]], Bool[np.ndarray, " N"]]
"""Of each pair the log-probability of each token, and whether all are the likeliest."""


@ordinary()
def score_continuations(
    model: Model,
    pairs: Iterable[Any],
    *,
    tokenizer: Any = None,
    add_special_tokens: bool = True,
    max_length: int | None = None,
    batch_size: int = 16,
    chunk: int | None = None,
) -> Output:
    """log p(continuation | context) of each pair.

    Args:
        pairs: (context, continuation), two texts or two rows of ids. A decoder reads them as one
            text; an encoder-decoder reads the context as its source.
        tokenizer: of the model, where pairs are texts.
        add_special_tokens: whether a text has those that the tokenizer puts in front of it, and a
            source those behind it; a continuation never ends with one.
        max_length: the most tokens that the model reads of a pair. A longer context is cut, at its
            front; without it, one that is too long for the model is refused.
        batch_size: pairs that are computed together.
        chunk: as of `score`.

    Returns:
        log_prob Float[N] (in nats), count Int[N] (tokens of the continuation), greedy Bool[N]
        (whether each of its tokens is the likeliest: greedy search would write it), and
        token_log_probs: for each pair Float[U].

    Raises:
        ValueError: a model that continues no texts, and a pair that cannot be read, with its
            number.
    """
    check_writes(model, "score_continuations")
    check_count("batch_size", batch_size)
    if max_length is not None:
        check_count("max_length", max_length)
    found = pairs_of(model, pairs, tokenizer, add_special_tokens)
    if max_length is not None:
        found = [cut_context(n, pair, model, max_length) for n, pair in enumerate(found)]
    check_fits(model, found)
    each, greedy = scores_of(model, found, batch_size, chunk)
    return Output(
        log_prob=np.array([row.sum() for row in each], wide(model.dtype)),
        count=np.array([len(row) for row in each], np.int32),
        greedy=greedy,
        token_log_probs=tuple(each),
    )


def read_of(model: Model, pair: Pair) -> int:
    """How many tokens a decoder reads of a pair: the last one is only predicted."""
    target = len(pair.continuation)
    return target if model.is_encoder_decoder else len(pair.context) + target - 1


def cut_context(number: int, pair: Pair, model: Model, most: int) -> Pair:
    """The pair with a context that leaves the continuation its place.

    Raises:
        ValueError: a continuation that is longer than all that is read.
    """
    if len(pair.continuation) > most:
        raise ValueError(
            f"the continuation of pair {number} has {len(pair.continuation)} tokens, more than "
            f"max_length={most}"
        )
    before = most if model.is_encoder_decoder else most + 1 - len(pair.continuation)
    return pair._replace(context=pair.context[-before:])


def check_fits(model: Model, pairs: Sequence[Pair]) -> None:
    """Raises ValueError for a pair that is longer than the positions of the model."""
    limits = {"text": model.reading.positions, "source": model.reading.source_positions}
    for number, pair in enumerate(pairs):
        lengths = {"text": read_of(model, pair), "source": len(pair.context)}
        for name, most in limits.items():
            if name == "source" and not model.is_encoder_decoder:
                continue
            if most is not None and lengths[name] > most:
                raise ValueError(
                    f"the {name} of pair {number} has {lengths[name]} tokens to be read, and the "
                    f"model has {most} positions; max_length={most} cuts contexts at their front"
                )


def scores_of(
    model: Model, pairs: Sequence[Pair], batch_size: int, chunk: int | None = None
) -> Scores:
    """The scores of pairs that have been checked, in their order."""
    each: list[Any] = [None] * len(pairs)
    greedy = np.zeros(len(pairs), bool)
    make = _sides if model.is_encoder_decoder else _texts
    lengths = [(read_of(model, p), len(p.context), len(p.continuation)) for p in pairs]
    order = sorted(range(len(pairs)), key=lambda n: lengths[n], reverse=True)
    definition, values = split(model)
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        # rows are repeated up to the size of a batch: their results are dropped
        rows = np.resize(numbers, batch_size if len(order) > batch_size else len(numbers))
        inputs, labels, columns = make(model, [pairs[n] for n in rows])
        logs, best = _run(definition, values, inputs, labels, columns, chunk=chunk)
        logs, best = np.asarray(logs), np.asarray(best)
        for row, number in enumerate(numbers):
            count = len(pairs[number].continuation)
            each[number] = logs[row, :count]
            greedy[number] = best[row, :count].all()
    return each, greedy


def _texts(model: Model, pairs: Sequence[Pair]) -> tuple[dict[str, Any], Any, Any]:
    """(arguments, labels, the columns whose logits predict them) of rows of a decoder."""
    rows = [np.concatenate(pair)[:-1] for pair in pairs]
    inputs = _filled(rows, model.reading.positions)
    labels, columns = _targets(pairs)
    first = np.array([len(pair.context) - 1 for pair in pairs])
    columns = np.minimum(first[:, None] + columns, inputs["input_ids"].shape[1] - 1)
    return inputs, labels, columns


def _sides(model: Model, pairs: Sequence[Pair]) -> tuple[dict[str, Any], Any, Any]:
    """The same of an encoder-decoder, whose decoder inputs are made of the labels."""
    inputs = _filled([pair.context for pair in pairs], model.reading.source_positions)
    labels, columns = _targets(pairs, model.reading.positions)
    return {**inputs, "labels": labels}, labels, columns


def _filled(rows: Sequence[np.ndarray], most: int | None) -> dict[str, np.ndarray]:
    """Rows filled up on the right to a width of few, and where they hold text."""
    width = _width(max(map(len, rows)), most)
    ids = np.stack([np.pad(row, (0, width - len(row))) for row in rows])
    mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    return {"input_ids": ids, "attention_mask": mask.astype(np.int32)}


def _targets(pairs: Sequence[Pair], most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(labels, and their numbers) of continuations, filled up to a width of few."""
    rows = [pair.continuation for pair in pairs]
    width = _width(max(map(len, rows)), most)
    labels = np.stack([np.pad(r, (0, width - len(r)), constant_values=IGNORED) for r in rows])
    return labels, np.broadcast_to(np.arange(width), labels.shape)


def _width(length: int, most: int | None) -> int:
    width = bucket(length, 8, 256)
    return width if most is None else min(width, most)


@functools.partial(jax.jit, static_argnums=0, static_argnames="chunk")
def _run(
    definition: Any,
    values: Params,
    inputs: dict[str, Any],
    labels: Int[Array, "B U"],
    columns: Int[Array, "B U"],
    *,
    chunk: int | None,
) -> tuple[Float[Array, "B U"], Bool[Array, "B U"]]:
    """log p of the labels by the logits of these columns, and whether they are the likeliest."""
    unembedding = merge(definition, values)(**inputs, output_unembedding=True).unembedding
    features = jnp.take_along_axis(unembedding.features, columns[..., None], axis=1)
    return token_choices(replace(unembedding, features=features), labels, chunk=chunk)
