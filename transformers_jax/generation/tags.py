"""Tags of the tokens of a text: read for the prompt, and continued for what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int
from transformers_jax.graph import Holds, Mask, Same, Where
from transformers_jax.inputs.checks import shown
from transformers_jax.models.reading import Reading

EVERYWHERE = frozenset({"index", "position"})


def tags_of(masks: Sequence[Mask], written: frozenset[str], side: str) -> frozenset[str]:
    """The tags that masks read of the tokens of one side, "query" or "key", but those that every
    token has, and those that are `written` by the stack itself."""
    parts = [part for mask in masks for part in mask.parts()]
    read = {
        tag for part in parts for tag in (part.reads if side == "both" else part.reads_of(side))
    }
    return frozenset(read) - EVERYWHERE - written


def needed_tags(reading: Reading) -> frozenset[str]:
    """The tags that masks need of the tokens of a text."""
    own = tags_of(reading.masks, reading.written, "both")
    return own | tags_of(reading.cross, reading.written, "query")


def marked(
    reading: Reading, options: dict[str, Any], tags: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The tags, with those that arguments of a call are (`TagArgument`), which are taken out of the
    options."""
    named = {tag.argument for tag in reading.tag_arguments} & options.keys()
    given = {name: options.pop(name) for name in named}
    made = {
        tag.tag: tag.of(_array(given[tag.argument]))
        for tag in reading.tag_arguments
        if given.get(tag.argument) is not None
    }
    if both := sorted({*made} & {*(tags or {})}):
        raise ValueError(f"give tags[{both[0]!r}] or the argument that says it, one of the two")
    return {**(tags or {}), **made} if made else tags


def _array(value: Any) -> Any:
    return value if hasattr(value, "dtype") else np.asarray(value)


class TagReader(NamedTuple):
    """Checks the tags of some tokens, and continues them for new tokens.

    Attributes:
        argument: by which the caller passes them: "tags" or "decoder_tags".
        masks: that compare them.
        needed: the names of those that must be passed.
    """

    argument: str
    masks: Sequence[Mask]
    needed: frozenset[str]

    def check(
        self, tags: Mapping[str, Any] | None, shape: tuple[int, ...], new: int = 0
    ) -> dict[str, Int[Array, "B T"]]:
        """The tags as int32: each that the masks read and no other, one integer per token of the
        prompt, or of the prompt and `new` tokens.

        Raises:
            ValueError: with the name of the tag, and what to pass.
        """
        tags, argument, masks = dict(tags or {}), self.argument, shown(self.masks)
        if pairs := sorted({name for mask in self.masks for name in mask.pairs}):
            raise ValueError(
                f"the model's mask reads the pairs {', '.join(pairs)}, which say nothing of tokens "
                "that are yet to be written; generate with a mask that compares tags "
                "(model.with_mask(...))"
            )
        if "position" in tags:
            raise ValueError(
                f"{argument}['position']: generate counts positions from attention_mask; leave it "
                "out"
            )
        if useless := sorted(set(tags) - self.needed):
            raise ValueError(f"{argument} {useless} are read by no mask of this model ({masks})")
        if missing := sorted(self.needed - set(tags)):
            example = ", ".join(f"{name!r}: Int[B T]" for name in missing)
            raise ValueError(
                f"the model's mask ({masks}) compares the tag {missing[0]!r}: pass "
                f"{argument}={{{example}}}, one number per token"
            )
        return {name: self._read(name, tag, shape, new) for name, tag in tags.items()}

    def _read(self, name: str, tag: Any, shape: tuple[int, ...], new: int) -> Int[Array, "B T"]:
        array = tag if hasattr(tag, "dtype") else np.asarray(tag)
        if not jnp.issubdtype(array.dtype, jnp.integer) and array.dtype != bool:
            raise ValueError(
                f"{self.argument}[{name!r}] must hold integers, but its dtype is {array.dtype}"
            )
        longer = (shape[0], shape[1] + new)
        if array.shape not in (tuple(shape), longer):
            also = f", or {longer} with the new tokens" if new else ""
            raise ValueError(
                f"{self.argument}[{name!r}] has shape {tuple(array.shape)}; expected "
                f"{tuple(shape)}, as the ids{also}"
            )
        return jnp.asarray(array, jnp.int32)

    def continued(
        self, name: str, tag: Int[Array, "B T"], order: Int[Array, "B T"], before: int, width: int
    ) -> Int[Array, "B width"]:
        """A tag for every column of a text, `before` columns of it in front of the prompt, whose
        tokens are those of `order`.

        What the caller passes for new tokens is taken. Otherwise a tag that marks tokens (`Where`)
        is 0 for new ones, and one that groups them (`Same`, `Holds`) goes on as it was for the last
        of the prompt.

        Raises:
            ValueError: a tag that is compared otherwise (by order or distance), of the prompt only.
        """
        length = order.shape[1]
        prompt = jnp.take_along_axis(tag[:, :length], order, axis=1)
        rest = width - before - length
        kinds = {type(part) for mask in self.masks for part in mask.parts() if name in part.reads}
        if tag.shape[1] > length:
            after = tag[:, length:][:, :rest]
        elif kinds <= {Where}:
            after = prompt[:, :0]
        elif kinds <= {Same, Holds}:
            after = jnp.broadcast_to(prompt[:, -1:], (prompt.shape[0], rest))
        else:
            raise ValueError(
                f"{self.argument}[{name!r}]: the tags of new tokens are unknown, as "
                f"{shown(self.masks)} compares more than equality; give one number per token of "
                "the prompt and of the new tokens, Int[B, T + max_new_tokens]"
            )
        whole = jnp.concatenate([prompt, after], axis=1)
        return jnp.pad(whole, ((0, 0), (before, width - before - whole.shape[1])))
