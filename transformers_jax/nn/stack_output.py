"""What a stack gives back: its streams, its cache, and what was collected of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from transformers_jax.arrays import Array, Float
from transformers_jax.nn.block import Streams
from transformers_jax.nn.cache import Cache


class StackOutput(NamedTuple):
    """The result of a stack.

    Attributes:
        x: the stream behind the last layer, and the final norm.
        cache: after these tokens, if there was one.
        hidden: the stream before the first layer and behind every layer, if it was collected.
        collected: further results of operations, by name; those of cross-attention have the name
            "cross_...". One entry for each branch that has such a result, in the order of layers.
        streams: the further streams behind the last layer, by name.
    """

    x: Float[Array, "B T D"]
    cache: Cache | None
    hidden: tuple[Float[Array, "B T D"], ...]
    collected: Mapping[str, tuple[Array, ...]]
    streams: Streams = MappingProxyType({})

    @property
    def weights(self) -> tuple[Float[Array, "B H T S"], ...]:
        """The weights of self-attention."""
        return self.collected.get("weights", ())

    @property
    def cross_weights(self) -> tuple[Float[Array, "B H T S"], ...]:
        """The weights of cross-attention."""
        return self.collected.get("cross_weights", ())

    @property
    def routers(self) -> tuple[Float[Array, "B T E"], ...]:
        """The scores of routers, of the layers that have experts."""
        return self.collected.get("router", ())
