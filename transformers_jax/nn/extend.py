"""Keys beyond the tokens of a source: summaries that every token may hear (Guo et al. 2022, 3.2).

A layout (`StackSpec.layout`) gives each token the tag `block`, the number of the block to which it
belongs, and -1 to padding. A summary is the normalised sum of the tokens of one block.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.graph import Nodes, concatenate
from transformers_jax.nn.norm import Norm


def count(extend: spec.Summaries, length: int) -> int:
    """How many summaries a row of `length` tokens has: one per whole block."""
    return length // extend.block


def belongs(nodes: Nodes, blocks: int) -> Bool[Array, "b T N"]:
    """Which token is part of which block."""
    return nodes.tag("block")[..., None] == np.arange(blocks)


def extended(extend: spec.Summaries, nodes: Nodes) -> Nodes:
    """The nodes of a source and, behind them, those of its summaries.

    A summary carries the tag `summary` (tokens: 0) and the number of its `block`; it is valid up to
    the last block that a token belongs to (one in which all is padding is heard as zero).
    """
    blocks = count(extend, nodes.length)
    numbers = np.arange(blocks, dtype=np.int32)[None]
    tags = dict.fromkeys(nodes.tags, np.zeros_like(numbers)) | {"block": numbers}
    last = nodes.tag("block").max(1, keepdims=True)
    summaries = Nodes({**tags, "summary": np.ones_like(numbers)}, numbers <= last)
    return concatenate(nodes.with_tags(summary=np.zeros((1, nodes.length), np.int32)), summaries)


class Summaries(nnx.Module):
    """norm(sum of the tokens of a block), one vector a block."""

    def __init__(self, extend: spec.Summaries, width: int):
        self.spec = extend
        self.norm = Norm(extend.norm, width)

    def __call__(self, x: Float[Array, "B S D"], nodes: Nodes) -> Float[Array, "B N D"]:
        """The summaries of the tokens `x`, whose blocks `nodes` tell."""
        part = belongs(nodes, count(self.spec, x.shape[1])).astype(x.dtype)
        part = jnp.broadcast_to(part, (x.shape[0], *part.shape[1:]))
        return self.norm(jnp.einsum("bsn,bsd->bnd", part, x))
