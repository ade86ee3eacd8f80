"""The last projection of a language model as its factors: logits are made where they are needed."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, capped
from transformers_jax.nn.param import mixed_einsum
from transformers_jax.shard import constrain


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("features", "table", "bias"),
    meta_fields=("softcap", "mixed"),
)
@dataclass(frozen=True)
class Unembedding:
    """Everything that logits are made of: softcap * tanh((features table^T + bias) / softcap).

    Attributes:
        features: the stream, scaled and transformed by the head.
        table: one row per word.
        softcap: logits lie within +-softcap; None for no limit.
        mixed: products take bfloat16 operands and give float32.
    """

    features: Float[Array, "B T D"]
    table: Float[Array, "V D"]
    bias: Float[Array, " V"] | None = None
    softcap: float | None = None
    mixed: bool = False

    def logits(self) -> Float[Array, "B T V"]:
        """Scores of every word, in the dtype of the features."""
        x, table = self.features, self.table
        if self.mixed:
            y = mixed_einsum("btd,vd->btv", x, table).astype(x.dtype)
        else:
            y = jnp.einsum("btd,vd->btv", x, table.astype(x.dtype))
        y = y if self.bias is None else y + self.bias.astype(y.dtype)
        return constrain(capped(y, self.softcap), "batch length vocab")
