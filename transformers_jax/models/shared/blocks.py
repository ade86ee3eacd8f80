"""The standard block of a Transformer (Vaswani et al. 2017): self-attention, cross-attention in a
decoder, and a token-wise feed-forward network."""

from __future__ import annotations

from dataclasses import replace

from transformers_jax.graph import Mask
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.residual import LayerScale
from transformers_jax.spec import Block, Branch, Norm, OpSpec
from transformers_jax.spec.layers import Placement

BIASES = ("query", "key", "value", "out")


def attention(config: FamilyConfig, width: str, heads: str, mask: Mask) -> AttentionSpec:
    """Attention whose heads, of which there are as many as the field `heads` says, divide the width
    of the stream, which the field `width` says. All projections have a bias.

    Raises:
        ValueError: the heads do not divide the width.
    """
    count, kv = getattr(config, heads), config.head_width(width, heads)
    return AttentionSpec(count, kv, mask=mask, bias=BIASES)


def scaled(one: Block, value: float) -> Block:
    """The block with a learned scale for each channel of what its branches add (CaiT)."""
    return tuple(replace(branch, residual=LayerScale(value)) for branch in one)


def block(
    own: AttentionSpec,
    ffn: OpSpec | Branch,
    norm: Norm,
    placement: Placement = "pre",
    dropout: float = 0.0,
    cross: Mask | None = None,
) -> Block:
    """(self, ffn), or (self, cross, ffn) where the mask `cross` of a cross-attention is given.

    Cross-attention has the sizes of self-attention, and nothing that is said of positions. All
    branches have the same norm, placement and dropout; `ffn` may be a branch of another name.
    """
    branches = [Branch("self", own)]
    if cross is not None:
        other = replace(own, mask=cross, rotary=None, score=None)
        branches.append(Branch("cross", other, source="encoder"))
    branches.append(ffn if isinstance(ffn, Branch) else Branch("ffn", ffn))
    return tuple(
        replace(branch, norm=norm, placement=placement, dropout=dropout) for branch in branches
    )


def in_parallel(one: Block, norms: int) -> Block:
    """The block with branches that all read what enters it: each through a norm of its own, or all
    through one, where `norms` is 1 (Wang and Komatsuzaki 2021, GPT-J)."""
    first, *others = one
    if norms == 1:
        return (first, *(replace(branch, reads="normed", norm=None) for branch in others))
    return (first, *(replace(branch, reads="block") for branch in others))
