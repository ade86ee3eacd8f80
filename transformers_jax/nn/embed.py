"""Embedders: where a modality ends. After them everything is tokens. Here: ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.graph import Nodes
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param
from transformers_jax.nn.position import sinusoids
from transformers_jax.shard import constrain


@dataclass(frozen=True)
class EmbedSpec:
    """How ids become vectors.

    Attributes:
        positions: number of learned positions, "sinusoids", or None where position enters later.
        types: number of token types with a table of their own, or "words" where type ids are
            looked up among the words (GPT-2).
        norm: applied to the sum (BERT).
        scale: multiplies the word vectors (sqrt(D) in the 2017 Transformer).
    """

    vocab: int
    width: int
    positions: int | Literal["sinusoids"] | None = None
    types: int | Literal["words"] | None = None
    norm: spec.Norm | None = None
    scale: float = 1.0
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)


class TokenEmbedder(nnx.Module):
    """Words + positions + types, normalised."""

    def __init__(self, embed: EmbedSpec):
        self.spec = embed
        sizes = {"vocab": embed.vocab, "embed": embed.width}

        def table(role: str, rows: int, axis: str):
            sized = {**sizes, axis: rows}
            return param(f"{axis} embed", sized, embed.initial.draw(role, sized))

        self.table = table("table", embed.vocab, "vocab")
        learned = isinstance(embed.positions, int)
        self.position = table("position", embed.positions, "position") if learned else None
        typed = isinstance(embed.types, int)
        self.type = table("type", embed.types, "type") if typed else None
        self.norm = Norm(embed.norm, embed.width) if embed.norm else None

    def words(self, ids: Int[Array, "B T"], dtype: jnp.dtype) -> Float[Array, "B T D"]:
        """The vectors of ids; an id outside the table is NaN, never a neighbour's vector."""
        return (rows(self.table[...], ids) * self.spec.scale).astype(dtype)

    def __call__(
        self,
        words: Float[Array, "B T D"],
        nodes: Nodes,
        type_ids: Int[Array, "B T"] | None = None,
        key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Word vectors (`words(ids)`, or the caller's own) with everything else added."""
        x, dtype = words, words.dtype
        if self.type is not None:
            type_ids = np.zeros((1, x.shape[1]), np.int32) if type_ids is None else type_ids
            x = x + rows(self.type[...], type_ids).astype(dtype)
        elif self.spec.types == "words" and type_ids is not None:
            x = x + self.words(type_ids, dtype)
        if self.position is not None:
            x = x + rows(self.position[...], nodes.position).astype(dtype)
        elif self.spec.positions == "sinusoids":
            x = x + sinusoids(nodes.position, x.shape[-1]).astype(dtype)
        x = x if self.norm is None else self.norm(x)
        return dropout(x, self.spec.dropout, key)


def rows(table: Float[Array, "V D"], ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """Rows of a table by id. JAX would clamp an id that is too large; this gives NaN instead."""
    # Undo the table's fsdp cut first: a table cut on both axes makes XLA rematerialise the lookup.
    table = constrain(table, "vocab embed")
    return jnp.take(table, ids, axis=0, mode="fill", fill_value=jnp.nan)
