"""Whether a mask keeps the order of a text: may a token attend to one behind it?"""

from __future__ import annotations

from transformers_jax.graph.mask import All, Any, Before, Full, Mask, Near, Not, Where

__all__ = ["attends_ahead"]


def attends_ahead(mask: Mask, *, prefix: bool) -> bool:
    """Whether an edge of the mask may start at a token that comes after the query.

    `prefix`: the later token may carry a tag that `Where` asks of keys. Tokens that are being
    written carry none: CAUSAL | Where("prefix") attends ahead in its prefix only.
    """
    return _edge(mask, prefix) is not False


def _edge(mask: Mask, prefix: bool) -> bool | None:
    """True, False, or None (it depends) for a key behind the query."""
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
