"""How probable a model finds a text: token by token, and row by row.

Log-probabilities are natural, and float32 (float64 of a model that is). Logits of a large
vocabulary are made in chunks, as in `nn/loss.py`, so that none of [B T V] numbers exist at once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, Params, is_traced, ordinary, wide
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import concrete, narrow, traceable
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.causal import places_of_tokens, unattended
from transformers_jax.models.output import Output
from transformers_jax.nn.loss import IGNORED, token_log_probs
from transformers_jax.nn.param import merge, split

MASKING = ("masked_lm", "pretraining")
HEADS = ("causal_lm", "seq2seq_lm", *MASKING)


@ordinary()
def score(
    model: Model,
    input_ids: Int[Any, "B T"] | None = None,
    attention_mask: Int[Any, "B T"] | None = None,
    labels: Int[Any, "B U"] | None = None,
    *,
    mask_token_id: int | None = None,
    batch_size: int = 32,
    chunk: int | None = None,
    **inputs: Any,
) -> Output:
    """The log-probability of each token and of each row.

    A causal model gives log p(token | those before it); the first of a row is not scored, nor is
    padding, on either side, nor a token that those before it attend to: of a prefix language model
    (`tags={"prefix": ...}`) what stands behind the prefix is scored. An encoder-decoder gives
    log p(label | source, labels before it), also of a source that is no text (`input_features=` of
    Whisper). A masked model gives the pseudo-log-likelihood of
    Salazar et al. 2020 (equation 1): every token is hidden alone and asked for, T runs of a row.

    Args:
        labels: the target of an encoder-decoder. Otherwise `input_ids` again, with -100 at places
            that are not to be scored, such as a question, or [CLS] and [SEP].
        mask_token_id: what hides a token, of masked models.
        batch_size: rows that a masked model reads at once.
        chunk: words at a time; 0: all at once; by default all while a device has at most 2^25.
        inputs: further arguments of the model.

    Returns:
        token_log_probs Float[B T] (0 where nothing is scored), log_prob Float[B] (their sum), count
        Float[B], and perplexity Float[B] = exp(-log_prob / count).

    Raises:
        ValueError: a head that knows no words, labels or a mask token that are missing, and inputs
            that the model would refuse.
    """
    check_model(model, "score")
    head = getattr(model.plan, "head", None)
    if head not in HEADS:
        raise ValueError(
            f"a model with head {head!r} gives words no probability; load it with one of "
            f"{', '.join(HEADS)}"
        )
    given = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels, **inputs}
    given = {name: v for name, v in given.items() if v is not None}
    model.known(given)
    if head != "seq2seq_lm" and "input_ids" not in given:
        raise ValueError("score reads the tokens of a text: give input_ids")
    read = traceable if is_traced(given) else concrete
    given = {name: read(name, v) for name, v in given.items()}
    _check(model, head, given, mask_token_id, batch_size)
    given = {name: narrow(value) for name, value in given.items()}
    if head == "causal_lm":
        model, given = _placed(model, given)
    definition, values = split(model)
    if head in MASKING:
        assert mask_token_id is not None
        return _masked(definition, values, given, mask_token_id, batch_size, chunk)
    run = _causal if head == "causal_lm" else _seq2seq
    return run(definition, chunk, values, given)


def _check(
    model: Model, head: str, given: Mapping[str, Any], mask_token: int | None, batch_size: int
) -> None:
    """Inputs, and what the kind of model needs besides."""
    if head == "causal_lm":
        model.reading.check_causal("score")
    traced = is_traced(dict(given))
    model.check(given)
    if head == "seq2seq_lm" and "labels" not in given:
        raise ValueError("an encoder-decoder scores labels: give labels=, the target's ids")
    if head in MASKING:
        if mask_token is None:
            raise ValueError("a masked model is asked for hidden words: give mask_token_id=")
        table = len(model.words("stack"))  # type: ignore[attr-defined]
        checks.ids("mask_token_id", np.array([[mask_token]]), table)
        if traced:
            raise ValueError("masked models are scored outside of jax.jit: how many runs they need "
                             "depends on the inputs")  # fmt: skip
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")


def _summed(each: Float[Array, "B T"], asked: Array) -> Output:
    count = asked.sum(1).astype(jnp.float32)
    total = each.sum(1)
    perplexity = jnp.exp(-total / jnp.maximum(count, 1.0))
    return Output(token_log_probs=each, log_prob=total, count=count, perplexity=perplexity)


# ---------------------------------------------------------------- one run


def _placed(model: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model and its inputs such that padding in front does not count."""
    mask = given.get("attention_mask")
    if mask is None or (not is_traced(mask) and bool(np.asarray(mask)[:, 0].all())):
        return model, given
    return places_of_tokens(model, given)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _causal(definition: Any, chunk: int | None, values: Params, given: dict[str, Any]) -> Output:
    inputs = dict(given)
    labels = inputs.pop("labels", inputs["input_ids"])
    mask = inputs.get("attention_mask")
    if mask is not None:  # a token behind padding has none before it
        asked = (mask > 0) & (jnp.pad(mask[:, :-1], ((0, 0), (1, 0))) > 0)
        labels = jnp.where(asked, labels, IGNORED)
    model = merge(definition, values)
    if (askable := unattended(model.reading, inputs)) is not None:
        labels = jnp.where(askable, labels, IGNORED)
    words = model(**inputs, output_unembedding=True).unembedding
    words = replace(words, features=words.features[:, :-1])
    each = token_log_probs(words, labels[:, 1:], chunk=chunk)
    return _summed(jnp.pad(each, ((0, 0), (1, 0))), labels[:, 1:] != IGNORED)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _seq2seq(definition: Any, chunk: int | None, values: Params, given: dict[str, Any]) -> Output:
    inputs, labels = dict(given), given["labels"]
    if "decoder_input_ids" in inputs:
        inputs.pop("labels")
    words = merge(definition, values)(**inputs, output_unembedding=True).unembedding
    return _summed(token_log_probs(words, labels, chunk=chunk), labels != IGNORED)


