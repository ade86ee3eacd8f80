"""The source of an encoder-decoder, as the caller passes it: ids, or the states of an encoder.

Ids are brought to the left end of their rows and padded to a bucket; the states of an encoder are
the caller's, and their columns stay where they are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Bool, Int, is_symbolic
from transformers_jax.generation import padding
from transformers_jax.generation.options import DEFAULTS, Options
from transformers_jax.generation.padding import Call, HostOrTraced
from transformers_jax.generation.tags import TagReader, tags_of
from transformers_jax.generation.text import Ids
from transformers_jax.inputs.checks import encoded, same_shape


def read_source(call: Call) -> tuple[dict[str, Any], Ids | None]:
    """(the inputs of the encoder, or of the decoder behind it; the ids of the source, if any).

    Raises:
        ValueError: no source, or one of a wrong shape, dtype or value; an option that needs ids
            where there are none.
    """
    if "encoder_outputs" in call.inputs:
        return _states(call)
    if call.input_ids is not None:
        return _ids(call)
    inputs = dict(call.inputs)
    if not inputs:
        raw = call.model.reading.source_raw or ("input_ids",)
        raise ValueError(f"an encoder needs {' or '.join(raw)}, or encoder_outputs")
    _need_no_ids(call, ", ".join(inputs), "turn it off: ")
    if call.attention_mask is not None:
        inputs["attention_mask"] = jnp.asarray(call.attention_mask)
    states: Any = next((x for x in jax.tree.leaves(inputs) if jnp.ndim(x) > 1), None)
    return inputs | _tags(call, np.shape(states)[:2], encodes=True), None


def _states(call: Call) -> tuple[dict[str, Any], Ids | None]:
    """Of an encoder that has run. Ids that come with its states show their padding, and
    are what `encoder_no_repeat_ngram_size` and `encoder_repetition_penalty` compare."""
    outputs, like = call.inputs["encoder_outputs"], "encoder_outputs"
    if ignored := sorted(set(call.inputs) - {like}):
        raise ValueError(
            f"{', '.join(ignored)} passed with encoder_outputs: the encoder has run and would not "
            "read it; give it to model.encode, or leave out encoder_outputs"
        )
    encoded(outputs)
    states, shape = f"{like}['last_hidden_state']", np.shape(outputs["last_hidden_state"])
    if len(shape) != 3:
        raise ValueError(
            f"{states} has shape {shape}; expected 3 axes (batch, source length, width)"
        )
    of_text = (shape[0], shape[1] - call.model.reading.source_virtual)
    inputs, source = {like: outputs} | _tags(call, of_text, encodes=False), None
    if call.input_ids is not None:
        ids, mask = _ids_and_mask(call)
        same_shape("input_ids", ids, of_text, f"{states} of {shape}")
        source = jnp.asarray(ids), jnp.asarray(mask)
        inputs["attention_mask"] = source[1]
        return inputs, source
    _need_no_ids(
        call,
        like,
        "pass the input_ids that were encoded with them, or turn it off: ",
    )
    if call.attention_mask is not None:
        inputs["attention_mask"] = jnp.asarray(
            padding.read_mask(call.attention_mask, of_text, like)
        )
    return inputs, None


def _ids(call: Call) -> tuple[dict[str, Any], Ids]:
    """Of ids that are not encoded yet."""
    reading = call.model.reading
    ids, mask = _ids_and_mask(call)
    order, length = jnp.asarray(padding.to_the_left(mask)), ids.shape[1]
    most = reading.source_positions
    # what computes in blocks depends on the width of its rows
    whole = is_symbolic(length) or reading.blocks
    wide = length if whole else padding.bucket(length, 16, 256)
    extra = 0 if whole else (wide if most is None else max(length, min(wide, most))) - length
    padded: dict[str, Any] = {"input_ids": ids.astype(np.int32), "attention_mask": mask}
    for name in (name for name in reading.source_arguments if name in call.inputs):
        same_shape(name, call.inputs[name], ids.shape, "input_ids")
        padded[name] = jnp.asarray(call.inputs[name], jnp.int32)
    padded |= _tags(call, ids.shape, encodes=True)
    move = lambda x: jnp.take_along_axis(jnp.asarray(x), order, axis=1)
    moved = jax.tree.map(lambda x: jnp.pad(move(x), ((0, 0), (0, extra))), padded)
    return {**call.inputs, **moved}, (moved["input_ids"], moved["attention_mask"])


def _ids_and_mask(call: Call) -> tuple[Int[HostOrTraced, "B S"], Bool[HostOrTraced, "B S"]]:
    """The ids of the source, and which of them are text."""
    ids = padding.check_ids("input_ids", call.input_ids, call.model.reading.source_vocabulary)
    return ids, padding.text_mask("input_ids", ids, call.attention_mask, call.options)


def _tags(call: Call, shape: tuple[int, ...], *, encodes: bool) -> dict[str, Any]:
    """{"tags": those of the source, for the masks that read it}, or nothing where there are none.

    `encodes`: the encoder is yet to read it.
    """
    reading = call.model.reading
    masks = [*reading.cross, *(reading.source if encodes else ())]
    needed = tags_of(reading.cross, frozenset(), "key")
    if encodes:
        needed |= tags_of(masks, reading.source_written, "both")
    tags = TagReader("tags", masks, needed).check(call.tags, shape)
    return {"tags": tags} if tags else {}


def compares_source(options: Options) -> list[str]:
    """The options by which the ids of a source are compared with a text."""
    names = ("encoder_no_repeat_ngram_size", "encoder_repetition_penalty")
    return [name for name in names if getattr(options, name) != DEFAULTS[name]]


def _need_no_ids(call: Call, source: str, advice: str) -> None:
    """No option needs the ids of a source that came without them."""
    if names := compares_source(call.options):
        listed = " and ".join(f"{name}={getattr(call.options, name)}" for name in names)
        off = ", ".join(f"{name}=None" for name in names)
        raise ValueError(
            f"{listed} compares the ids of the source, but only {source} came; {advice}{off}"
        )
