"""Attention of latents to other tokens and to themselves, whose keys stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.graph import connect, sequence
from transformers_jax.nn.attend import prepare
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import OpResult


@dataclass(frozen=True)
class ResamplerSpec(AttentionSpec):
    """The attention of a Perceiver resampler (Alayrac et al. 2022, Flamingo, section 2.1): one
    softmax over the source and the latents, which need the same width.

    Attributes:
        source_norm: of the source.
    """

    source_norm: spec.Norm | None = None

    def build(self, width: int, initial: spec.Initial, source: str | None = None) -> Resampler:
        return Resampler(self, width, initial, source)

    def flops(self, width, queries, keys, edges) -> spec.OpFlops:
        return super().flops(width, queries, keys + queries, lambda m: edges(m) + queries**2)

    def describe(self) -> str:
        return f"{super().describe()}, over the source and the latents"


class Resampler(Attention):
    """See `ResamplerSpec`."""

    spec: ResamplerSpec

    def __init__(
        self,
        attention: ResamplerSpec,
        width: int,
        initial: spec.Initial | None = None,
        source: str | None = None,
    ):
        super().__init__(attention, width, initial, source)
        norm = attention.source_norm
        self.source_norm = None if norm is None else Norm(norm, width)

    def apply(self, x, context, *, cache=None, key=None):
        source = context.sources[str(self.source)].astype(x.dtype)
        source = source if self.source_norm is None else self.source_norm(source)
        tokens = jnp.concatenate([source, x], axis=1)
        edges = connect(self.spec.mask, context.nodes, sequence(tokens.shape[1]))
        attended = self(
            x,
            prepare(edges, context.how),
            source=tokens,
            key=key,
            how=context.how,
            with_weights="weights" in context.collect,
        )
        weights = attended.weights
        return OpResult(attended.x, None, {} if weights is None else {"weights": weights})
