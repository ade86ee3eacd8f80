"""Texts with masks on their way into a model that fills them in, and on their way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Int, is_traced
from transformers_jax.generation import padding
from transformers_jax.generation.options import Options
from transformers_jax.generation.revise_steps import Rows, State
from transformers_jax.generation.texts import ends_of
from transformers_jax.processes import on_host


def rows_of(
    model: Any, tokenizer: Any, texts: Any, mask: int, new: int
) -> tuple[Int[np.ndarray, "B T"], Int[np.ndarray, "B T"]]:
    """(ids, attention mask) of texts, each with `new` masks in front of the special tokens at its
    end.

    Raises:
        ValueError: no tokenizer, or what is neither a text nor a list of them.
    """
    if tokenizer is None:
        raise ValueError(
            "texts need the model's tokenizer: pass tokenizer=tj.load_tokenizer(path) too"
        )
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(t, str) for t in texts):
        raise ValueError(f"texts must be a text or a list of them, got {texts!r:.80}")
    made = tokenizer.batch(list(texts), padding=True, return_special_tokens_mask=True)
    valid = made["attention_mask"] > 0
    fixed = valid & (made["special_tokens_mask"] > 0) & (made["input_ids"] != mask)
    rows = []
    for ids, text, special in zip(made["input_ids"], valid, fixed):
        row, ends = ids[text], special[text]
        behind = len(row) // 2 if ends.all() else int((~ends)[::-1].argmax())
        last = len(row) - behind  # of [CLS] [SEP], between the two
        rows.append(np.concatenate([row[:last], np.full(new, mask), row[last:]]).astype(np.int32))
    width = max(1, *map(len, rows))
    ids = np.array([np.pad(row, (0, width - len(row))) for row in rows])
    return ids, (np.arange(width) < np.array([[len(row)] for row in rows])).astype(np.int32)


def read(
    model: Any, input_ids: Any, attention_mask: Any, mask: int, new: int, vocabulary: int
) -> tuple[Rows, int]:
    """(the rows, in a bucket of widths; columns of the longest, or inside `jax.jit` of the prompt
    and its new tokens).

    Raises:
        ValueError: wrong ids or masks; nothing to write; rows that the model has no positions for.
    """
    if input_ids is None:
        raise ValueError("nothing to revise: pass input_ids, or texts and tokenizer")
    ids: Any = padding.check_ids("input_ids", input_ids, vocabulary)
    pad = getattr(model.config, "pad_token_id", None)
    pad = pad if isinstance(pad, int) and 0 <= pad < vocabulary else None
    valid = padding.text_mask("input_ids", ids, attention_mask, Options(pad_token_id=pad))
    array: Any = jnp if is_traced((ids, valid)) else np
    ids = array.take_along_axis(ids, array.argsort(~valid, axis=1, stable=True), axis=1)
    length = valid.sum(axis=1) + new
    width, most = ids.shape[1] + new, model.reading.positions
    longest = width if is_traced(length) else int(length.max())
    if most is not None and longest > most:
        raise ValueError(
            f"a row of {longest - new} tokens and {new} new ones make {longest}, but the model has "
            f"{most} positions; shorten it, or pass fewer max_new_tokens"
        )
    columns = padding.bucket(longest, 16, 256)
    columns = columns if most is None else max(longest, min(columns, most))
    column, fill = array.arange(columns), 0 if pad is None else pad
    ids = array.pad(ids, ((0, 0), (0, max(columns - ids.shape[1], 0))))[:, :columns]
    inside = column < length[:, None]
    ids = array.where(inside & (column >= length[:, None] - new), mask, ids)
    hidden = inside & (ids == mask)
    if not is_traced(hidden) and not hidden.any():
        raise ValueError(
            f"nothing to write: no token is the mask token ({mask}); pass max_new_tokens, or put "
            "it where a token is to be written"
        )
    return Rows(array.where(inside, ids, fill).astype("int32"), hidden, length), longest


def output_of(state: State, rows: Rows, width: int) -> dict[str, Any]:
    """The fields of an output, without the bucket's columns."""
    cut = lambda x: x[:, :width] if is_traced(x) else jnp.asarray(on_host(x)[:, :width])
    written = jnp.asarray(rows.hidden.sum(1), jnp.int32)
    lengths = jnp.asarray(rows.length, jnp.int32)
    return {
        "sequences": cut(state.ids),
        "steps": cut(state.when),
        "new_tokens": written,
        "lengths": lengths,
    }


def texts_of(model: Any, tokenizer: Any, fields: dict[str, Any], rows: Rows) -> list[str]:
    """Whole texts, up to the first token that was written and ends one."""
    ends, texts = ends_of(model), []
    for row, when, length in zip(
        np.asarray(fields["sequences"]), np.asarray(fields["steps"]), rows.length
    ):
        ended = np.flatnonzero(np.isin(row, ends) & (when > 0))
        row = row[: min([length, *ended])]
        texts.append(tokenizer.decode(row.tolist(), skip_special_tokens=True))
    return texts
