"""How the arguments of a call become nodes, keys and requests to a stack."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, check_counted
from transformers_jax.graph import (
    PLACE,
    Mask,
    Nodes,
    attends_ahead,
    connect,
    from_first_token,
    sequence,
)
from transformers_jax.models import checks
from transformers_jax.models.arguments import readable
from transformers_jax.models.base import rebuilt
from transformers_jax.models.masks import without
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import TokenEmbedder


def tokens(
    length: int,
    attention_mask: Array | None = None,
    tags: Mapping[str, Array] | None = None,
    cache: Cache | None = None,
) -> Nodes:
    """The nodes of a row of tokens, or of the next tokens of a cache."""
    given = {name: _integers(tag) for name, tag in (tags or {}).items()}
    start = 0 if cache is None else cache.length
    known = isinstance(attention_mask, np.ndarray)
    mask = attention_mask if attention_mask is None or known else jnp.asarray(attention_mask)
    valid = None if mask is None else mask > 0
    return sequence(length, start=start, valid=valid, tags=given)


def places_of_tokens(model: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(a causal model, its inputs) such that padding in front of a row does not count: not in
    positions, unless the inputs say them, nor in masks that read places. As they are without an
    `attention_mask`."""
    mask, tags = inputs.get("attention_mask"), inputs.get("tags") or {}
    if mask is None:
        return model, inputs
    counting = by_first_token(model)
    names = [] if "position_ids" in inputs or "position" in tags else ["position"]
    names += [] if counting is model else [PLACE]
    if not names:
        return model, inputs
    places = jnp.maximum(jnp.cumsum(mask > 0, axis=1) - 1, 0).astype(jnp.int32)
    return counting, {**inputs, "tags": {**tags, **dict.fromkeys(names, places)}}


def by_first_token(model: Any) -> Any:
    """The model whose masks read the tag `PLACE` in place of the columns of a row
    (`graph.from_first_token`); the model itself, if no mask that it was given reads them."""
    mask = getattr(getattr(model, "plan", None), "masks", None)
    if not isinstance(mask, Mask) or (counting := from_first_token(mask)) == mask:
        return model
    config = without(model.plan.config)  # whose masks are in `counting`
    return rebuilt(model, dataclasses.replace(model.plan, config=config, mask=counting))


def _integers(tag: Any) -> Array:
    """A tag as int32; what is known while tracing stays NumPy, so that live tiles can be listed."""
    known = isinstance(tag, np.ndarray)
    return tag.astype(np.int32) if known else jnp.asarray(tag, jnp.int32)


NOWHERE = np.int32(-(2**30))
"""A position before every table."""


def placed(
    embed: TokenEmbedder,
    tags: Mapping[str, Array] | None,
    position_ids: Array | None,
    ids: Array | None,
    cache: Cache | None,
) -> Mapping[str, Array]:
    """The tags with `position`, where that is not the place in the row.

    The tag counts from 0 in every document; `position_ids`, as in Hugging Face, are rows of the
    table. RoBERTa counts the tokens that are no padding.
    """
    tags = tags or {}
    if "position" in tags and position_ids is not None:
        raise ValueError("give tags['position'] or position_ids, one of the two")
    if position_ids is not None:
        return {**tags, "position": jnp.asarray(position_ids) - embed.spec.offset}
    if "position" not in tags and embed.spec.padding is not None and ids is not None:
        return {**tags, "position": embed.places(ids, 0 if cache is None else cache.length)}
    if "position" in tags and embed.spec.offset:  # rows before the first are no positions
        least = 0 if embed.spec.padding is None else -1
        given = jnp.asarray(tags["position"])
        return {**tags, "position": jnp.where(given < least, NOWHERE, given)}
    return tags


@dataclass(frozen=True)
class Mark:
    """An argument of a call that is a tag of its tokens (Longformer: `global_attention_mask`).

    `otherwise(ids, shape)` gives the tag, Int[b T], where the caller gives none. It may have a
    method `check(ids)` that raises ValueError for ids which do not tell.
    """

    argument: str
    tag: str
    otherwise: Callable[[Array | None, tuple[int, int]], Array | np.ndarray]

    def check(self, ids: Array | np.ndarray) -> None:
        """Raises ValueError if `otherwise` cannot tell the tag of these ids."""
        if (check := getattr(self.otherwise, "check", None)) is not None:
            check(ids)


def marked(
    marks: tuple[Mark, ...],
    tags: Mapping[str, Array],
    given: Mapping[str, Array | None],
    shape: tuple[int, int],
) -> Mapping[str, Array]:
    """The tags with those of `marks`, which may also be given as tags by name."""
    found: dict[str, Any] = dict(tags)
    for mark in marks:
        value: Array | np.ndarray | None = given[mark.argument]
        if value is not None and mark.tag in found:
            raise ValueError(f"give {mark.argument} or tags[{mark.tag!r}], one of the two")
        if value is None and mark.tag not in found:
            value = mark.otherwise(given["input_ids"], shape)
        if value is not None:
            found[mark.tag] = value
    return found


