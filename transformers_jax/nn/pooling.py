"""One vector for a row of tokens: which of them count, and how those become one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, Int, wide

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
MODES: tuple[str, ...] = get_args(Mode)
"""The ways of pooling, by the names of sentence-transformers: the first token, the maximum, the
mean, the sum over the square root of the number of tokens, the mean with tokens weighted by their
position from 1 (Muennighoff 2022, SGPT, equation 3), and the last token."""


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How the tokens of a row become one vector.

    Attributes:
        mode: of `MODES`.
        padding: whether padding tokens count as well.
        empty: the vector of a row in which no token counts.

    Raises:
        ValueError: an unknown mode; the known ones are listed.
    """

    mode: str = "mean"
    padding: bool = False
    empty: Literal["zeros", "nan", "first token"] = "zeros"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"pooling mode {self.mode!r} is unknown; known are {', '.join(MODES)}")

    def counted(self, x: Array, valid: Array | None, ids: Array | None) -> Array | None:
        """Which tokens are pooled; None: all."""
        return None if self.padding else valid


@dataclass(frozen=True)
class Last(Pooling):
    """The rightmost token that is not `pad` (GPT-2, Llama: the attention mask is not consulted);
    without a `pad`, the last one of the only row."""

    pad: int | None = None
    mode: str = field(default="lasttoken", kw_only=True)
    empty: Any = field(default="first token", kw_only=True)

    def counted(self, x, valid, ids):
        if self.pad is None and x.shape[0] > 1:
            raise ValueError(
                "pooling the last token of a batch of more than one row needs config.pad_token_id"
            )
        return None if self.pad is None or ids is None else ids != self.pad


@dataclass(frozen=True)
class LastOf(Pooling):
    """The rightmost token whose id is `token` (BART: the end of the sentence); NaN without one."""

    token: int
    mode: str = field(default="lasttoken", kw_only=True)
    empty: Any = field(default="nan", kw_only=True)

    def counted(self, x, valid, ids):
        if ids is None:
            raise ValueError(f"pooling the last token {self.token} of a row needs input_ids")
        return ids == self.token


@dataclass(frozen=True)
class FirstOf(Pooling):
    """The leftmost token whose id is `token`, or is the largest of its row ("largest"); the first
    token where no token has it, or it is None (CLIP: the end of a text, which files of 2021 know by
    its size alone).

    Raises:
        ValueError: several ids.
    """

    token: Any
    mode: str = field(default="cls", kw_only=True)
    empty: Any = field(default="first token", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.token, tuple):
            raise ValueError(
                f"eos_token_id={self.token!r}, but a text is pooled at the one token that ends it; "
                "give one id"
            )

    def counted(self, x, valid, ids):
        if self.token is None:
            return None
        if ids is None:
            raise ValueError("the token that ends a text is found by input_ids: give them")
        return ids == (ids.max(1, keepdims=True) if self.token == "largest" else self.token)


@dataclass(frozen=True)
class Behind(Pooling):
    """The mean of the tokens behind the first `count` ones (the patches behind a class token)."""

    count: int = 1

    def counted(self, x, valid, ids):
        behind = jnp.arange(x.shape[1]) >= self.count
        return behind[None] if valid is None else behind & valid


@dataclass(frozen=True)
class FirstTokens(Pooling):
    """The mean of the first `count` tokens of a row (AST: of its class and distillation tokens)."""

    count: int

    def counted(self, x, valid, ids):
        return (jnp.arange(x.shape[1]) < self.count)[None]


Name = Literal["pooler", "first", "first valid", "end", "mean", "mean of all"]
"""The poolings of heads: the backbone's pooler, the first token (of all, or of those that are no
padding), the last token of the row, the mean over the tokens that are no padding or over
all."""
NAMED = {
    "first": Pooling(mode="cls", padding=True),
    "first valid": Pooling(mode="cls", empty="first token"),
    "end": Pooling(mode="lasttoken", padding=True),
    "mean": Pooling(empty="nan"),
    "mean of all": Pooling(padding=True),
}


def pool(
    x: Float[Array, "B T D"],
    pooling: Pooling | Name,
    valid: Bool[Array, "B T"] | None = None,
    *,
    ids: Int[Array, "B T"] | None = None,
    pooled: Float[Array, "B D"] | None = None,
    skip: Int[Array, ""] | int = 0,
) -> Float[Array, "B D"]:
    """The pooled vector of each row; sums are made in float32.

    Args:
        valid: where there are tokens; padding may lie on either side.
        ids: the tokens, for poolings that choose them by their ids.
        pooled: the output of the backbone's pooler.
        skip: how many tokens in front of each row, a prompt, are left out. Positions count them.

    Raises:
        ValueError: which tokens to pool is unknown.
    """
    if pooling == "pooler":
        assert pooled is not None  # the backbone has a pooler
        return pooled
    how = NAMED[pooling] if isinstance(pooling, str) else pooling
    counted = how.counted(x, valid, ids)
    counted = jnp.broadcast_to(True if counted is None else counted, x.shape[:2])
    index = jnp.arange(x.shape[1])
    start = jnp.argmax(counted, axis=1)[:, None]
    counted &= index >= start + skip
    if how.mode == "cls":
        vector = _token(x, jnp.argmax(counted, 1))
    elif how.mode == "lasttoken":
        vector = _token(x, jnp.max(jnp.where(counted, index, 0), 1))
    elif how.mode == "max":
        vector = jnp.where(counted[..., None], x, jnp.asarray(MASKED, x.dtype)).max(1)
    else:
        weights = counted * (index - start + 1 if how.mode == "weightedmean" else 1.0)
        values = jnp.where(counted[..., None], x, 0).astype(wide(x))
        total = jnp.einsum("bt,btd->bd", weights, values, precision="highest")
        count = jnp.maximum(weights.sum(1, keepdims=True), 1e-9)
        count = jnp.sqrt(count) if how.mode == "mean_sqrt_len_tokens" else count
        vector = (total / count).astype(x.dtype)
    if how.empty == "first token":
        return vector
    return jnp.where(counted.any(1, keepdims=True), vector, 0 if how.empty == "zeros" else jnp.nan)


def _token(x: Float[Array, "B T D"], index: Int[Array, " B"]) -> Float[Array, "B D"]:
    """The vector of one token of each row."""
    return jnp.take_along_axis(x, index[:, None, None], axis=1)[:, 0]
