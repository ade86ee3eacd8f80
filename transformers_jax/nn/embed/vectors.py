"""The embedder of vectors that a call has already."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm


class VectorEmbedder(Embedder):
    """The vectors of an argument, Float[B T D], normalised where there is a norm; `mask` is the
    argument that says which of them are tokens."""

    def __init__(
        self,
        argument: str,
        width: int,
        *,
        mask: str,
        norm: spec.Norm | None = None,
        dropout: float = 0.0,
    ):
        self.raw, self.arguments = (argument,), (argument, mask)
        self.width, self.rate, self.mask = width, dropout, mask
        self.norm = None if norm is None else Norm(norm, width)

    def check(self, inputs, prefix="", rank=2):
        argument, mask = (prefix + name for name in self.arguments)
        vectors = inputs.get(argument)
        if vectors is None:
            return None
        checks.vectors(argument, vectors, self.width)
        shape = np.shape(vectors)[:2]
        if mask in inputs:
            checks.mask(mask, inputs[mask], shape, argument)
        return shape

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        argument, mask = self.arguments
        x = jnp.asarray(inputs[argument]).astype(dtype)
        x = dropout(x if self.norm is None else self.norm(x), self.rate, key)
        return Tokens(x, nodes_of(x.shape[1], inputs.get(mask)), x.shape[1])

    def describe(self):
        return "nothing at the input"
