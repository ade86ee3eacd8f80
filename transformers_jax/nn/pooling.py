"""Which vector stands for a row of tokens, where a head answers once per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int


@dataclass(frozen=True)
class Last:
    """Pooling: the rightmost token that is not `pad` (GPT-2, Llama: the attention mask is not
    consulted); without a `pad`, the last one of the only row."""

    pad: int | None = None


@dataclass(frozen=True)
class LastOf:
    """Pooling: the rightmost token whose id is `token` (BART: the end of the sentence)."""

    token: int


Pooling = Literal["pooler", "first", "first valid", "end", "mean", "mean of all"] | Last | LastOf
"""Which vector stands for a row: the backbone's pooler, the first token (of all, or of those that
are no padding), what stands at the end of the row, the mean over the tokens that are no padding or
over all, or a token found by its id."""


def pool(
    x: Float[Array, "B T D"],
    pooling: Pooling,
    ids: Int[Array, "B T"] | None,
    pooled: Float[Array, "B D"] | None,
    valid: Bool[Array, "B T"] | None = None,
) -> Float[Array, "B D"]:
    """The vector that stands for a row; NaN for a row in which the token sought does not occur."""
    if pooling == "pooler":
        assert pooled is not None  # the backbone has a pooler
        return pooled
    if pooling == "first valid" and valid is not None:
        return _token(x, jnp.argmax(valid, 1))
    if pooling == "first" or pooling == "first valid":
        return x[:, 0]
    if pooling == "end":
        return x[:, -1]
    if pooling == "mean" and valid is not None:
        return (x * valid[..., None]).sum(1) / valid.sum(1, keepdims=True).astype(x.dtype)
    if pooling == "mean" or pooling == "mean of all":
        return x.mean(1)
    if isinstance(pooling, Last):
        if pooling.pad is None and x.shape[0] > 1:
            raise ValueError(
                "pooling the last token of a batch of more than one row needs config.pad_token_id"
            )
        if pooling.pad is None or ids is None:
            return x[:, -1]
        return _token(x, _rightmost(ids != pooling.pad))
    if ids is None:
        raise ValueError(f"pooling the last token {pooling.token} of a row needs input_ids")
    found = ids == pooling.token
    chosen = _token(x, _rightmost(found))
    return jnp.where(found.any(axis=1, keepdims=True), chosen, jnp.nan)


def _rightmost(found: Bool[Array, "B T"]) -> Int[Array, " B"]:
    """The last place of each row where it is True; 0 where there is none."""
    return jnp.max(jnp.where(found, jnp.arange(found.shape[1]), 0), axis=1)


def _token(x: Float[Array, "B T D"], place: Int[Array, " B"]) -> Float[Array, "B D"]:
    """The vector at one place of each row."""
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]
