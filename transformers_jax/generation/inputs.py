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

from transformers_jax.arrays import Array, Bool, Int, is_symbolic, is_traced
from transformers_jax.generation.options import Options
from transformers_jax.generation.search import Prompt
from transformers_jax.generation.tags import (
    check_tags,
    continued,
    decoder_masks,
    source_masks,
    tags_of,
)
from transformers_jax.models.checks import hears_before_only, same_shape
from transformers_jax.models.checks import mask as values

Rows = np.ndarray | Array  # checked on the host, or traced inside a transformation

__all__ = ["Request", "bucket", "check_head", "read", "vocabulary_of"]

DEFAULT_NEW_TOKENS = 20  # as transformers
WRITERS = ("causal_lm", "seq2seq_lm")  # the heads whose scores are those of the next token


class Request(NamedTuple):
    """A prompt in its bucket, and the numbers that lead back to what the caller gave."""

    prompt: Prompt
    given: int  # columns of the caller's prompt
    new: int  # most new tokens
    width: int  # of text and cache: at least prompt and new tokens


def bucket(length: int, least: int, step: int) -> int:
    """The length rounded up: to a power of two from `least` on, to multiples of `step` above it."""
    if length > step:
        return -(-length // step) * step
    size = least
    while size < length:
        size *= 2
    return size


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
    text = _text_config(model.config, "decoder")
    if not model.is_encoder_decoder:
        if decoder_input_ids is not None:
            raise ValueError("decoder_input_ids: this model has no encoder; pass input_ids")
        batch = _batch(others)
        if input_ids is None:
            input_ids = _start(options.bos_token_id, batch, "input_ids", "bos_token_id")
        ids = check_ids("input_ids", input_ids, getattr(text, "vocab_size", None))
        text_mask = _text_mask("input_ids", ids, attention_mask, options)
        ids, start, order = _to_the_right(ids, text_mask)
        inputs = dict(others)
        if decoder_tags is not None:
            raise ValueError("decoder_tags: this model has no encoder; pass tags")
    else:
        inputs = _source(model, options, input_ids, attention_mask, others, tags)
        ids = _decoder_prompt(options, decoder_input_ids, _batch(inputs), text)
        array = jnp if is_symbolic(*ids.shape) else np
        start, order = array.zeros(ids.shape[0], np.int32), array.arange(ids.shape[1])[None]
        tags = decoder_tags
    check_first(ids, vocabulary_of(model))
    given, most = ids.shape[1], _positions(model, text)
    new = _new_tokens(options, given, most)
    longest = given if is_traced(start) else int((given - start).max())
    if most is not None and not is_symbolic(longest) and longest + new > most:
        raise ValueError(
            f"prompt ({longest}) plus new tokens ({new}) = {longest + new}, but the model has "
            f"{most} positions; shorten the prompt or pass max_new_tokens={max(most - longest, 0)}"
        )
    wide, width = _widths(model, given, new, most)
    shift = wide - given
    masks, stack = decoder_masks(model), getattr(model, "decoder", getattr(model, "stack", None))
    named = "decoder_tags" if model.is_encoder_decoder else "tags"
    needed = tags_of(decoder_masks(model, ("self",)), stack, "both")
    needed |= tags_of(decoder_masks(model, ("cross",)), stack, "query")
    checked = check_tags(named, tags, masks, needed, ids.shape, new)
    order = jnp.broadcast_to(order, ids.shape)
    carried = {
        name: continued(named, name, tag, order, masks, shift, width)
        for name, tag in checked.items()
    }
    padded = _pad(ids, shift, 0)
    prompt = Prompt(padded, jnp.asarray(start + shift), jnp.int32(shift), inputs, carried)
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
    head = getattr(getattr(model, "plan", None), "head", WRITERS[0])
    if head not in WRITERS:
        raise ValueError(
            f"generate needs a model that scores the next token, but {type(model).__name__} has "
            f"head {head!r}; load it with head='causal_lm' (or 'seq2seq_lm')"
        )
    hears_before_only(model, "generate")


def check_ids(name: str, ids: Any, vocabulary: int | None) -> Int[Rows, "B T"]:
    """The ids as an integer matrix inside the vocabulary."""
    try:
        array = ids if is_traced(ids) else np.asarray(ids)
    except ValueError:
        raise ValueError(
            f"{name}: rows of different lengths; pad them and pass attention_mask"
        ) from None
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must be a matrix of at least one row and one column (batch, length), "
            f"got shape {tuple(array.shape)}"
        )
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{name} must be integers, got dtype {array.dtype}")
    if is_traced(array):
        return array
    outside: np.ndarray = (array < 0) | (array >= (vocabulary or np.inf))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{name}[{row}, {column}] = {array[row, column]} is outside the vocabulary "
            f"[0, {vocabulary}) ({outside.sum()} such ids)"
        )
    return array.astype(np.int32)


def check_first(prompt: Rows, vocabulary: int | None) -> None:
    """A prompt that an option makes begins with a token of the vocabulary."""
    token = 0 if is_traced(prompt) else int(prompt[0, 0])
    if not 0 <= token < (vocabulary or np.inf):
        raise ValueError(
            f"the first token (decoder_start_token_id, bos_token_id) is {token}, outside the "
            f"vocabulary [0, {vocabulary})"
        )


def vocabulary_of(model: Any) -> int | None:
    """How many tokens the model scores."""
    text = _text_config(model.config, "decoder")
    return getattr(text, "target_vocab", getattr(text, "vocab_size", None))


