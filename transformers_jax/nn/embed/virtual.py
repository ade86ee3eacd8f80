"""Virtual tokens: positions in front of a row that no input holds (prompt and prefix tuning).

Behind the embedder they are tokens as any others: masks, positions and caches count them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.graph import TEXT_POSITION, Nodes
from transformers_jax.nn.param import part

NUMBER = "virtual"
"""The tag of tokens whose keys and values are learned: 1 to P of the virtual ones, else 0."""

COUNTED = ("position", TEXT_POSITION)
"""Tags that number the tokens of a row, and count the virtual ones."""


class Place(NamedTuple):
    """Where P virtual tokens stand in rows of T tokens: in front of the first token of each, behind
    the padding that precedes it.

    Attributes:
        tokens: P.
        first: the column of that token; None where it is column 0 of every row.
    """

    tokens: int
    first: Int[Array, "B 1"] | None = None

    def put(self, x: Any, virtual: Any) -> Any:
        """[B P+T ...] of [b T ...], with [b P ...] put in; NumPy if all are."""
        numpy: Any = np if all(isinstance(a, np.ndarray) for a in self._of(x, virtual)) else jnp
        rows = max(array.shape[0] for array in self._of(x, virtual))
        spread = lambda a: numpy.broadcast_to(a, (rows, *a.shape[1:]))
        both = numpy.concatenate([spread(virtual), spread(x)], axis=1)
        if self.first is None:
            return both
        column, first = np.arange(both.shape[1])[None], self.first
        after = numpy.where(column < first + self.tokens, column - first, column)
        index = numpy.where(column < first, column + self.tokens, after)
        index = index.reshape(*index.shape, *[1] * (both.ndim - 2))
        return numpy.take_along_axis(both, index, axis=1)

    def without(self, x: Array, axis: int = 1) -> Array:
        """[B T ...] of [B P+T ...]: what is of the tokens of the input."""
        if self.first is None:
            return jnp.asarray(x)[(slice(None),) * axis + (slice(self.tokens, None),)]
        column = np.arange(x.shape[axis] - self.tokens)[None]
        index = jnp.where(column < self.first, column, column + self.tokens)
        between, behind = [1] * (axis - 1), [1] * (x.ndim - axis - 1)
        index = index.reshape(index.shape[0], *between, index.shape[1], *behind)
        return jnp.take_along_axis(x, index, axis=axis)

    def valid(self, attention_mask: Array | None) -> Array | None:
        """The mask [B P+T] of one [B T]: virtual tokens are no padding."""
        if attention_mask is None:
            return None
        ones = np.ones((1, self.tokens), attention_mask.dtype)
        return self.put(attention_mask, ones)  # type: ignore[no-any-return]

    def repeated(self, x: Array) -> Array:
        """[B P+T] of [b T]: virtual tokens have what the first token of the row has."""
        return self.put(x, self._first_of(x))

    def counted(self, x: Array) -> Array:
        """[B P+T] of positions [b T]: virtual tokens have those of the first ones, and the others
        follow (`VirtualTokens.behind`)."""
        number = np.arange(self.tokens, dtype=np.int32)[None]
        return self.put(behind(x, self.tokens), self._first_of(x) + number)

    def _first_of(self, x: Array) -> Array:
        """What the first token of each row has, P times."""
        if self.first is None:
            value = x[:, :1]
        else:
            numpy: Any = np if all(isinstance(a, np.ndarray) for a in self._of(x)) else jnp
            rows = max(x.shape[0], self.first.shape[0])
            whole = numpy.broadcast_to(x, (rows, x.shape[1]))
            column = numpy.minimum(self.first, x.shape[1] - 1)
            value = numpy.take_along_axis(whole, column, axis=1)
        return value + np.zeros((1, self.tokens), value.dtype)

    def _of(self, *arrays: Any) -> list[Any]:
        return [*arrays] if self.first is None else [*arrays, self.first]


def behind(position: Array, count: int) -> Array:
    """Positions with `count` tokens in front of them; those of padding, below 0, are of no token.
    NumPy where it is known while tracing."""
    numpy: Any = np if isinstance(position, np.ndarray) else jnp
    moved = numpy.where(position >= 0, position + count, position)
    return moved.astype(position.dtype)  # type: ignore[no-any-return]


def with_prefix(
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G U"],
    prefix: tuple[Float[Array, "P G K"], Float[Array, "P G U"]],
    nodes: Nodes,
) -> tuple[Array, Array]:
    """The keys, as they are behind a rotation, and the values of some tokens, those of virtual
    tokens in place of what is computed of these (Li and Liang 2021, section 4.2)."""
    if (number := nodes.tags.get(NUMBER)) is None:  # in the cache already
        return key, value
    row, virtual = jnp.maximum(number - 1, 0), jnp.asarray(number)[..., None, None] > 0
    learned = (jnp.take(x, row, axis=0).astype(key.dtype) for x in prefix)
    own_key, own_value = (jnp.where(virtual, x, y) for x, y in zip(learned, (key, value)))
    return own_key, own_value


class Keys(NamedTuple):
    """The sizes of keys and values: L layers, G heads, K numbers.

    Attributes:
        order: which of the L each layer reads; None: its own.
    """

    layers: int
    heads: int
    kv: int
    order: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """How many numbers they are for one token."""
        return self.layers * 2 * self.heads * self.kv


class Projection(nnx.Module):
    """W_2 tanh(W_1 x + b_1) + b_2 of a vector for each virtual token (Li and Liang 2021, section
    4.3), drawn as in torch."""

    def __init__(self, rows: int, width: int, hidden: int, out: int):
        bounds = width**-0.5, hidden**-0.5
        self.vectors = part(None, (NUMBER, "inner"), (rows, width), 1.0, "normal")
        self.first = part(None, ("inner", "mlp"), (width, hidden), bounds[0], "uniform")
        self.first_bias = part(None, ("mlp",), (hidden,), bounds[0], "uniform")
        self.second = part(None, ("mlp", "keys"), (hidden, out), bounds[1], "uniform")
        self.second_bias = part(None, ("keys",), (out,), bounds[1], "uniform")

    def __call__(self) -> Float[Array, "P N"]:
        return projected(*(getattr(self, name)[...] for name in PARTS))


PARTS = ("vectors", "first", "first_bias", "second", "second_bias")
"""The parameters of a `Projection`, in the order of `projected`."""


def projected(
    vectors: Float[Array, "P E"],
    first: Float[Array, "E H"],
    first_bias: Float[Array, " H"],
    second: Float[Array, "H N"],
    second_bias: Float[Array, " N"],
) -> Float[Array, "P N"]:
    """W_2 tanh(W_1 x + b_1) + b_2 of each vector."""
    return jnp.tanh(vectors @ first + first_bias) @ second + second_bias


class VirtualTokens(nnx.Module):
    """P tokens in front of the first token of every row.

    Args:
        count: P.
        width: how many numbers of each are trained: D of a vector (Lester et al. 2021, section 2),
            or those of its `keys`.
        keys: the sizes of keys and values that each layer has for these tokens. Their vectors are
            then zero, and what is computed of them is read by nobody.
        rows: of the numbers that are trained, of which the first P are read; P by default.
        hidden: the width of the MLP that computes them, if there is one.
        shown: whether those who attend to the tokens of this tower attend to these as well.
    """

    def __init__(
        self,
        count: int,
        width: int,
        keys: Keys | None = None,
        *,
        rows: int | None = None,
        hidden: int | None = None,
        shown: bool = False,
    ):
        self.count, self.sizes, self.shown = count, keys, shown
        if hidden is not None:
            assert keys is not None
            self.values: Any = Projection(count, keys.heads * keys.kv, hidden, width)
        else:  # vectors are drawn as in Lester et al. 2021, section 3.2, keys as in PEFT
            drawn: Any = (0.5, "uniform") if keys is None else (1.0, "normal")
            axes = (NUMBER, "embed" if keys is None else "keys")
            self.values = part(None, axes, (rows or count, width), *drawn)

    def numbers(self) -> Float[Array, "R N"]:
        """What is trained of each token, or computed of that."""
        values: Array = self.values() if isinstance(self.values, nnx.Module) else self.values[...]
        return values

    def keys(self) -> tuple[Float[Array, "L P G K"], Float[Array, "L P G K"]] | None:
        """The keys and values of each layer; None where the layers compute them."""
        if self.sizes is None:
            return None
        layers, heads, kv, order = self.sizes
        both = self.numbers().reshape(self.count, layers, 2, heads, kv).swapaxes(0, 1)
        both = both if order is None else both[np.array(order)]
        return both[:, :, 0], both[:, :, 1]

    @property
    def pooled(self) -> bool:
        """Whether the vector of a row is made of these tokens, too, as in PEFT."""
        return self.sizes is None

    def place(self, attention_mask: Array | None) -> Place:
        """Where they stand in rows with this mask: behind all that is padding, where the text is
        yet to come."""
        if attention_mask is None:
            return Place(self.count)
        known = isinstance(attention_mask, np.ndarray)
        numpy: Any = np if known else jnp
        valid = attention_mask > 0 if known else jnp.asarray(attention_mask) > 0
        first = numpy.where(valid.any(1), valid.argmax(1), valid.shape[1])
        first = first[:, None].astype(np.int32)
        return Place(self.count, None if known and not first.any() else first)

    def read(self, like: Float[Array, "B T D"]) -> Float[Array, "1 P D"]:
        """Their vectors, in place of those of words."""
        if self.sizes is not None:
            return jnp.zeros((1, self.count, like.shape[2]), like.dtype)
        return self.numbers()[None, : self.count]

    def among(self, tags: Mapping[str, Array], place: Place) -> dict[str, Array]:
        """The tags [b T] of the tokens of rows with those of these tokens among them."""
        return {
            name: (place.counted if name in COUNTED else place.repeated)(tag)
            for name, tag in tags.items()
        }

    def following(self, tags: Mapping[str, Array], given: set[str]) -> dict[str, Array]:
        """The tags of tokens that follow these tokens in a cache. Callers number the tokens that
        they know of (`given`); all others are numbered from the length of the cache."""
        return {
            name: behind(tag, self.count) if name in COUNTED and name in given else tag
            for name, tag in tags.items()
        }

    def numbered(self, length: int, place: Place) -> dict[str, Array]:
        """The tag `NUMBER` of rows of so many tokens, if keys and values are learned."""
        if self.sizes is None:
            return {}
        zeros, numbers = np.zeros((1, length), np.int32), np.arange(1, self.count + 1)[None]
        return {NUMBER: place.put(zeros, numbers.astype(np.int32))}
