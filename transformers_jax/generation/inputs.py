"""The request of a call: checked on the host, then padded to widths that come in buckets.

Prompts of different lengths would each need their own program; so widths are rounded up. On
whichever side the caller pads, a prompt is moved to the right end of its row and a source to the
left end, in the program if the arrays are traced; so a row's result does not depend on the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Bool, Int, is_symbolic, is_traced
from transformers_jax.generation import padding
from transformers_jax.generation.constraints import check_room
from transformers_jax.generation.guidance import Negative
from transformers_jax.generation.options import Options
from transformers_jax.generation.padding import Call, HostOrTraced
from transformers_jax.generation.ranges import check_count, check_length_penalty
from transformers_jax.generation.source import compares_source, read_source
from transformers_jax.generation.tags import TagReader, needed_tags
from transformers_jax.generation.text import Prompt
from transformers_jax.models.reading import WRITERS

log = logging.getLogger(__name__)
DEFAULT_NEW_TOKENS = 20  # as transformers


class Request(NamedTuple):
    """A prompt in its bucket, and how its columns correspond to the caller's."""

    prompt: Prompt
    columns: int  # of the caller's prompt, the last of those in the bucket
    new: int  # most new tokens
    width: int  # of text and cache: at least prompt and new tokens
    negative: Prompt | None = None  # the other prompt, of guidance


def read(call: Call) -> Request:
    """The request, checked.

    Raises:
        ValueError: for wrong shapes, dtypes, ids outside the vocabulary, rows without text, and
            more tokens than the model has positions; the message names the index.
    """
    model, options, paired = call.model, call.options, call.model.is_encoder_decoder
    if paired:
        inputs, source = read_source(call)
        ids = _decoder_prompt(call, _batch(inputs))
        array = jnp if is_symbolic(*ids.shape) else np
        start, order = array.zeros(ids.shape[0], np.int32), array.arange(ids.shape[1])[None]
        if call.decoder_attention_mask is not None:
            mask = padding.read_mask(call.decoder_attention_mask, ids.shape, "decoder_input_ids")
            ids, start, order = padding.to_the_right(ids, mask)
    else:
        inputs, source = dict(call.inputs), None
        if call.model.reading.beside:  # values are read here, where they are known
            call.model.check({"input_ids": call.input_ids, **inputs})
        ids, start, order = padding.to_the_right(*_prompt(call))
    reading = model.reading
    columns, most = ids.shape[1], reading.positions
    new = _new_tokens(options, columns, most)
    if not is_symbolic(new):
        check_length_penalty(options, new)
        check_room(options, new)
        check_count(options, new, reading.vocabulary)
    _check_positions("prompt", columns, start, new, most)
    negative = Negative(call, ids)
    if negative.start is not None:
        _check_positions("negative prompt", negative.columns, negative.start, new, most)
    uneven = not paired or call.decoder_attention_mask is not None
    read = columns if negative.ids is None else max(columns, negative.columns)
    wide, width = _widths(uneven, read, new, most)
    shift = wide - columns
    argument, passed = ("decoder_tags", call.decoder_tags) if paired else ("tags", call.tags)
    needed, passed = needed_tags(reading), dict(passed or {})
    for tag in reading.tag_arguments:
        if tag.tag in needed and tag.tag not in passed:
            passed[tag.tag] = jnp.broadcast_to(tag.default(jnp.asarray(ids), ids.shape), ids.shape)
    reader = TagReader(argument, [*reading.masks, *reading.cross], needed)
    order = jnp.broadcast_to(order, ids.shape)
    tags = {
        name: reader.continued(name, tag, order, shift, width)
        for name, tag in reader.check(passed, ids.shape, new).items()
    }
    padded = jnp.pad(jnp.asarray(ids, jnp.int32), ((0, 0), (shift, 0)))
    start = jnp.asarray(start + shift)
    if not compares_source(options):
        source = None
    elif not paired:  # its source is its prompt, as in transformers
        source = padded, jnp.arange(wide) >= start[:, None]
    prompt = Prompt(padded, start, jnp.int32(shift), inputs, tags, source)
    return Request(prompt, columns, new, width, negative.prompt(wide))


def _check_positions(what: str, columns: int, start: Any, new: int, most: int | None) -> None:
    """Raises ValueError for rows that the model has no positions for."""
    longest = columns if is_traced(start) else int((columns - start).max())
    if most is not None and not is_symbolic(longest) and longest + new > most:
        advice = f"shorten the {what} to {most - new} tokens" if new < most else ""
        if longest < most:
            advice += f"{' or ' * bool(advice)}pass max_new_tokens={most - longest}"
        raise ValueError(
            f"{what} ({longest}) plus new tokens ({new}) = {longest + new}, but the model has "
            f"{most} positions; {advice or f'shorten it, and pass fewer than {most} new tokens'}"
        )