@dataclass(frozen=True)
class Fill:
    """Rows of more than `longest` tokens are filled up with padding to a multiple of `size`: blocks
    are whole (BigBird).

    Attributes:
        id: of the padding; also its position where the caller gives positions, as in the reference.
    """

    size: int
    id: int
    longest: int = 0

    def missing(self, length: int) -> int:
        """How many tokens a row lacks."""
        return 0 if length <= self.longest else -length % self.size

    def __call__(
        self, per_token: Mapping[str, Array | None], length: int, positions: int | None
    ) -> dict[str, Any]:
        """The arguments of a call, [B T] each, filled up; what is padding is no valid token."""
        whole = length + self.missing(length)
        found: dict[str, Any] = {}
        for name, array in per_token.items():
            value = self.id if name in ("input_ids", "position_ids") else 0
            edge = ((0, 0), (0, whole - length))
            found[name] = array if array is None else jnp.pad(array, edge, constant_values=value)
        if found["attention_mask"] is None:  # NumPy: live tiles are listed while tracing
            found["attention_mask"] = (np.arange(whole) < length).astype(np.int32)[None]
        if found["position_ids"] is None and positions is not None and whole > positions:
            found["position_ids"] = np.minimum(np.arange(whole), positions - 1)[None]
        return found


def row_length(ids: Array | None, vectors: Array | None) -> int:
    """How many tokens a row has (candidates, where there are such), by its ids or vectors."""
    given = vectors if ids is None else ids
    assert given is not None  # `check` of the model refuses a call without both
    return given.shape[1]


def word_count(embed: TokenEmbedder) -> int:
    """How many words the table of an embedder has."""
    assert embed.spec.vocab is not None  # one without a table reads another's words
    return embed.spec.vocab


def word_table(embed: TokenEmbedder) -> Float[Array, "V D"]:
    """The vectors of the words."""
    assert embed.table is not None  # one without a table reads another's words
    return embed.table[...]


def described(
    embed: TokenEmbedder,
    per_token: Mapping[str, Array | None],
    vectors: Array | None,
    tags: Mapping[str, Array] | None,
    dtype: jnp.dtype,
    cache: Cache | None = None,
    marks: tuple[Mark, ...] = (),
    fill: Fill | None = None,
) -> tuple[Array, Nodes, Array | None]:
    """(words, nodes, types) of the tokens of one stack, filled up to whole blocks where the model
    computes in such. `per_token`: the arguments of the call, of which `vectors` replace the ids."""
    ids, tags = per_token["input_ids"], tags or {}
    length = row_length(ids, vectors)
    if marks or fill is not None:
        check_counted(length)
    missing = 0 if fill is None or cache is not None else fill.missing(length)
    if fill is not None and missing:
        table = None if "position" in tags else embed.spec.longest
        per_token = {**per_token, **fill(per_token, length, table)}
        tags = {n: jnp.pad(x, ((0, 0), (0, missing))) for n, x in tags.items()}
    if vectors is None:
        filled = per_token["input_ids"]
        assert filled is not None  # there are ids where there are no vectors
        words = embed.words(filled, dtype)
    else:
        words = jnp.pad(embed.given(vectors, dtype), ((0, 0), (0, missing), (0, 0)))
    tags = placed(embed, tags, per_token["position_ids"], ids, cache)
    tags = marked(marks, tags, per_token, (words.shape[0], words.shape[1]))
    nodes = tokens(words.shape[1], per_token["attention_mask"], tags, cache)
    return words, nodes, per_token["token_type_ids"]


def check_marks(
    marks: tuple[Mark, ...], inputs: Mapping[str, Any], shape: tuple[int, ...], like: str
) -> None:
    """Raises ValueError for marks that are no integers of the tokens, or that ids do not tell."""
    ids, tags = inputs.get("input_ids"), inputs.get("tags", {})
    ids = None if ids is None else readable(ids)
    for mark in marks:
        if mark.argument in inputs:
            checks.integers(mark.argument, inputs[mark.argument], None)
            checks.same_shape(mark.argument, inputs[mark.argument], shape, like)
        elif ids is not None and mark.tag not in tags:
            mark.check(ids)


def collected(output_hidden_states: bool, output_attentions: bool) -> frozenset[str]:
    """What the stack is asked to hand out of every layer."""
    wanted = (("hidden", output_hidden_states), ("weights", output_attentions))
    return frozenset(name for name, asked in wanted if asked)


def split_key(key: Array | None, count: int) -> list[Array | None]:
    """As many keys as there are sources of noise; no key, no noise."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def unseen(model: Any, inputs: Mapping[str, Any]) -> Bool[Array, "b T"] | None:
    """Which tokens no token before them attends to, in one layer or over several: those that may
    be asked for. None: all of them, as the masks keep the order of the text."""
    stack: Any = getattr(model, "stack", None)
    every = stack.masks("self") if hasattr(stack, "masks") else []
    masks = [mask for mask in every if attends_ahead(mask, prefix=True)]
    if not masks:
        return None
    nodes = tokens(inputs["input_ids"].shape[1], inputs.get("attention_mask"), inputs.get("tags"))
    nodes = nodes if stack.spec.layout is None else stack.spec.layout(nodes)
    index = jnp.arange(nodes.length)
    # the last token that each attends to, and then that any up to it does
    reached = [
        jnp.max(jnp.where(connect(m, nodes, pairs=inputs.get("pairs")).allowed(), index, -1), -1)
        for m in masks
    ]
    last = jax.lax.cummax(functools.reduce(jnp.maximum, reached), axis=1)
    return jnp.pad(last[:, :-1], ((0, 0), (1, 0)), constant_values=-1) < index
