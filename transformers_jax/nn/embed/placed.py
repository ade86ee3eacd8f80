"""Vectors of another tower among the tokens of a text: those of an image at its placeholders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.embed.description import Placeholder


def place(
    x: Float[Array, "B T D"], here: Bool[Array, "B T"], vectors: Float[Array, "N P D"]
) -> Float[Array, "B T D"]:
    """The vectors, in their order, at the tokens `here`, row after row. Everything is NaN if there
    are more or fewer of these tokens, which only a traced call can have."""
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(x.dtype)
    rank = (jnp.cumsum(here.reshape(-1)) - 1).reshape(here.shape)
    count = flat.shape[0]
    y = jnp.where(here[..., None], flat[jnp.clip(rank, 0, count - 1)], x)
    return jnp.where(here.sum() == count, y, jnp.array(jnp.nan, x.dtype))


def of_vocabulary(ids: Any, held: Placeholder | None, vocab: int) -> Any:
    """The ids, with 0 in place of a placeholder that is in no vocabulary."""
    if held is None or held.id < vocab or isinstance(ids, jax.ShapeDtypeStruct):
        return ids
    numpy: Any = np if isinstance(ids, np.ndarray) else jnp
    return numpy.where(ids == held.id, 0, ids)


def check_widths(words: int, layers: int) -> None:
    """The words among which vectors stand are as wide as the layers.

    Raises:
        ValueError: they are brought to that width behind them, as in some models of OPT.
    """
    if words != layers:
        raise ValueError(
            f"the words of the language model have {words} features, and its layers {layers}: "
            "vectors of images stand among words of the layers' width; give a text_config whose "
            "words are as wide (OPT's word_embed_proj_dim equal to hidden_size)"
        )


def check_placed(
    held: Placeholder,
    inputs: Mapping[str, Any],
    prefix: str,
    raw: str,
    shape: tuple[int, ...] | None,
) -> None:
    """There are as many placeholders as vectors for them.

    Args:
        raw: the argument of which the vectors are made.
        shape: how many images (or what they are made of) there are, and vectors for each; None if
            the argument is not among the inputs.

    Raises:
        ValueError: more or fewer of them; vectors in place of the ids.
    """
    ids = inputs.get(f"{prefix}input_ids")
    if ids is None:
        if shape is not None and f"{prefix}inputs_embeds" in inputs:
            raise ValueError(
                f"{raw} came with {prefix}inputs_embeds, in which no {held.word} can be found: "
                f"give {prefix}input_ids"
            )
        return
    known = readable(ids)
    if known is None or (shape is None and inputs.get("cache") is not None):
        return  # a placeholder that was written, behind those of a prompt, is a word
    count, vectors = int((known == held.id).sum()), math.prod(shape or (0,))
    if count != vectors:
        needed = "no " + raw if shape is None else f"{raw} of {shape[0]}, {shape[1]} for each"
        raise ValueError(
            f"{prefix}input_ids hold {count} of the {held.word} ({held.id}), but {vectors} are "
            f"needed ({needed}): one for each vector, in the order of the rows"
        )
