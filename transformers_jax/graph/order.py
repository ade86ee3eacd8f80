"""Masks and the order of a text: whether tokens attend to later ones, and whether edges depend on
the column at which a text begins."""

from __future__ import annotations

import dataclasses

from transformers_jax.graph.mask import All, Any, Mask, Not
from transformers_jax.graph.primitives import Before, Full, Near, Where

TEXT_POSITION = "position in the text"
"""A tag that counts the tokens of a row from its first token; `index` counts columns."""


def from_first_token(mask: Mask) -> Mask:
    """The mask that reads `TEXT_POSITION` wherever a part of `mask` reads the value of `index`
    itself (`Block`, `Where`): under it, padding in front of a text moves no edge. Parts that
    compare only distances or order stay as they are, and so does a mask made only of such parts.
    """
    if mask.children:
        return mask.mapped(from_first_token)
    if mask.relative or "index" not in mask.reads or not dataclasses.is_dataclass(mask):
        return mask
    names = [f.name for f in dataclasses.fields(mask) if getattr(mask, f.name) == "index"]
    return dataclasses.replace(mask, **dict.fromkeys(names, TEXT_POSITION))


def attends_ahead(mask: Mask, *, prefix: bool) -> bool:
    """Whether an edge of the mask may start at a token that comes after the query.

    `prefix`: the later token may carry a tag that `Where` reads of keys. Tokens that are being
    written carry none: CAUSAL | Where("prefix") attends ahead in its prefix only.
    """
    return _edge(mask, prefix) is not False


def _edge(mask: Mask, prefix: bool) -> bool | None:
    """True, False, or None (it depends) for a key after the query."""
    if isinstance(mask, Full):
        return True
    if isinstance(mask, Before | Near) and mask.tag == "index":
        causal = isinstance(mask, Before) or mask.right == 0
        return False if causal else None
    if isinstance(mask, Where) and mask.of == "key":
        return None if prefix else False
    if isinstance(mask, Not):
        part = _edge(mask.part, prefix)
        return None if part is None else not part
    if isinstance(mask, All | Any):
        parts, decides = {_edge(mask.a, prefix), _edge(mask.b, prefix)}, isinstance(mask, Any)
        if decides in parts:
            return decides
        return None if None in parts else not decides
    return None
