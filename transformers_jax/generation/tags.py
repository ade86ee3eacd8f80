"""Tags of the tokens of a text: read for the prompt, and continued for what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int
from transformers_jax.graph import Mask, Same, Where
from transformers_jax.inputs.checks import shown
from transformers_jax.models.reading import Reading

__all__ = ["check_tags", "continued", "needed_tags", "tags_of"]

EVERYWHERE = frozenset({"index", "position"})


def tags_of(masks: Sequence[Mask], written: frozenset[str], side: str) -> frozenset[str]:
    """The tags that masks read of the tokens of one side, "query" or "key", but those that every
    token has, and those that are `written` by the stack itself."""
    parts = [part for mask in masks for part in mask.parts()]
    read = {
        tag
        for part in parts
        for tag in part.reads
        if side == "both" or not isinstance(part, Where) or part.of == side
    }
    return frozenset(read) - EVERYWHERE - written


def needed_tags(reading: Reading) -> frozenset[str]:
    """The tags that masks need of the tokens of a text."""
    own = tags_of(reading.masks, reading.written, "both")
    return own | tags_of(reading.cross, reading.written, "query")


def check_tags(
    argument: str,
    given: Mapping[str, Any] | None,
    masks: Sequence[Mask],
    needed: frozenset[str],
    shape: tuple[int, ...],
    new: int = 0,
) -> dict[str, Int[Array, "B T"]]:
    """The tags as int32: each that the masks read and no other, one integer per token of the
    prompt, or of the prompt and `new` tokens.

    Raises:
        ValueError: with the name of the tag, and what to pass.
    """
    given = dict(given or {})
    if pairs := sorted({name for mask in masks for name in mask.pairs}):
        raise ValueError(
            f"the model's mask reads the pairs {', '.join(pairs)}, which say nothing of tokens "
            "that are yet to be written; generate with a mask that compares tags "
            "(model.with_mask(...))"
        )
    if "position" in given:
        raise ValueError(
            f"{argument}['position']: generate counts positions from attention_mask; leave it out"
        )
    if unread := sorted(set(given) - needed):
        raise ValueError(f"{argument} {unread} are read by no mask of this model ({shown(masks)})")
    if missing := sorted(needed - set(given)):
        example = ", ".join(f"{name!r}: Int[B T]" for name in missing)
        raise ValueError(
            f"the model's mask ({shown(masks)}) compares the tag {missing[0]!r}: pass "
            f"{argument}={{{example}}}, one number per token"
        )
    found, widths = {}, sorted({shape[1], shape[1] + new})
    for name, value in given.items():
        array = value if hasattr(value, "dtype") else np.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.integer) and array.dtype != bool:
            raise ValueError(
                f"{argument}[{name!r}] must hold integers, but its dtype is {array.dtype}"
            )
        if array.ndim != 2 or array.shape[0] != shape[0] or array.shape[1] not in widths:
            whole = f", or {(shape[0], widths[-1])} with the new tokens" if new else ""
            raise ValueError(
                f"{argument}[{name!r}] has shape {tuple(array.shape)}; expected {tuple(shape)}, as "
                f"the ids{whole}"
            )
        found[name] = jnp.asarray(array, jnp.int32)
    return found


def continued(
    argument: str,
    name: str,
    tag: Int[Array, "B T"],
    order: Int[Array, "B T"],
    masks: Sequence[Mask],
    before: int,
    width: int,
) -> Int[Array, "B width"]:
    """A tag for every column of a text, `before` columns of it in front of the prompt.

    What the caller gives for new tokens is taken. Otherwise a tag that marks tokens (`Where`) is 0
    for new ones, and one that groups them (`Same`) goes on as it was for the last of the prompt.

    Raises:
        ValueError: a tag that is compared otherwise (by order or distance), of the prompt alone.
    """
    length = order.shape[1]
    prompt = jnp.take_along_axis(tag[:, :length], order, axis=1)
    rest = width - before - length
    kinds = {type(part) for mask in masks for part in mask.parts() if name in part.reads}
    if tag.shape[1] > length:
        after = tag[:, length:][:, :rest]
    elif kinds <= {Where}:
        after = prompt[:, :0]
    elif kinds <= {Same}:
        after = jnp.broadcast_to(prompt[:, -1:], (prompt.shape[0], rest))
    else:
        raise ValueError(
            f"{argument}[{name!r}]: what new tokens carry cannot be told, as {shown(masks)} "
            "compares more than equality; give one number per token of the prompt and of the new "
            "tokens, Int[B, T + max_new_tokens]"
        )
    whole = jnp.concatenate([prompt, after], axis=1)
    return jnp.pad(whole, ((0, 0), (before, width - before - whole.shape[1])))
