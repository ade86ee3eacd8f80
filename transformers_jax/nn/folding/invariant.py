"""Invariant point attention (Jumper et al. 2021, supplement 1.8.2, algorithm 22).

Each residue has a frame, in which it places points as queries, keys and values. Scores fall with
the distance of points in the world, and what is read comes back in the frame of the reader: no
motion of all frames together changes any of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph import FULL, Mask
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import Score, ScoreRule, reference
from transformers_jax.nn.folding.attention import PAIR
from transformers_jax.nn.folding.rigid import Rigid, rigid_of, without_turning_gradient
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import param
from transformers_jax.nn.relation import into_heads

FRAMES = "frames"
"""The stream of frames, [B T 7]: a quaternion and a translation of each residue."""

SOFTPLUS_OF_ONE = math.log(math.e - 1)
"""What softplus makes 1 of."""


@dataclass(frozen=True)
class PointRule(ScoreRule):
    """score[h, t, s] = bias[t, s, h] - weight[h] / 2 times the squared distances between the points
    of query t and key s, [B T H P 3] each, added up."""

    pairs = ("bias",)

    def __call__(self, params: Any, q: Any, k: Any, qn: Any, kn: Any, pairs: Mapping[str, Array]):
        points, others = params["queries"], params["keys"]
        apart = points[:, :, None] - others[:, None]
        squares = jnp.square(apart).sum((-1, -2))
        return jnp.moveaxis(pairs["bias"] - params["weight"] / 2 * squares, -1, 1)


@dataclass(frozen=True)
class InvariantPointSpec(spec.OpSpec):
    """Invariant point attention of residues.

    Attributes:
        heads, kv: H and K, of the part that is plain attention.
        points, values: of a query (and key), and of a value, in each head.
        pair: the width of pairs, from which the bias comes and which are read as well.
        eps: in the lengths of the points that are read.
        dropout: of the residue with what it read.
    """

    heads: int
    kv: int
    points: int
    values: int
    pair: int
    mask: Mask = FULL
    eps: float = 1e-8
    dropout: float = 0.0

    @property
    def masks(self) -> tuple[Mask, ...]:  # type: ignore[override]
        return (self.mask,)

    @property
    def read(self) -> int:
        """How many numbers a head reads: values, points with their lengths, and pairs."""
        return self.kv + 4 * self.values + self.pair

    def build(self, width, initial, source=None):
        return InvariantPointAttention(self, width, initial)

    def flops(self, width, queries, keys, edges):
        own = 3 * self.kv + 3 * (2 * self.points + self.values)
        dense = width * self.heads * (own + self.read) * queries
        dense += self.pair * self.heads * queries * keys
        along = self.kv + 3 * self.points + self.read
        return spec.OpFlops(2.0 * dense, 2.0 * self.heads * along * edges(self.mask))

    def describe(self):
        return f"{self.heads} heads of {self.kv}, {self.points} points and {self.values} values"


class InvariantPointAttention(Op):
    """See `InvariantPointSpec`."""

    def __init__(self, attention: InvariantPointSpec, width: int, initial: spec.Initial):
        self.spec = a = attention
        sizes = {"embed": width, "heads": a.heads, "kv": a.kv, "pair": a.pair, "space": 3}
        sizes |= {"points": a.points, "both": a.points + a.values, "read": a.heads * a.read}

        def layer(role: str, axes: str, bias: str) -> tuple[Any, Any]:
            return param(axes, sizes, initial.draw(role, sizes)), param(bias, sizes, spec.ZEROS)

        self.query, self.query_bias = layer("query", "embed heads kv", "heads kv")
        self.key, self.key_bias = layer("key", "embed heads kv", "heads kv")
        self.value, self.value_bias = layer("value", "embed heads kv", "heads kv")
        axes = "embed heads {0} space", "heads {0} space"
        self.points, self.points_bias = layer("query", *(one.format("points") for one in axes))
        self.places, self.places_bias = layer("key", *(one.format("both") for one in axes))
        self.bias, self.bias_bias = layer("bias", "pair heads", "heads")
        self.weight = param("heads", sizes, spec.Draw("constant", SOFTPLUS_OF_ONE))
        self.out, self.out_bias = layer("out", "read embed", "embed")

    def __call__(
        self, x: Float[Array, "B T D"], pairs: Float[Array, "B T T E"], frames: Rigid, edges: Any
    ) -> Float[Array, "B T D"]:
        """What residues `x` read of each other along `edges`, by their pairs and frames [B T]."""
        a = self.spec
        bias = affine("btse,eh->btsh", pairs, self.bias, self.bias_bias)
        each = frames.at(..., None, None)
        queries = each.apply(affine("btd,dhpc->bthpc", x, self.points, self.points_bias))
        both = each.apply(affine("btd,dhpc->bthpc", x, self.places, self.places_bias))
        keys, values = both[..., : a.points, :], both[..., a.points :, :]
        weight = jax.nn.softplus(self.weight[...]) * math.sqrt(1 / (3 * a.points * 9 / 2))
        params = {"queries": queries, "keys": keys, "weight": weight}
        edges = replace(edges, pairs={**edges.pairs, "bias": math.sqrt(1 / 3) * bias})
        q, k, v = (
            into_heads(x, *layer)
            for layer in (
                (self.query, self.query_bias),
                (self.key, self.key_bias),
                (self.value, self.value_bias),
            )
        )
        v = jnp.concatenate([v, values.reshape(*v.shape[:3], -1)], -1)
        scale, score = math.sqrt(1 / (3 * a.kv)), Score(PointRule(), params)
        y, weights = reference.attend_with_weights(q, k, v, edges, scale=scale, score=score)
        points = each.undo(y[..., a.kv :].reshape(*y.shape[:3], a.values, 3))
        lengths = jnp.sqrt(jnp.square(points).sum(-1) + a.eps)
        of_pairs = jnp.einsum("bhts,btse->bthe", weights.astype(pairs.dtype), pairs)
        flat = [y[..., : a.kv], *jnp.moveaxis(points, -1, 0), lengths, of_pairs]
        read = jnp.concatenate([part.reshape(*part.shape[:2], -1) for part in flat], -1)
        return affine("btr,rd->btd", read, self.out, self.out_bias)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        frames = rigid_of(without_turning_gradient(context.streams[FRAMES]))
        edges = context.edges[None, self.spec.mask, None]
        delta = self(x, context.streams[PAIR], frames, edges)
        if key is None or self.spec.dropout == 0.0:
            return OpResult(delta)
        return OpResult(dropout(x + delta, self.spec.dropout, key) - x)
