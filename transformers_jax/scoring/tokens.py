"""The log-probability of a text under a model: token by token, and row by row.

Log-probabilities are natural, and float32 (float64 of a model that is). Logits of a large
vocabulary are computed in chunks, as in `nn/loss.py`, so that no array [B T V] exists.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, Params, is_traced, ordinary, wide
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import narrow, traceable
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.causal import unattended, with_text_positions
from transformers_jax.models.output import Output
from transformers_jax.nn.loss import IGNORED, token_log_probs
from transformers_jax.nn.param import merge, split
from transformers_jax.sizes import check_count

HEADS = ("causal_lm", "seq2seq_lm", "masked_lm", "pretraining")


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
    (`tags={"prefix": ...}`) the tokens behind the prefix are scored. An encoder-decoder gives
    log p(label | source, labels before it), also of a source that is no text (`input_features=` of
    Whisper). A masked model gives the pseudo-log-likelihood of
    Salazar et al. 2020 (equation 1): each token is masked by itself and predicted, T runs of a row.

    Args:
        labels: the target of an encoder-decoder. Otherwise `input_ids` again, with -100 where
            nothing is to be scored, such as a question, or [CLS] and [SEP].
        mask_token_id: the mask token, of masked models.
        batch_size: rows that a masked model reads at once.
        chunk: tokens of the vocabulary at a time; 0: all; by default all up to 2^25 logits.
        inputs: further arguments of the model.

    Returns:
        token_log_probs Float[B T] (0 where nothing is scored), log_prob Float[B] (their sum), count
        Float[B], and perplexity Float[B] = exp(-log_prob / count).

    Raises:
        ValueError: a head without logits of a vocabulary, missing labels or mask token, and inputs
            that the model would refuse.
    """
    check_model(model, "score")
    head = getattr(model.plan, "head", None)
    if head not in HEADS:
        raise ValueError(
            f"a model with head {head!r} gives tokens no probability; load it with one of "
            f"{', '.join(HEADS)}"
        )
    inputs |= {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    inputs = {name: traceable(name, value) for name, value in inputs.items() if value is not None}
    model.known(inputs)
    if head != "seq2seq_lm" and "input_ids" not in inputs:
        raise ValueError("score reads the tokens of a text: give input_ids")
    if head == "causal_lm":
        model.reading.check_causal("score")
    model.check(inputs)
    inputs = {name: narrow(value) for name, value in inputs.items()}
    if head == "seq2seq_lm":
        return _seq2seq(model, inputs, chunk)
    if head == "causal_lm":
        return _causal(model, inputs, chunk)
    if mask_token_id is None:
        raise ValueError("a masked model predicts the tokens that are masked: give mask_token_id=")
    vocabulary = len(model.token_table("stack"))  # type: ignore[attr-defined]
    checks.ids("mask_token_id", np.array([[mask_token_id]]), vocabulary)
    check_count("batch_size", batch_size)
    if is_traced(inputs):
        raise ValueError("masked models are scored outside of jax.jit: how many runs they need "
                         "depends on the inputs")  # fmt: skip
    return _masked(model, inputs, mask_token_id, batch_size, chunk)


def _causal(model: Any, inputs: dict[str, Any], chunk: int | None) -> Output:
    labels = jnp.asarray(inputs.pop("labels", inputs["input_ids"]))
    mask = inputs.get("attention_mask")
    if mask is not None:  # a token behind padding has none before it
        scored = (mask > 0) & (jnp.pad(mask[:, :-1], ((0, 0), (1, 0))) > 0)
        labels = jnp.where(scored, labels, IGNORED)
        if is_traced(mask) or not np.asarray(mask)[:, 0].all():  # padding in front does not count
            model, inputs = with_text_positions(model, inputs)
    if (scored := unattended(model.reading, inputs)) is not None:
        labels = jnp.where(scored, labels, IGNORED)
    each = _log_probs(*split(model), inputs, labels[:, 1:], chunk=chunk)
    return _summed(jnp.pad(each, ((0, 0), (1, 0))), labels[:, 1:] != IGNORED)


def _seq2seq(model: Model, inputs: dict[str, Any], chunk: int | None) -> Output:
    if "labels" not in inputs:
        raise ValueError("an encoder-decoder scores labels: give labels=, the target's ids")
    labels = jnp.asarray(inputs["labels"])
    if "decoder_input_ids" in inputs:
        inputs.pop("labels")
    return _summed(_log_probs(*split(model), inputs, labels, chunk=chunk), labels != IGNORED)


def _masked(
    model: Model, inputs: dict[str, Any], mask_token: int, batch_size: int, chunk: int | None
) -> Output:
    """Each token to be scored is masked in a copy of its row; copies are run in batches."""
    ids = np.asarray(inputs.pop("input_ids"))
    labels = np.asarray(inputs.pop("labels", ids))
    scored = labels != IGNORED
    if "attention_mask" in inputs:
        scored &= np.asarray(inputs["attention_mask"]) > 0
    rows, columns = np.nonzero(scored)
    each = np.zeros(ids.shape, wide(model.dtype))
    size = min(batch_size, max(1, len(rows)))
    for start in range(0, len(rows), size):
        batch = np.resize(np.arange(start, min(start + size, len(rows))), size)
        row, column, number = rows[batch], columns[batch], np.arange(size)
        copies = jax.tree.map(
            lambda x, r=row: x[r] if np.shape(x)[:1] == (len(ids),) else x, inputs
        )
        copies["input_ids"] = ids[row]
        copies["input_ids"][number, column] = mask_token
        tokens = labels[row, column][:, None]
        each[row, column] = _log_probs(*split(model), copies, tokens, column, chunk=chunk)[:, 0]
    return _summed(jnp.asarray(each), jnp.asarray(scored))


@functools.partial(jax.jit, static_argnums=0, static_argnames="chunk")
def _log_probs(
    definition: Any,
    values: Params,
    inputs: dict[str, Any],
    labels: Int[Array, "B T"],
    columns: Int[Array, " B"] | None = None,
    *,
    chunk: int | None,
) -> Float[Array, "B T"]:
    """log p of the labels by the logits of as many first tokens, or of one column of each row."""
    unembedding = merge(definition, values)(**inputs, output_unembedding=True).unembedding
    features = unembedding.features[:, : labels.shape[1]]
    if columns is not None:
        features = unembedding.features[jnp.arange(len(columns)), columns][:, None]
    return token_log_probs(replace(unembedding, features=features), labels, chunk=chunk)


def _summed(each: Float[Array, "B T"], scored: Array) -> Output:
    count = scored.sum(1).astype(jnp.float32)
    total = each.sum(1)
    perplexity = jnp.exp(-total / jnp.maximum(count, 1.0))
    return Output(token_log_probs=each, log_prob=total, count=count, perplexity=perplexity)