def _widths(uneven: bool, columns: int, new: int, most: int | None) -> tuple[int, int]:
    """(columns of the prompt, columns in all), of which there are few, so that prompts of many
    lengths share a compiled program; a symbolic length is its own."""
    if is_symbolic(columns):
        return columns, columns + new
    wide = padding.bucket(columns, 16, 256) if uneven else columns
    if most is not None and wide + new > most:
        wide = max(columns, most - new)
    width = padding.bucket(wide + new, 128, 1024)
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


def _prompt(call: Call) -> tuple[Int[HostOrTraced, "B T"], Bool[HostOrTraced, "B T"]]:
    """The ids of a decoder's prompt, and which of them are text."""
    for name in ("decoder_input_ids", "decoder_attention_mask", "decoder_tags"):
        if getattr(call, name) is not None:
            instead = name.removeprefix("decoder_")
            raise ValueError(f"{name}: this model has no encoder; pass {instead}")
    ids: Any = call.input_ids
    if ids is None:
        ids = _start(call, "bos_token_id", "input_ids", _batch(call.inputs))
    reading = call.model.reading
    ids = padding.check_ids("input_ids", ids, reading.vocabulary, reading.placeholder)
    return ids, padding.text_mask("input_ids", ids, call.attention_mask, call.options)


def _decoder_prompt(call: Call, batch: int) -> Int[HostOrTraced, "B T"]:
    """One column of decoder_start_token_id, then decoder_input_ids (which may include it); with a
    mask of their own, whose padding may stand in front, they are the whole prompt."""
    ids: Any = call.decoder_input_ids
    if ids is None and call.decoder_attention_mask is not None:
        raise ValueError("decoder_attention_mask is that of decoder_input_ids; pass both, or none")
    column = _start(call, "decoder_start_token_id", "decoder_input_ids", batch)
    if ids is None:
        return column
    ids = padding.check_ids("decoder_input_ids", ids, call.model.reading.vocabulary)
    if ids.shape[0] != batch:
        raise ValueError(f"decoder_input_ids have {ids.shape[0]} rows, the source {batch}")
    if call.decoder_attention_mask is not None or is_traced(ids) or (ids[:, :1] == column).any():
        return ids
    return np.concatenate([column, ids], axis=1)


def _start(call: Call, option: str, argument: str, batch: int) -> Int[HostOrTraced, "B 1"]:
    """The column with which a text begins where `argument` says nothing of it."""
    token, vocabulary = getattr(call.options, option), call.model.reading.vocabulary
    token = call.options.bos_token_id if token is None else token
    if token is None:
        raise ValueError(f"nothing to begin with: pass {argument} or {option}")
    if not 0 <= token < (vocabulary or np.inf):
        raise ValueError(f"{option} is {token}, outside the vocabulary [0, {vocabulary})")
    return (jnp if is_symbolic(batch) else np).full((batch, 1), token, np.int32)


def _batch(inputs: Mapping[str, Any]) -> int:
    """The number of rows of the inputs, 1 if there are none."""
    states = inputs["encoder_outputs"]["last_hidden_state"] if "encoder_outputs" in inputs else None
    leaves = jax.tree.leaves(dict(inputs) if states is None else states)
    return leaves[0].shape[0] if leaves else 1


def _new_tokens(options: Options, columns: int, most: int | None) -> int:
    """The greatest number of new tokens, from max_new_tokens, max_length or the default."""
    if options.max_new_tokens is not None:
        return int(options.max_new_tokens)
    if options.max_length is not None:
        if options.max_length < columns:
            raise ValueError(
                f"max_length ({options.max_length}) counts the prompt, which has {columns} tokens; "
                "pass max_new_tokens, or a greater max_length"
            )
        return int(options.max_length) - columns
    if most is None or is_symbolic(columns) or most - columns >= DEFAULT_NEW_TOKENS:
        return DEFAULT_NEW_TOKENS
    if most <= columns:
        raise ValueError(
            f"prompt ({columns}): the model has {most} positions, so that nothing can be written "
            f"behind it; shorten the prompt to {most - 1} tokens or fewer"
        )
    left = most - columns
    log.warning("the model has %d positions: %d new tokens, not %d", most, left, DEFAULT_NEW_TOKENS)
    return left
