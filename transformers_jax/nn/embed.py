"""Embedders: where a modality ends. After them everything is tokens. Here: ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.graph import Nodes
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param
from transformers_jax.nn.sinusoidal import Sinusoids, sinusoids, unsigned
from transformers_jax.shard import constrain


@dataclass(frozen=True)
class EmbedSpec:
    """How ids become vectors.

    Attributes:
        vocab: number of words, or None for the side of a model that reads another's words (BART's
            decoder).
        unused: whether files hold a further table of words that nothing reads (BART with untied
            words keeps the one that its two sides would share).
        padding_idx: an id whose vector learns nothing from being read, as in torch.
        positions: rows of the table of learned positions, `Sinusoids`, or None where position
            enters later.
        offset: the row of position 0 (BART keeps two rows before it, RoBERTa `pad` + 1).
        padding: an id that has no position of its own: the others are counted, and it stands at
            -1, the row before the first (RoBERTa), or at none (sinusoids: M2M-100); None where
            places in the row are positions.
        types: number of token types with a table of their own, or "words" where type ids are
            looked up among the words (GPT-2). 0: type ids are taken and not read (DeBERTa).
        norm: applied to the sum (BERT), or to the words before all else (BlenderBot-small's
            decoder), or to the stream that they are brought to (DeBERTa); `normed` says which.
        scale: multiplies the word vectors (sqrt(D) in the 2017 Transformer), and also vectors that
            the caller gives in their place where it `scales` "all" (Marian's decoder).
        project: width of the stream, where that of the embeddings is another (ELECTRA), with a
            bias or not (`project_bias`).
        zero_padding: whether padding is the zero vector (DeBERTa).
    """

    vocab: int | None
    width: int
    unused: bool = False
    padding_idx: int | None = None
    positions: int | Sinusoids | None = None
    offset: int = 0
    padding: int | None = None
    types: int | Literal["words"] | None = None
    norm: spec.Norm | None = None
    normed: Literal["sum", "words", "stream"] = "sum"
    scale: float = 1.0
    scales: Literal["words", "all"] = "words"
    dropout: float = 0.0
    project: int | None = None
    project_bias: bool = True
    zero_padding: bool = False
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def longest(self) -> int | None:
        """How many tokens have a position; None where there is no table."""
        rows = self.positions
        rows = rows.rows if isinstance(rows, Sinusoids) else rows
        return None if rows is None else rows - self.offset


class TokenEmbedder(nnx.Module):
    """Words + positions + types, normalised, and brought to the width of the stream."""

    def __init__(self, embed: EmbedSpec):
        self.spec = embed
        sizes = {"embed": embed.width}

        def table(role: str, rows: int | None, axis: str) -> nnx.Param | None:
            if rows is None:
                return None
            sized = {**sizes, axis: rows}
            return param(f"{axis} embed", sized, embed.initial.draw(role, sized))

        self.table = table("table", embed.vocab, "vocab")
        self.unused = table("table", embed.vocab, "vocab") if embed.unused else None
        learned = embed.positions if isinstance(embed.positions, int) else None
        self.position = table("position", learned, "position")
        types = embed.types if isinstance(embed.types, int) and embed.types > 0 else None
        self.type = table("type", types, "type")
        normed = embed.project or embed.width if embed.normed == "stream" else embed.width
        self.norm = Norm(embed.norm, normed) if embed.norm else None
        self.project = Projection(embed) if embed.project else None

    def words(
        self, ids: Int[Array, "B T"], dtype: jnp.dtype, table: Float[Array, "V D"] | None = None
    ) -> Float[Array, "B T D"]:
        """The vectors of ids, in the table of another embedder if one is given; an id outside of
        it is NaN, never a neighbour's vector."""
        if table is None:
            assert self.table is not None  # else the caller gives another's
            table = self.table[...]
        vectors = rows(table, ids)
        if self.spec.padding_idx is not None:
            vectors = without_gradient(vectors, ids == self.spec.padding_idx)
        return (vectors * self.spec.scale).astype(dtype)

    def given(self, vectors: Float[Array, "B T D"], dtype: jnp.dtype) -> Float[Array, "B T D"]:
        """The caller's vectors in place of the words'."""
        scale = self.spec.scale if self.spec.scales == "all" else 1.0
        return (vectors * scale).astype(dtype)

    def __call__(
        self,
        words: Float[Array, "B T D"],
        nodes: Nodes,
        type_ids: Int[Array, "B T"] | None = None,
        key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Word vectors (`words(ids)`, or `given`) with everything else added."""
        x, dtype = words, words.dtype
        if self.norm is not None and self.spec.normed == "words":
            x = self.norm(x)
        if self.type is not None:
            type_ids = jnp.zeros((1, x.shape[1]), jnp.int32) if type_ids is None else type_ids
            x = x + rows(self.type[...], type_ids).astype(dtype)
        elif self.spec.types == "words" and type_ids is not None:
            x = x + self.words(type_ids, dtype)
        place = nodes.position + self.spec.offset
        if self.position is not None:
            vectors = rows(self.position[...], place)
            if self.spec.padding is not None:  # torch: `padding_idx` of the table
                vectors = without_gradient(vectors, nodes.position == -1)
            x = x + vectors.astype(dtype)
        elif isinstance(self.spec.positions, Sinusoids):
            waves = sinusoids(self.spec.positions, x.shape[-1], place)
            if self.spec.padding is not None:
                waves = jnp.where((nodes.position < 0)[..., None], 0.0, waves)
                waves = jnp.where((nodes.position < -1)[..., None], jnp.nan, waves)
            x = x + waves.astype(dtype)
        if self.norm is not None and self.spec.normed == "sum":
            x = self.norm(x)
        if self.spec.normed == "stream":
            x = x if self.project is None else self.project(x)
            x = x if self.norm is None else self.norm(x)
            x = nodes.zeroed(x) if self.spec.zero_padding else x
            return dropout(x, self.spec.dropout, key)
        x = nodes.zeroed(x) if self.spec.zero_padding else x
        x = dropout(x, self.spec.dropout, key)
        return x if self.project is None else self.project(x)

    def places(self, ids: Int[Array, "B T"], start: Int[Array, ""] | int) -> Int[Array, "B T"]:
        """The positions of words that are counted apart from padding; `start` came before."""
        real = ids != self.spec.padding
        return jnp.where(real, jnp.cumsum(real, axis=1) - 1 + start, -1).astype(jnp.int32)


class Projection(nnx.Module):
    """x W + b, from the width of the embeddings to that of the stream (Clark et al. 2020, 3.2)."""

    def __init__(self, embed: EmbedSpec):
        assert embed.project is not None  # the width of the stream
        sizes = {"embed": embed.project, "inner": embed.width}
        self.weight = param("inner embed", sizes, embed.initial.draw("project", sizes))
        self.bias = param("embed", sizes, spec.ZEROS) if embed.project_bias else None

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        return add(contract("btd,de->bte", x, self.weight), self.bias)


def without_gradient(
    vectors: Float[Array, "B T D"], fixed: Bool[Array, "B T"]
) -> Float[Array, "B T D"]:
    """The vectors, of which those that are `fixed` have no gradient."""
    return jnp.where(fixed[..., None], jax.lax.stop_gradient(vectors), vectors)


def rows(table: Float[Array, "V D"], ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """Rows of a table by id; NaN for one that there is not. JAX would clamp an id that is too
    large, and count a negative one from the end."""
    # Undo the table's fsdp cut first: a table cut on both axes makes XLA rematerialise the lookup.
    table = constrain(table, "vocab embed")
    return jnp.take(table, unsigned(ids), axis=0, mode="fill", fill_value=jnp.nan)
