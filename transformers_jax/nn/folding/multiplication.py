"""Triangles of pairs, multiplied (Jumper et al. 2021, supplement 1.6.5, algorithms 11 and 12)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.folding.attention import shared_dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import param


@dataclass(frozen=True)
class TriangleMultiplicationSpec(spec.OpSpec):
    """The pair (i, j) gets the sum over k of what (i, k) and (j, k) say, multiplied number by
    number: two sides of a triangle that start together; or, with `ends`, (k, i) and (k, j).

    Attributes:
        norm: behind the sum.
        dropped: a whole row, or column, is dropped at this rate.
    """

    norm: spec.Norm
    ends: bool = False
    dropped: float = 0.0

    def build(self, width, initial, source=None):
        return TriangleMultiplication(self, width, initial)

    def flops(self, width, queries, keys, edges):
        pairs = queries * keys
        return spec.OpFlops(2.0 * 6 * width * width * pairs, 2.0 * width * pairs * queries)

    def describe(self):
        return f"triangles of {'incoming' if self.ends else 'outgoing'} pairs, multiplied, gated"


class Gated(nnx.Module):
    """sigmoid(x V + c) (x W + b): a layer with a gate of its own."""

    def __init__(self, width: int, initial: spec.Initial):
        sizes = {"embed": width, "mlp": width}
        self.weight = param("embed mlp", sizes, initial.draw("up", sizes))
        self.bias = param("mlp", sizes, spec.ZEROS)
        self.gate = param("embed mlp", sizes, spec.ZEROS)
        self.gate_bias = param("mlp", sizes, spec.ONES)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        gate = jax.nn.sigmoid(affine("...d,de->...e", x, self.gate, self.gate_bias))
        return gate * affine("...d,de->...e", x, self.weight, self.bias)


class TriangleMultiplication(Op):
    """See `TriangleMultiplicationSpec`."""

    def __init__(self, triangle: TriangleMultiplicationSpec, width: int, initial: spec.Initial):
        self.spec = triangle
        self.left, self.right = Gated(width, initial), Gated(width, initial)
        self.norm = Norm(triangle.norm, width)
        sizes = {"mlp": width, "embed": width}
        self.out = param("mlp embed", sizes, initial.draw("out", sizes))
        self.out_bias = param("embed", sizes, spec.ZEROS)
        self.gate = param("mlp embed", sizes, spec.ZEROS)
        self.gate_bias = param("embed", sizes, spec.ONES)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        a, b = (self._there(side(x), context.nodes) for side in (self.left, self.right))
        third = "bkic,bkjc->bijc" if self.spec.ends else "bikc,bjkc->bijc"
        y = self.norm(jnp.einsum(third, a, b))
        y = affine("...d,de->...e", y, self.out, self.out_bias)
        gate = jax.nn.sigmoid(affine("...d,de->...e", x, self.gate, self.gate_bias))
        return OpResult(shared_dropout(y * gate, self.spec.dropped, self.spec.ends, key))

    def _there(self, x: Float[Array, "B T T D"], nodes) -> Float[Array, "B T T D"]:
        """Zero where one of a pair is no residue."""
        if nodes.valid is None:
            return x
        pairs = nodes.valid[:, :, None] & nodes.valid[:, None, :]
        return jnp.where(pairs[..., None], x, 0)
