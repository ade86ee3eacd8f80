"""Operations: the one signature of everything that a branch of a layer can compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges, Mask, Nodes
from transformers_jax.nn.key_values import KeyValues


class Source(NamedTuple):
    """Tokens other than the stream's, which branches attend to by name."""

    x: Float[Array, "B S E"]
    nodes: Nodes


@dataclass(frozen=True)
class Context:
    """What all layers of one forward pass share: drawn once, outside the loop over layers.

    Attributes:
        nodes: the tokens of the stream.
        edges: by what is attended to (None: the stream itself), by mask, and by what extends the
            keys. A source that is missing has none.
        rotations: cosines and sines by (rotary, head width).
        scores: what is added to the scores, by what is attended to: a `Score`, or the input of the
            layers' own scores.
        sources: the tokens that are attended to, by name, [B S E]; not those whose keys are in a
            cache.
        condition: what residuals are modulated by, [B E], or that of each layer, [L B E]; in a
            layer, its own (`of_layer`).
        how: the engine of attention.
        collect: what to hand out of every layer: "hidden", "weights", "router".
        remat: which branches the backward pass recomputes: "attention", "ffn", or neither.
        streams: where a stack has several, all of them as they are when an operation is computed,
            by name (`spec.TOKENS` and those of `StackSpec.streams`).
        prefix: learned keys [L P G K] and values of virtual tokens, in place of those that are
            computed of them; in a layer, its own (`of_layer`).
    """

    nodes: Nodes
    edges: Mapping[tuple[str | None, Mask, Any], Edges]
    rotations: Mapping[tuple[spec.Rotary, int], tuple[Array, Array]] = field(default_factory=dict)
    scores: Mapping[str | None, Any] = field(default_factory=dict)
    sources: Mapping[str, Float[Array, "B S E"]] = field(default_factory=dict)
    condition: Float[Array, "B E"] | Float[Array, "L B E"] | None = None
    streams: Mapping[str, Float[Array, "B ..."]] = field(default_factory=dict)
    how: str = "auto"
    collect: frozenset[str] = frozenset()
    remat: str | None = None
    prefix: tuple[Float[Array, "..."], Float[Array, "..."]] | None = None

    def of_layer(self, number: int | Array) -> Context:
        """The same for the layer of a number."""
        changes: dict[str, Any] = {}
        if self.prefix is not None:
            key, value = self.prefix
            changes["prefix"] = (key[number], value[number])
        if self.condition is not None and self.condition.ndim == 3:
            changes["condition"] = self.condition[number]
        return replace(self, **changes) if changes else self

    def reaches(self, source: str | None) -> bool:
        """Whether there is something of this name to attend to."""
        return source is None or any(name == source for name, *_ in self.edges)


class OpResult(NamedTuple):
    """The result of an operation.

    Attributes:
        delta: what is added to the stream.
        cache: its cache after these tokens, if it has one.
        collected: further results, by name, of those in `Context.collect`.
    """

    delta: Float[Array, "B T D"]
    cache: KeyValues | None = None
    collected: Mapping[str, Array] = {}


class Op(nnx.Module):
    """An operation: built by its `spec.OpSpec`."""

    def apply(
        self,
        x: Float[Array, "B T D"],
        context: Context,
        *,
        cache: KeyValues | None = None,
        key: Key | None = None,
    ) -> OpResult:
        """What it computes of the tokens `x`; with noise if, and only if, there is a key."""
        raise NotImplementedError
