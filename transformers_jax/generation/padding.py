"""The arguments of `generate`, and token ids in padded rows: checked, and moved to one end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int, is_traced
from transformers_jax.generation.options import Options
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import concrete
from transformers_jax.nn.embed.description import Placeholder
from transformers_jax.nn.embed.placed import of_vocabulary

HostOrTraced = np.ndarray | Array  # checked on the host, or traced inside a transformation


class Call(NamedTuple):
    """The arguments of `generate`, with the options in force. `inputs` are the others by name:
    `encoder_outputs`, and those of an encoder beside its ids (`input_features`)."""

    model: Any
    options: Options
    input_ids: Any = None
    attention_mask: Any = None
    decoder_input_ids: Any = None
    decoder_attention_mask: Any = None
    inputs: Mapping[str, Any] = {}
    tags: Mapping[str, Any] | None = None
    decoder_tags: Mapping[str, Any] | None = None
    negative_prompt_ids: Any = None
    negative_prompt_attention_mask: Any = None
    processors: Any = None
    allowed: Any = None
    criteria: Any = ()
    tokenizer: Any = None
    grammar: Any = None


def bucket(length: int, least: int, step: int) -> int:
    """The length rounded up: to a power of two from `least` on, to multiples of `step` above it."""
    if length > step:
        return -(-length // step) * step
    size = least
    while size < length:
        size *= 2
    return size


def check_ids(
    name: str, ids: Any, vocabulary: int | None, held: Placeholder | None = None
) -> Int[HostOrTraced, "B T"]:
    """The ids as an integer matrix inside the vocabulary, or of a placeholder."""
    array = concrete(name, ids)
    array = array if is_traced(array) else np.asarray(array)
    most = vocabulary or np.iinfo(np.int32).max
    checks.ids(name, of_vocabulary(array, held, most), most)
    return array if is_traced(array) else array.astype(np.int32)


def text_mask(
    name: str, ids: Int[HostOrTraced, "B T"], mask: Any, options: Options
) -> Bool[HostOrTraced, "B T"]:
    """Which ids are text: what the mask says. Without one, pad tokens at the ends of a row are
    padding (unless pad also ends the text), as in transformers.

    Raises:
        ValueError: a mask of another shape, or with other values than 0 and 1; a row without text.
    """
    if mask is not None:
        return read_mask(mask, ids.shape, name)
    array: Any = jnp if is_traced(ids) else np
    pad, none = options.pad_token_id, (None, *options.eos_token_id)
    text = array.ones(ids.shape, bool) if pad in none else array.not_equal(ids, pad)
    begun = array.cumsum(text, axis=1) > 0
    unfinished = array.cumsum(text[:, ::-1], axis=1)[:, ::-1] > 0
    return _every_row(begun & unfinished, f"{name} holds pad_token_id ({pad}) only")


def read_mask(mask: Any, shape: tuple[int, ...], like: str) -> Bool[HostOrTraced, "B T"]:
    """The caller's attention mask as truth values; `like` has its `shape`.

    Raises:
        ValueError: a mask of another shape, or with other values than 0 and 1; a row without text.
    """
    array = mask if is_traced(mask) else np.asarray(mask)
    checks.mask("attention_mask", array, shape, like)
    return _every_row(array.astype(bool), "attention_mask is empty (0 only)")


def _every_row(text: Bool[HostOrTraced, "B T"], what: str) -> Bool[HostOrTraced, "B T"]:
    """The mask, in which every row has a token."""
    if not is_traced(text) and not text.any(axis=1).all():
        row = int(np.argmin(text.any(axis=1)))
        raise ValueError(f"row {row} of {what}: give every row at least one token")
    return text


def to_the_right(
    ids: Int[HostOrTraced, "B T"], mask: Bool[HostOrTraced, "B T"]
) -> tuple[Int[HostOrTraced, "B T"], Int[HostOrTraced, " B"], Int[HostOrTraced, "B T"]]:
    """(rows with their text at the right end, its first columns, the column each id came from).

    A row without text, which only a traced mask may have, begins after its last column.
    """
    array = jnp if is_traced((ids, mask)) else np
    order = array.argsort(mask, axis=1, stable=True)
    start = (ids.shape[1] - mask.sum(axis=1)).astype(np.int32)
    return array.take_along_axis(ids, order, axis=1), start, order


def to_the_left(mask: Bool[HostOrTraced, "B T"]) -> Int[HostOrTraced, "B T"]:
    """The columns in an order in which the text of every row begins with the first."""
    array = jnp if is_traced(mask) else np
    first = array.argmax(mask, axis=1)
    return (array.arange(mask.shape[1]) + first[:, None]) % mask.shape[1]
