"""Attention whose scores have a bias of pairs: over the residues of a protein, and over the rows
and columns of its pairs (Jumper et al. 2021, supplement 1.6.1 and 1.6.6; Lin et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import OpResult
from transformers_jax.nn.param import param
from transformers_jax.nn.relation import into_heads

PAIR = "pair"
"""The stream of pairs of residues, [B T T D]."""


@dataclass(frozen=True)
class BiasRule(ScoreRule):
    """score[h, t, s] = the number of head h at the edge from s to t, as it is."""

    pairs = ("bias",)

    def __call__(self, params: Any, q: Any, k: Any, qn: Any, kn: Any, pairs: Mapping[str, Array]):
        return jnp.moveaxis(pairs["bias"], -1, 1)


def biased(edges: Edges, bias: Float[Array, "B T S H"]) -> tuple[Edges, Score]:
    """The edges with a number for each head, and the score that reads it."""
    return replace(edges, pairs={**edges.pairs, "bias": bias}), Score(BiasRule())


@dataclass(frozen=True)
class PairBiasSpec(AttentionSpec):
    """Self-attention of residues with a gate, and a bias that is linear in the normalised pair.

    Attributes:
        pair: the width of pairs.
        norm_pair: of the pair, in front of the bias; None: the pair is normalised already.
    """

    pair: int = 0
    norm_pair: spec.Norm | None = None

    def build(self, width, initial, source=None):
        return PairBiasAttention(self, width, initial)

    def flops(self, width, queries, keys, edges):
        dense, along = super().flops(width, queries, keys, edges)
        gate = 2.0 * width * self.heads * self.kv * queries
        return spec.OpFlops(dense + gate + 2.0 * self.pair * self.heads * queries * keys, along)

    def describe(self):
        return f"{super().describe()}, gated, biased by pairs"


class GatedAttention(Attention):
    """Attention whose output is gated by its queries, number by number, and whose scores have a
    bias that is linear in pairs."""

    def __init__(self, attention: Any, width: int, pair: int, initial: spec.Initial):
        super().__init__(attention, width, initial)
        sizes = {"embed": width, "heads": attention.heads, "kv": attention.kv, "pair": pair}
        self.gate = param("embed heads kv", sizes, spec.ZEROS)
        self.gate_bias = param("heads kv", sizes, spec.ONES)
        self.bias = param("pair heads", sizes, initial.draw("bias", sizes))

    def bias_of(self, pairs: Float[Array, "B T T E"]) -> Float[Array, "B T T H"]:
        """The bias of each head at each edge."""
        return affine("btse,eh->btsh", pairs, self.bias, None)

    def gated(
        self, x: Float[Array, "B T D"], edges: Edges, score: Score, key: Key | None, how: str
    ) -> Float[Array, "B T D"]:
        """Messages along the edges into the tokens of `x`, and their gate."""
        q = self.queries(x)
        k, v = self.project(x)
        y, _ = self.messages(q, k, v, edges, score=score, key=key, how=how, with_weights=False)
        return self.output(y * jax.nn.sigmoid(into_heads(x, self.gate, self.gate_bias)))


class PairBiasAttention(GatedAttention):
    """See `PairBiasSpec`."""

    def __init__(self, attention: PairBiasSpec, width: int, initial: spec.Initial):
        super().__init__(attention, width, attention.pair, initial)
        norm = attention.norm_pair
        self.pair_norm = None if norm is None else Norm(norm, attention.pair)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        pairs = context.streams[PAIR]
        pairs = pairs if self.pair_norm is None else self.pair_norm(pairs)
        edges, score = biased(context.edges[None, self.spec.mask, None], self.bias_of(pairs))
        return OpResult(self.gated(x, edges, score, key, context.how))


@dataclass(frozen=True)
class TriangleAttentionSpec(AttentionSpec):
    """Self-attention of the pairs of a row (i, j), over j, with a bias of the third side of the
    triangle (j, k); or of a column, where the node that they share is the end (algorithms 13, 14).

    Attributes:
        ends: whether pairs share the node where they end.
        rows: so many rows are computed at a time, which bounds the memory; None: all.
        dropped: a whole row (where pairs start together) or column is dropped at this rate.
    """

    ends: bool = False
    rows: int | None = None
    dropped: float = 0.0

    def build(self, width, initial, source=None):
        return TriangleAttention(self, width, initial)

    def flops(self, width, queries, keys, edges):
        dense, along = super().flops(width, queries, keys, edges)
        gate = 2.0 * width * self.heads * self.kv * queries
        third = 2.0 * width * self.heads * queries * keys
        return spec.OpFlops(queries * (dense + gate) + third, queries * along)

    def describe(self):
        shared = "end" if self.ends else "start"
        return f"{super().describe()}, gated, of pairs with one {shared}, biased by triangles"


class TriangleAttention(GatedAttention):
    """See `TriangleAttentionSpec`."""

    def __init__(self, attention: TriangleAttentionSpec, width: int, initial: spec.Initial):
        super().__init__(attention, width, width, initial)
        self.triangle = attention

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        own, ends = self.triangle, self.triangle.ends
        x = jnp.swapaxes(x, 1, 2) if ends else x
        edges = context.edges[None, own.mask, None]
        edges, score = biased(edges, self.bias_of(x))
        row = lambda x: self.gated(x, edges, score, None, context.how)
        rows = jnp.moveaxis(x, 1, 0)
        if own.rows is None or own.rows >= len(rows):
            y = jax.vmap(row)(rows)
        else:
            y = jax.lax.map(row, rows, batch_size=own.rows)
        y = jnp.moveaxis(y, 0, 1)
        return OpResult(
            shared_dropout(jnp.swapaxes(y, 1, 2) if ends else y, own.dropped, ends, key)
        )


def shared_dropout(
    x: Float[Array, "B T T D"], rate: float, ends: bool, key: Key | None
) -> Float[Array, "B T T D"]:
    """Dropout that pairs with one start share, number by number; or, with `ends`, with one end
    (Jumper et al. 2021, supplement 1.11.6)."""
    if key is None or rate == 0.0:
        return x
    one = jnp.ones_like(x[:, :1] if ends else x[:, :, :1])
    return x * dropout(one, rate, key)
