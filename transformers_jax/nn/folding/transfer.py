"""What residues say to pairs, and operations that treat each pair as a token by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import param


@dataclass(frozen=True)
class SequenceToPairSpec(spec.OpSpec):
    """The pair (i, j) gets the products and the differences of what residues j and i say, projected
    (Lin et al. 2023, supplement A.3.1, in place of an outer product mean).

    Attributes:
        source: the width of residues.
        hidden: how many numbers each says, twice.
        norm: of the residues.
    """

    source: int
    hidden: int
    norm: spec.Norm

    def build(self, width, initial, source=None):
        return SequenceToPair(self, width, initial)

    def flops(self, width, queries, keys, edges):
        said = 2.0 * self.source * 2 * self.hidden * queries
        return spec.OpFlops(said + 2.0 * 2 * self.hidden * width * queries * keys)

    def describe(self):
        return f"products and differences of residues, {self.hidden} each"


class SequenceToPair(Op):
    """See `SequenceToPairSpec`."""

    def __init__(self, says: SequenceToPairSpec, width: int, initial: spec.Initial):
        sizes = {"source": says.source, "sides": 2, "mlp": says.hidden, "embed": width}
        joined = {"mlp": 2 * says.hidden, "embed": width}
        self.norm = Norm(says.norm, says.source)
        self.up = param("source sides mlp", sizes, initial.draw("up", sizes))
        self.up_bias = param("sides mlp", sizes, spec.ZEROS)
        self.down = param("mlp embed", joined, initial.draw("down", joined))
        self.down_bias = param("embed", joined, spec.ZEROS)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        residues = self.norm(context.streams[spec.TOKENS])
        said = affine("btd,dsf->btsf", residues, self.up, self.up_bias)
        to, of = said[:, None, :, 0], said[:, :, None, 1]
        both = jnp.concatenate([to * of, to - of], -1)
        return OpResult(affine("btsf,fe->btse", both, self.down, self.down_bias))


@dataclass(frozen=True)
class PerPair(spec.OpSpec):
    """A token-wise operation over pairs, each of which is a token of its own."""

    op: spec.OpSpec

    def build(self, width, initial, source=None):
        return OfPairs(self.op.build(width, initial))

    def flops(self, width, queries, keys, edges):
        return self.op.flops(width, queries * keys, keys, edges)

    def describe(self):
        return f"{self.op.describe()}, over pairs"


class OfPairs(Op):
    """See `PerPair`."""

    def __init__(self, op: Any):
        self.op = op

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        B, T, S, D = x.shape
        result = self.op.apply(x.reshape(B, T * S, D), context, key=key)
        delta: Float[Array, "B N D"] = result.delta
        return OpResult(delta.reshape(x.shape))
