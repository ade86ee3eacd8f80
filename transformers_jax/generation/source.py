"""The source of an encoder-decoder, as the caller gives it: ids, or what an encoder made of them.

Ids are brought to the left end of their rows and padded to a bucket; the states of an encoder are
the caller's, and their columns stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int, is_symbolic
from transformers_jax.generation.options import Options
from transformers_jax.generation.rows import (
    bucket,
    check_ids,
    given_mask,
    positions,
    text_config,
    text_mask,
    to_the_left,
)
from transformers_jax.generation.tags import check_tags, tags_of
from transformers_jax.inputs.checks import encoded, same_shape

__all__ = ["Ids", "read_source"]

Ids = tuple[Int[Array, "B S"], Bool[Array, "B S"]]
"""The ids of a source, and which of them are text."""


def read_source(
    model: Any,
    options: Options,
    input_ids: Any,
    mask: Any,
    others: Mapping[str, Any],
    tags: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], Ids | None]:
    """(what the encoder, or after it the decoder, is given; the ids of the source if they came).

    Raises:
        ValueError: no source, or one of a wrong shape, dtype or value; an option that needs ids
            where there are none.
    """
    if "encoder_outputs" in others:
        return _states(model, options, input_ids, mask, others, tags)
    if input_ids is not None:
        return _ids(model, options, input_ids, mask, others, tags)
    inputs = dict(others)
    if not inputs:
        raise ValueError("an encoder needs input_ids (or pixel_values, input_features, ...)")
    _need_no_ids(options, ", ".join(inputs), "turn it off: encoder_no_repeat_ngram_size=None")
    if mask is not None:
        inputs["attention_mask"] = jnp.asarray(mask)
    masks, needed = _masks(model, encodes=True)
    if tags or needed:
        states = next(x for x in jax.tree.leaves(inputs) if jnp.ndim(x) > 1)
        inputs["tags"] = check_tags("tags", tags, masks, needed, states.shape[:2])
    return inputs, None


def _states(
    model: Any,
    options: Options,
    input_ids: Any,
    mask: Any,
    others: Mapping[str, Any],
    tags: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], Ids | None]:
    """Of an encoder that has run. Ids beside its states tell of their padding, and are what
    `encoder_no_repeat_ngram_size` compares."""
    outputs = others["encoder_outputs"]
    if unread := sorted(set(others) - {"encoder_outputs"}):
        raise ValueError(
            f"{', '.join(unread)} beside encoder_outputs: the encoder has run and would not read "
            "it; give it to model.encode, or leave out encoder_outputs"
        )
    encoded(outputs)
    shape = np.shape(outputs["last_hidden_state"])
    if len(shape) != 3:
        raise ValueError(
            f"encoder_outputs['last_hidden_state'] has shape {shape}; expected 3 axes (batch, "
            "source length, width)"
        )
    inputs, like = {"encoder_outputs": outputs}, "encoder_outputs"
    found = None
    if input_ids is not None:
        vocabulary = getattr(text_config(model.config, "encoder"), "vocab_size", None)
        ids = check_ids("input_ids", input_ids, vocabulary)
        same_shape("input_ids", ids, shape[:2], f"{like}['last_hidden_state'] of {shape}")
        valid = text_mask("input_ids", ids, mask, options)
        inputs["attention_mask"] = jnp.asarray(valid)
        found = jnp.asarray(ids), inputs["attention_mask"]
    else:
        _need_no_ids(
            options,
            like,
            "pass the input_ids that were encoded beside them, or turn it off: "
            "encoder_no_repeat_ngram_size=None",
        )
        if mask is not None:
            inputs["attention_mask"] = jnp.asarray(given_mask(mask, shape[:2], like))
    masks, needed = _masks(model, encodes=False)
    if tags or needed:
        inputs["tags"] = check_tags("tags", tags, masks, needed, shape[:2])
    return inputs, found


def _ids(
    model: Any,
    options: Options,
    input_ids: Any,
    mask: Any,
    others: Mapping[str, Any],
    tags: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], Ids]:
    """Of ids that are yet to be encoded."""
    text = text_config(model.config, "encoder")
    ids = check_ids("input_ids", input_ids, getattr(text, "vocab_size", None))
    mask = text_mask("input_ids", ids, mask, options)
    order = jnp.asarray(to_the_left(mask))
    length = ids.shape[1]
    reading = model.reading
    most = reading.source_positions or positions(model, text)
    # what computes in blocks tells whole rows from longer ones by their width
    whole = is_symbolic(length) or reading.blocks
    wide = length if whole else bucket(length, 16, 256)
    extra = 0 if whole else (wide if most is None else max(length, min(wide, most))) - length
    rows: dict[str, Any] = {"input_ids": ids.astype(np.int32), "attention_mask": mask}
    for name in reading.source_arguments:
        if name in others:
            same_shape(name, others[name], ids.shape, "input_ids")
            rows[name] = jnp.asarray(others[name], jnp.int32)
    masks, needed = _masks(model, encodes=True)
    checked = check_tags("tags", tags, masks, needed, ids.shape)
    rows |= {"tags": checked} if checked else {}
    move = lambda x: jnp.take_along_axis(jnp.asarray(x), order, axis=1)
    moved = jax.tree.map(lambda x: jnp.pad(move(x), ((0, 0), (0, extra))), rows)
    return {**others, **moved}, (moved["input_ids"], moved["attention_mask"])


def _masks(model: Any, encodes: bool) -> tuple[list[Any], frozenset[str]]:
    """The masks that read a source, and the tags that they need of it."""
    reading = model.reading
    masks = [*reading.cross, *(reading.source if encodes else ())]
    needed = tags_of(reading.cross, frozenset(), "key")
    if encodes:
        needed |= tags_of(masks, reading.source_written, "both")
    return masks, needed


def _need_no_ids(options: Options, source: str, advice: str) -> None:
    """The options ask for nothing that only the ids of the source tell."""
    if size := options.encoder_no_repeat_ngram_size:
        raise ValueError(
            f"encoder_no_repeat_ngram_size={size} compares the ids of the source, but only "
            f"{source} came; {advice}"
        )
