"""Embedders and their tokens: behind them nothing knows the modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Nodes, sequence
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed.description import Placeholder, TagArgument
from transformers_jax.nn.embed.virtual import Place
from transformers_jax.nn.matrices import matrix_flops


class Tokens(NamedTuple):
    """Vectors, and the nodes of the graph.

    Attributes:
        length: how many tokens of a row come from the input; those behind them only fill it up
            (`PadToMultiple`), and no answer is of them.
        place: where virtual tokens stand, of which there is no answer either.
        fields: what heads read of the embedder beside them, and a model without a head gives, by
            the names of its output.
        pairs: arrays of edges that masks and scores read, where the input holds a graph.
        condition: what the layers are conditioned on, the same for all or that of each.
    """

    x: Float[Array, "B T D"]
    nodes: Nodes
    length: int
    place: Place | None = None
    fields: Mapping[str, Array] = {}
    pairs: Mapping[str, Array] = {}
    condition: Float[Array, "B E"] | Float[Array, "L B E"] | None = None

    def of_input(self, x: Array, axis: int = 1) -> Array:
        """What is of the tokens of the input, of what is of all tokens, along an axis."""
        if self.place is not None:
            return self.place.without(x, axis)
        return x[(slice(None),) * axis + (slice(self.length),)]


class Embedder(nnx.Module):
    """Tokens of the raw input of one modality.

    Attributes:
        raw: the arguments that hold the raw input, of which a call gives one.
        arguments: what it reads of a call, by Hugging Face's names, without the prefix of the tower
            ("decoder_").
        vocabulary: how many ids there are; None where the raw input is no text.
        positions: how many tokens have a learned position; None without a table.
        offset: the number that position 0 has among `position_ids`.
        uncounted_id: the id that has no position of its own; None where every token has one.
        counted: what generation numbers: the "tokens" of a row, or its "columns".
        tag_arguments: arguments with one value for each token, which are tags.
        blocks: whether it fills rows up to whole blocks, so that their width matters.
        mask: the argument that says which of its tokens are there.
        tokens: how many there are of every row, where no input says it (latents).
        placeholder: the token in whose place vectors of another tower stand.
        marks: what makes tags of `tag_arguments`.
        masks_raw: whether `attention_mask` is of the raw input, such as the samples of audio, of
            which there are more than tokens.
        continues: whether a later call may go on with a row, so that a cache of it makes sense.
    """

    raw: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    vocabulary: int | None = None
    positions: int | None = None
    offset: int = 0
    uncounted_id: int | None = None
    counted: Literal["tokens", "columns"] = "tokens"
    tag_arguments: tuple[str, ...] = ()
    blocks: bool = False
    mask: str = "attention_mask"
    tokens: int = 0
    placeholder: Placeholder | None = None
    marks: tuple[TagArgument, ...] = ()
    masks_raw: bool = False
    continues: bool = False

    def check(
        self, inputs: Mapping[str, Any], prefix: str = "", rank: int = 2
    ) -> tuple[int, ...] | None:
        """The shape of the tokens, [B T] (of `rank` axes, where rows are candidates); None if the
        raw input is not among the inputs.

        Raises:
            ValueError: what cannot be embedded, as far as the arrays can be read.
        """
        raise NotImplementedError

    def __call__(
        self,
        inputs: Mapping[str, Any],
        *,
        dtype: jnp.dtype,
        cache: Cache | None = None,
        key: Key | None = None,
        table: Float[Array, "V D"] | None = None,
    ) -> Tokens:
        """The tokens of checked inputs (without the prefix), or the next ones of a cache; `table`
        are the word embeddings of another embedder, for one that has none."""
        raise NotImplementedError

    def valid(self, attention_mask: Any, length: int) -> Any:
        """Which of a row's `length` tokens are of input, by the mask of a call; None: all."""
        return attention_mask

    def count(self, raw: Any) -> Any:
        """How many tokens there are of so much raw input as an `attention_mask` has columns."""
        return raw

    def count_latents(self, inputs: Mapping[str, Any], prefix: str = "") -> int:
        """How many tokens there are of every row, of an embedder without raw input.

        Raises:
            ValueError: arguments that cannot be read.
        """
        return self.tokens

    def describe(self) -> str:
        """What it adds to the tokens about their positions, in a few words."""
        raise NotImplementedError

    def flops(self, tokens: int) -> float:
        """FLOPs of a forward pass over a row of so many tokens."""
        return tokens * matrix_flops(self)


def nodes_of(
    length: int,
    attention_mask: Array | None = None,
    tags: Mapping[str, Array] | None = None,
    cache: Cache | None = None,
) -> Nodes:
    """The nodes of a row of tokens, or of the next tokens of a cache."""
    tags = {name: _array(tag).astype(np.int32) for name, tag in (tags or {}).items()}
    start = 0 if cache is None else cache.start
    valid = None if attention_mask is None else _array(attention_mask) > 0
    return sequence(length, start=start, valid=valid, tags=tags)


def _array(x: Any) -> Any:
    """A JAX array; one of NumPy is known while tracing and stays such, so that tiles are listed."""
    return x if isinstance(x, np.ndarray) else jnp.asarray(x)
