"""What `generate` is given: checked on the host, then padded to widths that come in buckets.

Prompts of different lengths would each need their own program; so widths are rounded up. A prompt
is padded on the left and a source on the right, and the padding is marked as no text.
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
from transformers_jax.models.checks import hears_before_only, same_shape

Rows = np.ndarray | Array  # checked on the host, or traced inside a transformation

__all__ = ["Request", "bucket", "check_head", "read"]

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
) -> Request:
    """The request, checked.

    Raises:
        ValueError: for wrong shapes, dtypes, ids outside the vocabulary, right-padded prompts, and
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
        start = _left_padding(ids, attention_mask, options)
        inputs = dict(others)
    else:
        inputs = _source(model, options, input_ids, attention_mask, others)
        ids = _decoder_prompt(options, decoder_input_ids, _batch(inputs), text)
        start = (jnp if is_symbolic(*ids.shape) else np).zeros(ids.shape[0], np.int32)
    check_forced(options, ids, getattr(text, "target_vocab", getattr(text, "vocab_size", None)))
    given, most = ids.shape[1], _positions(model, text)
    new = _new_tokens(options, given, most)
    longest = given if is_traced(start) else int((given - start).max())
    if most is not None and not is_symbolic(longest) and longest + new > most:
        raise ValueError(
            f"prompt ({longest}) plus new tokens ({new}) = {longest + new}, but the model has "
            f"{most} positions; shorten the prompt or pass max_new_tokens={max(most - longest, 0)}"
        )
    if is_symbolic(given):  # jax.export: as wide as it will be, and checked when it is called
        start = jnp.asarray(start)
        return Request(Prompt(ids, start, jnp.int32(0), inputs), given, new, given + new)
    wide = given if model.is_encoder_decoder else bucket(given, 16, 256)
    if most is not None and wide + new > most:
        wide = max(given, most - new)
    width = bucket(wide + new, 128, 1024)
    if most is not None:
        width = max(wide + new, min(width, most))
    shift = wide - given
    padded = _pad(ids, shift, 0)
    prompt = Prompt(padded, jnp.asarray(start + shift), jnp.int32(shift), inputs)
    return Request(prompt, given, new, width)


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
            f"{name}: rows of different lengths; pad prompts on the left and pass attention_mask"
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


def check_forced(options: Options, prompt: Rows, vocabulary: int | None) -> None:
    """Tokens that are written because an option says so are words of the model: JAX would read a
    word that there is not as NaN, and drop a score of it."""
    forced: dict[str, tuple[int | None, ...]] = {
        "forced_bos_token_id": (options.forced_bos_token_id,),
        "forced_eos_token_id": options.forced_eos_token_id,
    }
    if not is_traced(prompt):
        forced["the first token (decoder_start_token_id, bos_token_id)"] = (int(prompt[0, 0]),)
    for name, tokens in forced.items():
        wrong = [t for t in tokens if t is not None and not 0 <= t < (vocabulary or np.inf)]
        if wrong:
            raise ValueError(f"{name} is {wrong[0]}, outside the vocabulary [0, {vocabulary})")


def _check_mask(mask: Any, ids: Int[Rows, "B T"]) -> Bool[Rows, "B T"]:
    array = mask if is_traced(mask) else np.asarray(mask)
    if tuple(array.shape) != tuple(ids.shape):
        raise ValueError(
            f"attention_mask has shape {tuple(array.shape)}, input_ids {tuple(ids.shape)}"
        )
    return array.astype(bool)


def _left_padding(ids: Int[Rows, "B T"], mask: Any, options: Options) -> Int[Rows, " B"]:
    """The first column of each row's text.

    Without a mask, leading pad tokens are padding (unless pad also ends the text), as in
    transformers; inside a trace nothing is read from the ids.
    """
    length = ids.shape[1]
    if mask is None:
        pad = options.pad_token_id
        if is_traced(ids) or pad in options.eos_token_id or pad is None:
            return (jnp if is_symbolic(*ids.shape) else np).zeros(ids.shape[0], np.int32)
        text: np.ndarray = np.not_equal(ids, pad)
        if (~text[:, -1]).any():
            row = int(np.argmin(text[:, -1]))
            raise ValueError(
                f"row {row} of input_ids ends with pad_token_id ({pad}): prompts are padded on the "
                "left; if it is text, pass attention_mask"
            )
        return np.argmax(text, axis=1).astype(np.int32)
    mask = _check_mask(mask, ids)
    if is_traced(mask):
        return (length - mask.sum(axis=1)).astype(jnp.int32)
    start = length - mask.sum(axis=1)
    wrong = (mask != (np.arange(length) >= start[:, None])).any(axis=1) | (start == length)
    if wrong.any():
        row = int(np.argmax(wrong))
        what = "is empty" if start[row] == length else "is not padded on the left only"
        raise ValueError(
            f"row {row} of attention_mask {what}: a prompt must end in its last column; pad on the "
            "left (tokenizer padding_side='left'), as 0 ... 0 1 ... 1"
        )
    return start.astype(np.int32)


def _source(
    model: Any, options: Options, input_ids: Any, mask: Any, others: Mapping[str, Array]
) -> dict[str, Any]:
    """The encoder's inputs; ids are padded on the right to a bucket."""
    inputs = dict(others)
    if input_ids is None or "encoder_outputs" in inputs:
        if not inputs:
            raise ValueError("an encoder needs input_ids (or pixel_values, input_features, ...)")
        if mask is not None:
            inputs["attention_mask"] = jnp.asarray(mask)
        return inputs
    text = _text_config(model.config, "encoder")
    ids = check_ids("input_ids", input_ids, getattr(text, "vocab_size", None))
    if mask is None:
        mask = (jnp if is_symbolic(*ids.shape) else np).ones(ids.shape, bool)
        if not is_traced(ids) and options.pad_token_id not in (None, *options.eos_token_id):
            mask = (
                np.cumsum((np.asarray(ids) != options.pad_token_id)[:, ::-1], axis=1)[:, ::-1] > 0
            )
    mask = _check_mask(mask, ids)
    length = ids.shape[1]
    most = getattr(model, "source_positions", None) or _positions(model, text)
    # what computes in blocks tells whole rows from longer ones by their width
    whole = is_symbolic(length) or getattr(model, "fill", None)
    wide = length if whole else bucket(length, 16, 256)
    extra = 0 if whole else (wide if most is None else max(length, min(wide, most))) - length
    inputs["input_ids"] = jnp.pad(jnp.asarray(ids, jnp.int32), ((0, 0), (0, extra)))
    inputs["attention_mask"] = jnp.pad(jnp.asarray(mask), ((0, 0), (0, extra)))
    for name in (mark.argument for mark in getattr(model, "marks", ())):
        if name in inputs:
            same_shape(name, inputs[name], ids.shape, "input_ids")
            inputs[name] = jnp.pad(jnp.asarray(inputs[name], jnp.int32), ((0, 0), (0, extra)))
    return inputs


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
