"""Keys beyond the tokens of a source: summaries that all tokens attend to (Guo et al. 2022, 3.2),
or the tokens of earlier segments as memory (Dai et al. 2019).

A layout (`StackSpec.layout`) gives each token the tag `block`, the number of the block to which it
belongs, and -1 to padding. A summary is the normalised sum of the tokens of one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.graph import Mask, Nodes, concatenate
from transformers_jax.nn.norm import Norm


@dataclass(frozen=True)
class SummaryBlocks(spec.Layout):
    """Writes the tag `block`: rows are cut into blocks of `size` tokens, padding included. Tokens
    behind the last whole block join it, padding is in none, and nor is a row without a whole block
    (as in transformers, which counts the blocks whose last position holds a token)."""

    size: int
    tags = frozenset({"block"})

    def __call__(self, nodes: Nodes) -> Nodes:
        index = np.arange(nodes.length, dtype=np.int32)[None]
        valid = np.ones_like(index, bool) if nodes.valid is None else nodes.valid
        xp: Any = np if isinstance(valid, np.ndarray) else jnp
        whole = (valid & (index % self.size == self.size - 1)).sum(1, keepdims=True)
        block = xp.minimum(xp.where(valid, index // self.size, -1), whole - 1)
        return nodes.with_tags(block=block.astype(np.int32))


def count(extend: spec.Summaries, length: int) -> int:
    """How many summaries a row of `length` tokens has: one per whole block."""
    return length // extend.block


def belongs(nodes: Nodes, blocks: int) -> Bool[Array, "b T N"]:
    """Which token is part of which block."""
    return nodes.tag("block")[..., None] == np.arange(blocks)


def drawn(extend: Any, mask: Mask, nodes: Nodes, cache: Any = None) -> tuple[Mask, Nodes]:
    """The mask and the keys of edges into the tokens `nodes`, with those that extend them. A step
    of decoding makes none: what is in the cache is all that there is to hear, by the mask itself.
    """
    if cache is not None:
        return mask, cache.keys(mask, nodes)
    if isinstance(extend, spec.Recurrence):
        return extend.parted(mask), remembered(nodes)
    return mask, nodes if extend is None else extended(extend, nodes)


def remembered(nodes: Nodes) -> Nodes:
    """The nodes of tokens and, behind them, of the same as memory."""
    zeros: Any = np.zeros((1, nodes.length), np.int32)
    return concatenate(nodes.with_tags(memory=zeros), nodes.with_tags(memory=zeros + 1))


def extended(extend: spec.Summaries, nodes: Nodes) -> Nodes:
    """The nodes of a source and, behind them, those of its summaries.

    A summary carries the tag `summary` (tokens: 0) and the number of its `block`; it is valid up to
    the last block that a token belongs to (one in which all is padding is attended to as zero).
    """
    blocks = count(extend, nodes.length)
    numbers: Any = np.arange(blocks, dtype=np.int32)[None]
    tags: dict[str, Any] = dict.fromkeys(nodes.tags, np.zeros_like(numbers))
    tags |= {"block": numbers, "summary": np.ones_like(numbers)}
    last = nodes.tag("block").max(1, keepdims=True)
    zeros: Any = np.zeros((1, nodes.length), np.int32)
    return concatenate(nodes.with_tags(summary=zeros), Nodes(tags, numbers <= last))


class Summaries(nnx.Module):
    """norm(sum of the tokens of a block), one vector a block."""

    def __init__(self, extend: spec.Summaries, width: int):
        self.spec = extend
        self.norm = Norm(extend.norm, width)

    def __call__(self, x: Float[Array, "B S D"], nodes: Nodes) -> Float[Array, "B N D"]:
        """The summaries of the tokens `x`, by the blocks of their `nodes`."""
        part = belongs(nodes, count(self.spec, x.shape[1])).astype(x.dtype)
        part = jnp.broadcast_to(part, (x.shape[0], *part.shape[1:]))
        return self.norm(jnp.einsum("bsn,bsd->bnd", part, x))
