"""The embedder of ids: words + positions + types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key, check_counted
from transformers_jax.graph import Nodes
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.embed.counting import among_real, unpadded
from transformers_jax.nn.embed.description import EmbedSpec
from transformers_jax.nn.embed.placed import check_widths, of_vocabulary, place
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param
from transformers_jax.nn.sinusoidal import Sinusoids, sinusoids, unsigned
from transformers_jax.shard import constrain

ARGUMENTS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "inputs_embeds",
    "tags",
)
NOWHERE = np.int32(-(2**30))
"""A position before every table."""


class TokenEmbedder(Embedder):
    """Words + positions + types, normalised, and brought to the width of the stream."""

    raw, continues = ("input_ids", "inputs_embeds"), True

    def __init__(self, embed: EmbedSpec):
        if embed.placeholder:
            check_widths(embed.width, embed.project or embed.width)
        self.spec = embed
        self.vocabulary = embed.vocab
        self.offset, self.uncounted_id = embed.offset, embed.padding
        self.counted, self.blocks = embed.counted, embed.pad_to is not None
        self.tag_arguments = tuple(dict.fromkeys(tag.argument for tag in embed.tags))
        self.placeholder, self.marks = embed.placeholder, embed.tags

        def table(
            role: str, rows: int | None, axis: str, width: int | None = None
        ) -> nnx.Param | None:
            if rows is None:
                return None
            sized = {"embed": width or embed.width, axis: rows}
            return param(f"{axis} embed", sized, embed.initial.draw(role, sized))

        self.table = None if embed.shared else table("table", embed.vocab, "vocab")
        self.unused = table("table", embed.vocab, "vocab") if embed.unused else None
        learned = embed.positions if isinstance(embed.positions, int) else None
        first = embed.project if embed.projects == "words" else None
        self.position = table("position", learned, "position", first)
        types = embed.types if isinstance(embed.types, int) and embed.types > 0 else None
        self.type = table("type", types, "type")
        normed = embed.project or embed.width if embed.normed == "stream" else embed.width
        self.norm = Norm(embed.norm, normed) if embed.norm else None
        self.project = (
            Projection(embed.width, embed.project, embed.initial, embed.project_bias)
            if embed.project
            else None
        )

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys((*ARGUMENTS, *self.tag_arguments)))

    @property
    def positions(self) -> int | None:  # type: ignore[override]
        """How many tokens have a learned position; None without a table."""
        return self.spec.longest

    def __call__(
        self, inputs, *, dtype, cache=None, key=None, table=None, virtual=None, placed=None
    ) -> Tokens:
        ids, vectors = inputs.get("input_ids"), inputs.get("inputs_embeds")
        raw = ids if vectors is None else vectors
        assert raw is not None  # `check` refuses a call without both
        per_token, tags = {n: inputs.get(n) for n in self._per_token}, inputs.get("tags") or {}
        length, pad_to = raw.shape[1], self.spec.pad_to
        if self.spec.tags or pad_to is not None:
            check_counted(length)
        missing = 0 if pad_to is None or cache is not None else pad_to.missing(length)
        if pad_to is not None and missing:
            rows = None if "position" in tags else self.spec.longest
            per_token = pad_to(per_token, length, rows)
            tags = {n: jnp.pad(x, ((0, 0), (0, missing))) for n, x in tags.items()}
        if vectors is None:
            embeddings = self.words(per_token["input_ids"], dtype, table, placed)
        else:
            embeddings = jnp.pad(self.scaled(vectors, dtype), ((0, 0), (0, missing), (0, 0)))
        tags = self._positioned(tags, per_token["position_ids"], ids, cache)
        if self.spec.unpadded and "position" not in tags:
            tags = {**tags, **unpadded(per_token["attention_mask"], raw.shape[:2], cache)}
        tags = self._tagged(tags, per_token, (embeddings.shape[0], embeddings.shape[1]))
        mask, types, place = per_token["attention_mask"], per_token["token_type_ids"], None
        if virtual is not None and (cache is None or cache.awaited):
            place = virtual.place(mask)
            embeddings = place.put(embeddings, self.scaled(virtual.read(embeddings), dtype))
            tags = virtual.among(tags, place) | virtual.numbered(length, place)
            mask, types = place.valid(mask), types if types is None else place.repeated(types)
        elif virtual is not None:
            given = {*(inputs.get("tags") or {})}
            given |= {"position"} if inputs.get("position_ids") is not None else set()
            tags = virtual.following(tags, given)
        nodes = nodes_of(embeddings.shape[1], mask, tags, cache)
        x = self.embedded(embeddings, nodes, types, key)
        return Tokens(x, nodes, length, place)

    def describe(self):
        count = self.spec.positions
        if isinstance(count, int):
            return f"a learned table of {count:,}"
        return "sinusoids" if isinstance(count, Sinusoids) else "nothing at the input"

    def changed(self, **changes: Any) -> TokenEmbedder:
        """An abstract embedder of a description that differs in these fields."""
        return type(self)(replace(self.spec, **changes))

    def sharing(self, embed: EmbedSpec, project: Projection | None) -> TokenEmbedder:
        """An embedder of another description with the tables and norm of this one, and a
        projection of its own (ELECTRA's generator)."""
        other = TokenEmbedder(embed)
        for name in ("table", "position", "type", "norm"):
            setattr(other, name, getattr(self, name))
        other.project = project
        return other

    # ------------------------------------------------------------ vectors

    def words(
        self,
        ids: Int[Array, "B T"],
        dtype: jnp.dtype,
        table: Float[Array, "V D"] | None = None,
        placed: Float[Array, "N P D"] | None = None,
    ) -> Float[Array, "B T D"]:
        """The vectors of ids, and those that are `placed` where the placeholders are."""
        held = self.spec.placeholder
        x = self.embed_ids(of_vocabulary(ids, held, self.spec.vocab), dtype, table)
        return x if held is None or placed is None else place(x, ids == held.id, placed)

    def embed_ids(
        self, ids: Int[Array, "B T"], dtype: jnp.dtype, table: Float[Array, "V D"] | None = None
    ) -> Float[Array, "B T D"]:
        """The vectors of ids, in a `table` if this embedder has none of its own; an id outside of
        it is NaN, never a neighbour's vector."""
        own = table if self.table is None else self.table[...]
        assert own is not None  # the table of another, where there is none
        vectors = rows(own, ids)
        if self.spec.padding_idx is not None:
            vectors = without_gradient(vectors, ids == self.spec.padding_idx)
        return (vectors * self.spec.scale).astype(dtype)

    def scaled(self, vectors: Float[Array, "B T D"], dtype: jnp.dtype) -> Float[Array, "B T D"]:
        """The vectors of a call (`inputs_embeds`), which take the place of the words'."""
        scale = self.spec.scale if self.spec.scales == "all" else 1.0
        return (vectors * scale).astype(dtype)

    def embedded(
        self,
        words: Float[Array, "B T D"],
        nodes: Nodes,
        type_ids: Int[Array, "B T"] | None = None,
        key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Word vectors (`words(ids)`, or `scaled`) with everything else added."""
        unchanged = lambda x: x
        norm, project = self.norm or unchanged, self.project or unchanged
        normed, dtype = self.spec.normed, words.dtype
        x = norm(words) if normed == "words" else words
        if self.spec.projects == "words":
            x, project = project(x), unchanged
        if self.type is not None:
            type_ids = jnp.zeros((1, x.shape[1]), jnp.int32) if type_ids is None else type_ids
            x = x + rows(self.type[...], type_ids).astype(dtype)
        elif self.spec.types == "words" and type_ids is not None:
            x = x + self.embed_ids(type_ids, dtype)
        row = nodes.position + self.spec.offset + self.spec.rows_before
        if self.position is not None:
            vectors = rows(self.position[...], row)
            if self.spec.padding is not None:  # torch: `padding_idx` of the table
                vectors = without_gradient(vectors, nodes.position == -1)
            x = x + vectors.astype(dtype)
        elif isinstance(self.spec.positions, Sinusoids):
            encoding = sinusoids(self.spec.positions, x.shape[-1], row)
            if self.spec.padding is not None:
                encoding = jnp.where((nodes.position < 0)[..., None], 0.0, encoding)
                encoding = jnp.where((nodes.position < -1)[..., None], jnp.nan, encoding)
            x = x + encoding.astype(dtype)
        if normed == "sum":
            x = norm(x)
        elif normed == "stream":
            x = norm(project(x))
        x = nodes.zeroed(x) if self.spec.zero_padding else x
        x = dropout(x, self.spec.dropout, key)
        return x if normed == "stream" else project(x)

    # ------------------------------------------------------------ positions and tags

    @property
    def _per_token(self) -> list[str]:
        """The arguments that have one value for each token."""
        return [name for name in self.arguments if name not in ("inputs_embeds", "tags")]

    def _positioned(self, tags, position_ids, ids, cache) -> Mapping[str, Array]:
        """The tags with `position`, where that is not the index in the row.

        The tag counts from 0 in every document; `position_ids`, as in Hugging Face, are rows of the
        table. RoBERTa counts the tokens that are no padding.
        """
        if "position" in tags and position_ids is not None:
            raise ValueError("give tags['position'] or position_ids, one of the two")
        before = self.spec.rows_before
        if position_ids is not None:
            tags = {**tags, "position": jnp.asarray(position_ids) - self.spec.offset}
        elif "position" not in tags and self.spec.padding is not None and ids is not None:
            start = 0 if cache is None else cache.start
            return {**tags, "position": among_real(ids, self.spec.padding, start)}
        else:
            before += self.spec.offset
        if "position" in tags and before:  # rows before the first are no positions
            least = -1 if self.spec.unpadded or self.spec.padding is not None else 0
            position = jnp.asarray(tags["position"])
            return {**tags, "position": jnp.where(position < least, NOWHERE, position)}
        return tags

    def _tagged(self, tags, per_token, shape) -> Mapping[str, Array]:
        """The tags with those of `TagArgument`s, which a call may also have as tags by name."""
        every: dict[str, Any] = dict(tags)
        for tag in self.spec.tags:
            value: Array | np.ndarray | None = per_token[tag.argument]
            if value is not None and tag.tag in every:
                raise ValueError(f"give {tag.argument} or tags[{tag.tag!r}], one of the two")
            if value is None and tag.tag not in every:
                value = tag.default(per_token["input_ids"], shape)
            elif value is not None:
                value = tag.of(value)
            if value is not None:
                every[tag.tag] = value
        return every

    # ------------------------------------------------------------ checks

    def check(self, inputs, prefix="", rank=2):
        ids, vectors = (inputs.get(prefix + name) for name in ("input_ids", "inputs_embeds"))
        if ids is not None and vectors is not None:
            raise ValueError(f"give {prefix}input_ids or {prefix}inputs_embeds, one of the two")
        if ids is not None:
            like, shape = f"{prefix}input_ids", np.shape(ids)
            words = of_vocabulary(ids, self.spec.placeholder, self.spec.vocab)
            checks.ids(like, words, self.vocabulary or 0, rank=rank)
        elif vectors is not None:
            like, shape = f"{prefix}inputs_embeds", np.shape(vectors)[:-1]
            checks.vectors(like, vectors, self.spec.width, rank + 1)
        else:
            return None
        if (name := f"{prefix}attention_mask") in inputs:
            checks.mask(name, inputs[name], shape, like)
        if "token_type_ids" not in self.tag_arguments:
            self._check_types(inputs, f"{prefix}token_type_ids", shape, like)
        self._check_positions(inputs, prefix, shape, like)
        tags = inputs.get(f"{prefix}tags") or {}
        known = None if ids is None else readable(ids)
        for tag in self.spec.tags:
            if (name := prefix + tag.argument) in inputs:
                tag.check_values(name, inputs[name], shape, like)
            elif known is not None and tag.tag not in tags:
                tag.check(known)
        return shape

    def _check_types(self, inputs, name: str, shape: tuple[int, ...], like: str) -> None:
        if name not in inputs:
            return
        checks.same_shape(name, inputs[name], shape, like)
        if self.spec.types is None:
            raise ValueError(
                f"this model has no token types; leave {name} out "
                "(tokenizer.batch(..., return_token_type_ids=False))"
            )
        count = self.spec.vocab if self.spec.types == "words" else self.spec.types
        if count:
            checks.ids(name, inputs[name], count, "token types", len(shape))
        else:  # accepted, and not read
            checks.integers(name, inputs[name], None)

    def _check_positions(self, inputs, prefix: str, shape: tuple[int, ...], like: str) -> None:
        name = f"{prefix}position_ids"
        if name in inputs:
            array = checks.integers(name, inputs[name], None)
            same = checks.shared_shape if len(shape) == 2 else checks.same_shape
            same(name, inputs[name], shape, like)
            if isinstance(self.spec.positions, int) and array is not None:
                rows = self.spec.positions - self.spec.rows_before
                first = -1 if self.spec.unpadded else 0  # padding is at -1
                checks.ids(name, array, rows, "positions", None, first)
        elif inputs.get("cache") is None and "position" not in (inputs.get(f"{prefix}tags") or {}):
            count = self._count(inputs.get(f"{prefix}input_ids"), shape)
            checks.length(like, count, self.spec.longest)

    def _count(self, ids: Any, shape: tuple[int, ...]) -> int | None:
        """How many tokens of the longest row have a position; None if that depends on ids that
        cannot be read."""
        if self.spec.padding is None or ids is None:
            return shape[-1]
        array = readable(ids)
        return None if array is None else int((array != self.spec.padding).sum(-1).max())


class Projection(nnx.Module):
    """x W + b, such as from the embeddings' width to the stream's (Clark et al. 2020, 3.2)."""

    def __init__(self, width: int, out: int, initial: spec.Initial, bias: bool = True):
        sizes = {"embed": out, "inner": width}
        self.weight = param("inner embed", sizes, initial.draw("project", sizes))
        self.bias = param("embed", sizes, spec.ZEROS) if bias else None

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        return affine("btd,de->bte", x, self.weight, self.bias)


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
