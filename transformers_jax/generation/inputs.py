"""What `generate` is given: checked on the host, then padded to widths that come in buckets.

Prompts of different lengths would each need their own program; so widths are rounded up. Wherever
the caller's padding lies, a prompt is brought to the right end of its row and a source to the left
end, in the program if the arrays are traced; so a row is computed as it would be alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int, is_symbolic, is_traced
from transformers_jax.generation.options import Options, check_length_penalty
from transformers_jax.generation.rows import (
    Rows,
    bucket,
    check_ids,
    positions,
    text_config,
    text_mask,
    to_the_right,
    vocabulary_of,
)
from transformers_jax.generation.search import Prompt
from transformers_jax.generation.source import read_source
from transformers_jax.generation.tags import check_tags, continued, needed_tags
from transformers_jax.models.reading import WRITERS

__all__ = ["Request", "bucket", "check_head", "read", "vocabulary_of"]

DEFAULT_NEW_TOKENS = 20  # as transformers


class Request(NamedTuple):
    """A prompt in its bucket, and the numbers that lead back to what the caller gave."""

    prompt: Prompt
    given: int  # columns of the caller's prompt
    new: int  # most new tokens
    width: int  # of text and cache: at least prompt and new tokens


def read(
    model: Any,
    options: Options,
    input_ids: Any,
    attention_mask: Any,
    decoder_input_ids: Any,
    others: Mapping[str, Array],
    tags: Mapping[str, Any] | None = None,
    decoder_tags: Mapping[str, Any] | None = None,
) -> Request:
    """The request, checked.

    Raises:
        ValueError: for wrong shapes, dtypes, ids outside the vocabulary, rows without text, and
            more tokens than the model has positions; the message names the place.
    """
    text = text_config(model.config, "decoder")
    if not model.is_encoder_decoder:
        if decoder_input_ids is not None:
            raise ValueError("decoder_input_ids: this model has no encoder; pass input_ids")
        batch = _batch(others)
        if input_ids is None:
            input_ids = _start(options.bos_token_id, batch, "input_ids", "bos_token_id")
        ids = check_ids("input_ids", input_ids, getattr(text, "vocab_size", None))
        valid = text_mask("input_ids", ids, attention_mask, options)
        ids, start, order = to_the_right(ids, valid)
        inputs = dict(others)
        if decoder_tags is not None:
            raise ValueError("decoder_tags: this model has no encoder; pass tags")
    else:
        inputs, source = read_source(model, options, input_ids, attention_mask, others, tags)
        ids = _decoder_prompt(options, decoder_input_ids, _batch(inputs), text)
        array = jnp if is_symbolic(*ids.shape) else np
        start, order = array.zeros(ids.shape[0], np.int32), array.arange(ids.shape[1])[None]
        tags = decoder_tags
    check_first(ids, vocabulary_of(model))
    given, most = ids.shape[1], positions(model, text)
    new = _new_tokens(options, given, most)
    if not is_symbolic(new):
        check_length_penalty(options, new)
    longest = given if is_traced(start) else int((given - start).max())
    if most is not None and not is_symbolic(longest) and longest + new > most:
        raise ValueError(
            f"prompt ({longest}) plus new tokens ({new}) = {longest + new}, but the model has "
            f"{most} positions; shorten the prompt or pass max_new_tokens={max(most - longest, 0)}"
        )
    wide, width = _widths(model, given, new, most)
    shift = wide - given
    reading = model.reading
    masks, needed = [*reading.masks, *reading.cross], needed_tags(reading)
    named = "decoder_tags" if model.is_encoder_decoder else "tags"
    checked = check_tags(named, tags, masks, needed, ids.shape, new)
    order = jnp.broadcast_to(order, ids.shape)
    carried = {
        name: continued(named, name, tag, order, masks, shift, width)
        for name, tag in checked.items()
    }
    padded, start = _pad(ids, shift, 0), jnp.asarray(start + shift)
    if not options.encoder_no_repeat_ngram_size:
        source = None
    elif not model.is_encoder_decoder:  # its source is its prompt, as in transformers
        source = padded, jnp.arange(wide) >= start[:, None]
    prompt = Prompt(padded, start, jnp.int32(shift), inputs, carried, source)
    return Request(prompt, given, new, width)


def _widths(model: Any, given: int, new: int, most: int | None) -> tuple[int, int]:
    """(columns of the prompt, columns in all), of which there are few, so that prompts of many
    lengths share a compiled program; a symbolic length is its own."""
    if is_symbolic(given):
        return given, given + new
    wide = given if model.is_encoder_decoder else bucket(given, 16, 256)
    if most is not None and wide + new > most:
        wide = max(given, most - new)
    width = bucket(wide + new, 128, 1024)
    return wide, width if most is None else max(wide + new, min(width, most))


def check_head(model: Any) -> None:
    """The model writes text.

    Raises:
        ValueError: for a backbone, a classifier or an encoder.
    """
    if not model.reading.writes:
        heads = set(model.config.HEADS.values())
        fitting = [f"head={name!r}" for name in WRITERS if name in heads]
        advice = f"load it with {fitting[0]}" if fitting else "no head of its family writes text"
        raise ValueError(
            f"generate needs a model that scores the next token, but this "
            f"{model.config.model_type} has head {model.plan.head!r}; {advice}"
        )
    model.reading.check_causal("generate")


def check_first(prompt: Rows, vocabulary: int | None) -> None:
    """A prompt that an option makes begins with a token of the vocabulary."""
    token = 0 if is_traced(prompt) else int(prompt[0, 0])
    if not 0 <= token < (vocabulary or np.inf):
        raise ValueError(
            f"the first token (decoder_start_token_id, bos_token_id) is {token}, outside the "
            f"vocabulary [0, {vocabulary})"
        )


def _decoder_prompt(options: Options, ids: Any, batch: int, text: Any) -> Int[Rows, "B T"]:
    """One column of decoder_start_token_id, then what the caller gave (which may include it)."""
    start = options.decoder_start_token_id
    start = options.bos_token_id if start is None else start
    column = _start(start, batch, "decoder_input_ids", "decoder_start_token_id")
    if ids is None:
        return column
    ids = check_ids("decoder_input_ids", ids, getattr(text, "target_vocab", None))
    if ids.shape[0] != batch:
        raise ValueError(f"decoder_input_ids have {ids.shape[0]} rows, the source {batch}")
    if is_traced(ids) or (np.asarray(ids)[:, 0] == start).any():
        return ids
    return np.concatenate([column, ids], axis=1)


def _start(token: int | None, batch: int, argument: str, option: str) -> np.ndarray:
    if token is None:
        raise ValueError(f"nothing to begin with: pass {argument} or {option}")
    return (jnp if is_symbolic(batch) else np).full((batch, 1), token, np.int32)


def _batch(inputs: Mapping[str, Any]) -> int:
    """The number of rows of the inputs, 1 if there are none."""
    states = inputs["encoder_outputs"]["last_hidden_state"] if "encoder_outputs" in inputs else None
    leaves = jax.tree.leaves(dict(inputs) if states is None else states)
    return leaves[0].shape[0] if leaves else 1


def _new_tokens(options: Options, given: int, most: int | None) -> int:
    """The greatest number of new tokens, from max_new_tokens, max_length or the default."""
    if options.max_new_tokens is not None:
        return int(options.max_new_tokens)
    if options.max_length is not None:
        if options.max_length < given:
            raise ValueError(
                f"max_length ({options.max_length}) counts the prompt, which has {given} tokens; "
                "pass max_new_tokens, or a greater max_length"
            )
        return int(options.max_length) - given
    return DEFAULT_NEW_TOKENS if most is None else max(0, min(DEFAULT_NEW_TOKENS, most - given))


def _pad(ids: Int[Rows, "B T"], before: int, value: int) -> Int[Array, "B W"]:
    return jnp.pad(jnp.asarray(ids, jnp.int32), ((0, 0), (before, 0)), constant_values=value)
