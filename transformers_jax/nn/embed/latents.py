"""The embedder of latents: learned vectors, the same for every row of what they attend to."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param
from transformers_jax.sizes import check_count


@dataclass(frozen=True)
class LatentSpec:
    """Learned vectors that attend to other tokens (Jaegle et al. 2021, Perceiver, section 3).

    Attributes:
        count: L, how many there are.
        width: D, of the stream.
        begins: what they are drawn from.

    Raises:
        ValueError: no latents, which would have nothing to say.
    """

    count: int
    width: int
    norm: spec.Norm | None = None
    dropout: float = 0.0
    begins: spec.Draw = spec.ZEROS

    def __post_init__(self):
        check_count("the number of latents", self.count)


class LatentEmbedder(Embedder):
    """Latents, normalised where there is a norm. No argument of a call holds them."""

    def __init__(self, latents: LatentSpec):
        self.spec, self.tokens = latents, latents.count
        sizes = {"latents": latents.count, "embed": latents.width}
        self.latents = param("latents embed", sizes, latents.begins)
        self.norm = None if latents.norm is None else Norm(latents.norm, latents.width)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None, rows=1) -> Tokens:
        x = self.latents[...].astype(dtype)
        x = x if self.norm is None else self.norm(x)
        x = dropout(jnp.broadcast_to(x, (rows, *x.shape)), self.spec.dropout, key)
        return Tokens(x, nodes_of(self.tokens), self.tokens)

    def describe(self):
        return f"{self.tokens:,} latents"

    def flops(self, tokens):
        return 0.0
