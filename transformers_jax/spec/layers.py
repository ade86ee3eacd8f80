"""What a layer is made of: attention, feed-forward networks, and the branches that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from transformers_jax.graph import FULL, Mask
from transformers_jax.spec.norm import Norm
from transformers_jax.spec.position import Rotary, ScoreSpec


@dataclass(frozen=True)
class Summaries:
    """More keys: the normalised sum of every `block` consecutive tokens (Guo et al. 2022, 3.2).
    They carry the tag `summary`."""

    tags: ClassVar[frozenset[str]] = frozenset({"summary"})

    block: int
    norm: Norm


@dataclass(frozen=True)
class AttentionSpec:
    """One attention: who hears whom (`mask`), with how many heads, told what about position.

    Attributes:
        heads, kv, kv_heads, value: H, K, G (default H) and U (default K).
        source, value_source: width of what keys (and values) are computed from, if not the stream.
        scale: multiplies q . k; default 1 / sqrt(K).
        bias: which projections have one, of query, key, value, out.
        relations: masks of further relations. Each has queries, keys and values of its own, and the
            messages of all are added before the output projection (Longformer).
        score: what positions add to the scores, learned by this layer; what the stack's score gives
            is handed to it. None: the stack's score, if any.
        extend: keys beyond those of the source, computed from it.
        projects: which of query, key, value and out have a matrix; what has none is taken as it is,
            cut into heads (values that are the source's own states: Bahdanau et al. 2014).
        norm: normalises queries and keys per head.
        softcap: scores become softcap * tanh(scores / softcap).
        sinks: a learned logit per head that takes weight and gives nothing.
        extra: keys appended after the projected ones: "learned" and/or "zero".
        padding: what places that are padding receive: what a token there would, or the mean of all
            values of the row (softmax over scores that are all the same large negative number).
        dropout: of the attention weights.
    """

    heads: int
    kv: int
    kv_heads: int | None = None
    value: int | None = None
    source: int | None = None
    value_source: int | None = None
    mask: Mask = FULL
    scale: float | None = None
    rotary: Rotary | None = None
    bias: tuple[str, ...] = ()
    relations: tuple[Mask, ...] = ()
    score: ScoreSpec | None = None
    extend: Summaries | None = None
    projects: tuple[str, ...] = ("query", "key", "value", "out")
    norm: Norm | None = None
    softcap: float | None = None
    sinks: bool = False
    extra: tuple[str, ...] = ()
    padding: Literal["as tokens", "mean"] = "as tokens"
    dropout: float = 0.0

    def __post_init__(self):
        if self.heads % self.groups:
            raise ValueError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.groups}): "
                "each key/value head serves the same number of query heads"
            )

    @property
    def masks(self) -> tuple[Mask, ...]:
        """The masks of all relations."""
        return (self.mask, *self.relations)

    @property
    def groups(self) -> int:
        """G, the number of key/value heads."""
        return self.kv_heads or self.heads


@dataclass(frozen=True)
class FeedForward:
    """The token-wise phase: act(x up) down; gated: (act(x gate) * (x up)) down (Shazeer 2020)."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    dropout: float = 0.0  # of the activations


@dataclass(frozen=True)
class Experts:
    """Several feed-forward networks, of which each token is served by few (Shazeer et al. 2017).

    Attributes:
        count: E, how many there are.
        top: k, how many serve a token.
        ffn: what each of them computes.
        router: how scores become weights: "softmax" over all experts, the k largest of which are
            taken (Switch, Mixtral); "softmax_of_top", over the k that are taken (gpt-oss);
            "sigmoid", of each score alone (DeepSeek-V3).
        normalise: whether the weights of a token are divided by their sum.
        scale: multiplies the weights.
        bias: whether the router has one.
        capacity: how many tokens of a row an expert serves; those beyond, counted by choice and
            then by place, receive zero from it. None: all of them.
        jitter: with a key, what the router reads is multiplied by uniform(1 - jitter, 1 + jitter).
    """

    count: int
    top: int
    ffn: FeedForward
    router: Literal["softmax", "softmax_of_top", "sigmoid"] = "softmax"
    normalise: bool = False
    scale: float = 1.0
    bias: bool = False
    capacity: int | None = None
    jitter: float = 0.0

    def __post_init__(self):
        if not 1 <= self.top <= self.count:
            raise ValueError(
                f"top ({self.top}) must lie between 1 and the number of experts ({self.count})"
            )
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"capacity ({self.capacity}) must be at least 1, or None for no limit")


@dataclass(frozen=True)
class Conv:
    """act(dropout(W * x + b)) over `kernel` neighbouring tokens, in `groups` parts of the width.

    `mask` says which neighbours are heard, as in attention: not those of another document.
    """

    kernel: int
    groups: int = 1
    activation: str = "linear"
    mask: Mask = FULL
    dropout: float = 0.0

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"a convolution's kernel ({self.kernel}) must be odd: 1, 3, 5, ...")
        if self.mask.pairs:
            raise ValueError(
                f"a convolution hears its neighbours by their tags, but the mask {self.mask} reads "
                f"the pairs {', '.join(sorted(self.mask.pairs))}; give a mask without them"
            )


@dataclass(frozen=True)
class Branch:
    """One residual branch of a block: x + dropout(op(norm(x))), or norm(x + dropout(op(x))).

    `kind` names it in parameter paths; `self` attends within the stream, `cross` to the encoder.
    `reads="block"` takes what entered the block in place of the stream: parallel residuals.
    `blank`: padding is the zero vector behind it.
    """

    kind: Literal["self", "cross", "ffn", "experts", "conv"]
    op: AttentionSpec | FeedForward | Experts | Conv
    norm: Norm | None = None
    placement: Literal["pre", "post"] = "pre"
    dropout: float = 0.0
    reads: Literal["stream", "block"] = "stream"
    blank: bool = False


Block = tuple[Branch, ...]
"""What one layer does: branches, in order."""
