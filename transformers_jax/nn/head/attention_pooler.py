"""The vector of a row as attention makes it: what one learned query reads of its tokens."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph import FULL, connect, sequence
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.head.base import NOTHING, Beside
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param


class AttentionPooler(nnx.Module):
    """A learned query, the probe, attends to the tokens of a row; an MLP of its message is added
    (Zhai et al. 2021, "Scaling Vision Transformers", section 3.2: multi-head attention pooling)."""

    def __init__(
        self,
        width: int,
        attention: AttentionSpec,
        ffn: FeedForwardSpec,
        norm: spec.Norm,
        initial: spec.Initial,
    ):
        sizes = {"embed": width}
        self.probe = param("embed", sizes, initial.draw("probe", sizes))
        self.attention = Attention(attention, width, initial)
        self.norm = Norm(norm, width)
        self.ffn = ffn.build(width, initial)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        beside: Beside = NOTHING,
    ) -> Float[Array, "B D"]:
        probe = jnp.broadcast_to(self.probe[...].astype(x.dtype), (x.shape[0], 1, x.shape[-1]))
        edges = connect(FULL, sequence(1), sequence(x.shape[1], valid=beside.valid))
        message = self.attention(probe, edges, source=x).x
        return (message + self.ffn(self.norm(message)))[:, 0]
