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
        return pooled
    if pooling == "first" or (pooling == "first valid" and valid is None):
        return x[:, 0]
    if pooling == "end":
        return x[:, -1]
    if pooling == "mean of all" or (pooling == "mean" and valid is None):
        return x.mean(1)
    if pooling == "first valid":
        return jnp.take_along_axis(x, jnp.argmax(valid, 1)[:, None, None], axis=1)[:, 0]
    if pooling == "mean":
        return (x * valid[..., None]).sum(1) / valid.sum(1, keepdims=True).astype(x.dtype)
    if isinstance(pooling, Last) and pooling.pad is None:
        if x.shape[0] > 1:
            raise ValueError(
                "pooling the last token of a batch of more than one row needs config.pad_token_id"
            )
        return x[:, -1]
    if ids is None:
        if isinstance(pooling, Last):
            return x[:, -1]
        raise ValueError(f"pooling the last token {pooling.token} of a row needs input_ids")
    found = ids != pooling.pad if isinstance(pooling, Last) else ids == pooling.token
    place = jnp.max(jnp.where(found, jnp.arange(found.shape[1]), 0), axis=1)
    chosen = jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]
    if isinstance(pooling, Last):
        return chosen
    return jnp.where(found.any(axis=1, keepdims=True), chosen, jnp.nan)
