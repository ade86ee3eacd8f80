"""Operations: what a branch of a layer computes, described; the module is beside its record.

A new operation is one file in `nn/`: a frozen record that is an `OpSpec`, and the module that it
builds. Blocks, stacks, the count of FLOPs and descriptions know none of them by its type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from transformers_jax.graph import Mask
from transformers_jax.spec.initial import Initial
from transformers_jax.spec.position import Rotary, ScoreSpec


class OpFlops(NamedTuple):
    """FLOPs of a forward pass over a row."""

    projections: float  # products of tokens and parameters
    attention: float = 0.0  # products of tokens with tokens, along the edges of the masks


class ResidualSpec:
    """How the result of an operation joins the stream: a frozen record that builds its module
    (`nn.residual.Residual`) and counts its FLOPs."""

    condition: int | None = None
    """The width of what it is conditioned on; None: of nothing."""

    def build(self, width: int, initial: Initial) -> Any:
        """The module over a stream of this width, D."""
        raise NotImplementedError

    def flops(self, width: int) -> float:
        """FLOPs of the products of its parameters in a forward pass over a row, however long; those
        for each element of the stream are not counted, as those of norms."""
        return 0.0


class OpSpec:
    """The description of an operation: a frozen record that builds its module, counts its FLOPs and
    describes itself. What an operation does not have stays as it is here."""

    masks: tuple[Mask, ...] = ()
    """The masks along whose edges it sends messages."""

    drawn: bool = True
    """Whether the stack draws these edges, once for all layers."""

    collects: frozenset[str] = frozenset()
    """The names of its further results (`nn.operation.OpResult.collected`)."""

    extend: Any = None
    """More keys, computed from those of the source; it has the `tags` that they carry, and says
    whether a token that is written does without them (`cached`)."""

    rotary: Rotary | None = None
    """The rotation of its queries and keys."""

    score: ScoreSpec | None = None
    """What its own parameters add to the scores."""

    heads: int
    kv: int
    groups: int
    value: int | None
    scale: float | None
    """H, K, G, U and the scale of scores: of operations that have scores, rotations or a cache."""

    @property
    def rotated(self) -> int:
        """How many numbers of a head its rotation is made for."""
        return self.kv

    @property
    def cached(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What a cache holds of a token, twice: how many vectors, of which width. Those are its
        keys, [G K], and its values, [G U]."""
        return (self.groups, self.kv), (self.groups, self.value or self.kv)

    def build(self, width: int, initial: Initial, source: str | None = None) -> Any:
        """The module (`nn.operation.Op`) over a stream of this width, D; `source` names what it
        attends to, None for the stream itself."""
        raise NotImplementedError

    def flops(self, width: int, queries: int, keys: int, edges: Callable[[Mask], int]) -> OpFlops:
        """FLOPs of a forward pass over a row of so many tokens, T, with a source of so many, S;
        `edges` counts those that a mask allows."""
        raise NotImplementedError

    def describe(self) -> str:
        """What it computes, in a few words."""
        raise NotImplementedError

    def at(self, layer: int) -> Self:
        """The same with the masks of this layer (`PerLayer`)."""
        return self