def _text_mask(name: str, ids: Int[Rows, "B T"], mask: Any, options: Options) -> Bool[Rows, "B T"]:
    """Which ids are text: what the mask says. Without one, pad tokens at the ends of a row are
    padding (unless pad also ends the text), as in transformers.

    Raises:
        ValueError: a mask of another shape, or with other values than 0 and 1; a row without text.
    """
    if mask is None:
        array: Any = jnp if is_traced(ids) else np
        pad, none = options.pad_token_id, (None, *options.eos_token_id)
        text = array.ones(ids.shape, bool) if pad in none else array.not_equal(ids, pad)
        behind = array.cumsum(text, axis=1) > 0
        found = behind & (array.cumsum(text[:, ::-1], axis=1)[:, ::-1] > 0)
        what = f"{name} holds pad_token_id ({options.pad_token_id}) only"
    else:
        found = mask if is_traced(mask) else np.asarray(mask)
        same_shape("attention_mask", found, ids.shape, name)
        if not is_traced(found):
            values("attention_mask", found, ids.shape, name)
        elif jnp.issubdtype(found.dtype, jnp.floating):
            raise ValueError(
                f"attention_mask has dtype {found.dtype}, which may be an additive mask; expected "
                "integers or truth values, 1 for a token and 0 for padding"
            )
        found, what = found.astype(bool), "attention_mask is empty (0 only)"
    if not is_traced(found) and not found.any(axis=1).all():
        row = int(np.argmin(found.any(axis=1)))
        raise ValueError(f"row {row} of {what}: give every row at least one token")
    return found


def _to_the_right(
    ids: Int[Rows, "B T"], mask: Bool[Rows, "B T"]
) -> tuple[Int[Rows, "B T"], Int[Rows, " B"], Int[Rows, "B T"]]:
    """The rows with their text at the right end, its first columns, and where each came from.

    A row without text, which only a traced mask may have, begins behind its last column.
    """
    array = jnp if is_traced((ids, mask)) else np
    order = array.argsort(mask, axis=1, stable=True)
    start = (ids.shape[1] - mask.sum(axis=1)).astype(np.int32)
    return array.take_along_axis(ids, order, axis=1), start, order


def _to_the_left(mask: Bool[Rows, "B T"]) -> Int[Rows, "B T"]:
    """The columns in an order in which the text of every row begins with the first."""
    array = jnp if is_traced(mask) else np
    first = array.argmax(mask, axis=1)
    return (array.arange(mask.shape[1]) + first[:, None]) % mask.shape[1]


def _source(
    model: Any,
    options: Options,
    input_ids: Any,
    mask: Any,
    others: Mapping[str, Any],
    tags: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The encoder's inputs; ids are padded on the right to a bucket."""
    inputs = dict(others)
    encodes = "encoder_outputs" not in inputs
    masks = source_masks(model, encodes)
    needed = tags_of(decoder_masks(model, ("cross",)), None, "key")
    needed |= tags_of(masks, getattr(model, "encoder", None), "both") if encodes else needed
    if input_ids is None or "encoder_outputs" in inputs:
        if not inputs:
            raise ValueError("an encoder needs input_ids (or pixel_values, input_features, ...)")
        if mask is not None:
            inputs["attention_mask"] = jnp.asarray(mask)
        if tags or needed:
            states = next(x for x in jax.tree.leaves(inputs) if jnp.ndim(x) > 1)
            inputs["tags"] = check_tags("tags", tags, masks, needed, states.shape[:2])
        return inputs
    text = _text_config(model.config, "encoder")
    ids = check_ids("input_ids", input_ids, getattr(text, "vocab_size", None))
    mask = _text_mask("input_ids", ids, mask, options)
    order = jnp.asarray(_to_the_left(mask))
    length = ids.shape[1]
    most = getattr(model, "source_positions", None) or _positions(model, text)
    # what computes in blocks tells whole rows from longer ones by their width
    whole = is_symbolic(length) or getattr(model, "fill", None)
    wide = length if whole else bucket(length, 16, 256)
    extra = 0 if whole else (wide if most is None else max(length, min(wide, most))) - length
    rows: dict[str, Any] = {"input_ids": ids.astype(np.int32), "attention_mask": mask}
    for name in (mark.argument for mark in getattr(model, "marks", ())):
        if name in inputs:
            same_shape(name, inputs[name], ids.shape, "input_ids")
            rows[name] = jnp.asarray(inputs[name], jnp.int32)
    checked = check_tags("tags", tags, masks, needed, ids.shape)
    rows |= {"tags": checked} if checked else {}
    move = lambda x: jnp.take_along_axis(jnp.asarray(x), order, axis=1)
    return inputs | jax.tree.map(lambda x: jnp.pad(move(x), ((0, 0), (0, extra))), rows)


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
    leaves = jax.tree.leaves(dict(inputs))
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


def _text_config(config: Any, side: str) -> Any:
    """The part of a composite config that describes the text model of one side."""
    for name in (side, "text_config"):
        part = getattr(config, name, None)
        if part is not None and hasattr(part, "vocab_size"):
            return part
    return config


def _positions(model: Any, config: Any) -> int | None:
    """How many positions a text model has (learned, or stated by its config); None: no limit."""
    if getattr(model, "positions", None) is not None:
        return int(model.positions)
    if getattr(config, "alibi", False) or hasattr(config, "relative_attention_num_buckets"):
        return None
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic":  # turns more slowly beyond the positions of training
        return None
    for name in ("max_target_positions", "max_position_embeddings", "n_positions"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    return None


def _pad(ids: Int[Rows, "B T"], before: int, value: int) -> Int[Array, "B W"]:
    return jnp.pad(jnp.asarray(ids, jnp.int32), ((0, 0), (before, 0)), constant_values=value)