# ---------------------------------------------------------------- a run for every token


def _masked(
    definition: Any,
    values: Params,
    given: dict[str, Any],
    mask_token: int,
    batch_size: int,
    chunk: int | None,
) -> Output:
    """Each token to be scored is hidden in a copy of its row; copies are run in batches."""
    inputs = dict(given)
    ids = np.asarray(inputs["input_ids"])
    labels = np.asarray(inputs.pop("labels", ids))
    mask = inputs.get("attention_mask")
    asked = labels != IGNORED if mask is None else (labels != IGNORED) & (np.asarray(mask) > 0)
    rows, places = np.nonzero(asked)
    each = np.zeros(ids.shape, wide(merge(definition, values).dtype))
    size = min(batch_size, max(1, len(rows)))
    for start in range(0, len(rows), size):
        here = np.resize(np.arange(start, min(start + size, len(rows))), size)
        found = _hidden(
            definition, chunk, mask_token, values, inputs, labels, rows[here], places[here]
        )
        each[rows[here], places[here]] = np.asarray(found)
    return _summed(jnp.asarray(each), jnp.asarray(asked))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _hidden(
    definition: Any,
    chunk: int | None,
    mask_token: int,
    values: Params,
    inputs: dict[str, Any],
    labels: Int[Array, "B T"],
    rows: Int[Array, " N"],
    places: Int[Array, " N"],
) -> Float[Array, " N"]:
    """log p of the tokens at these rows and places, each hidden alone."""
    batch = len(labels)
    taken = jax.tree.map(lambda x: x[rows] if jnp.shape(x)[:1] == (batch,) else x, inputs)
    number = jnp.arange(len(rows))
    taken["input_ids"] = taken["input_ids"].at[number, places].set(mask_token)
    words = merge(definition, values)(**taken, output_unembedding=True).unembedding
    words = replace(words, features=words.features[number, places][:, None])
    return token_log_probs(words, labels[rows, places][:, None], chunk=chunk)[:, 0]
