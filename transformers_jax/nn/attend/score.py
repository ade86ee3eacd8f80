"""Scores and weights: what positions and geometry add to the scaled product of a query and a key,
and to the value that is sent; and how scores become weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Nodes


class ScoreRule:
    """A pure function of nodes (and of queries and keys); frozen, hashable, without arrays.

    Attributes:
        replaces: whether the result takes the place of the dot product (additive attention).
        pairs: the names of the arrays of features of edges that it reads.
        by_row: whether its parameters have a row for each row of the batch.
        engine: the name of one that computes it in a way of its own, which "auto" tries first.
    """

    replaces = False
    pairs: tuple[str, ...] = ()
    by_row = False
    engine: str | None = None

    def __call__(
        self,
        params: Any,
        q: Float[Array, "b t H K"],
        k: Float[Array, "b s G K"],
        qn: Nodes,
        kn: Nodes,
        pairs: Mapping[str, Array],
    ) -> Float[Array, "b H t s"]:
        """Scores of whole arrays, of one tile in a tiled engine, or of edges, as rows of one query
        and one key; a rule that reads `pairs`, [b t s ...] each, is never called with a tile."""
        raise NotImplementedError


class MessageRule:
    """What an edge adds to the value that is sent along it: a pure function of its nodes and its
    features; frozen, hashable, without arrays. `pairs` are the names of the features that it
    reads."""

    pairs: tuple[str, ...] = ()

    def __call__(
        self, params: Any, qn: Nodes, kn: Nodes, pairs: Mapping[str, Array]
    ) -> Float[Array, "b t s H U"]:
        """What is added, by query head; called as a `ScoreRule` is."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Score:
    """A rule together with its parameters: a tree of floating-point arrays, all differentiable."""

    rule: ScoreRule = field(metadata={"static": True})
    params: Any = None

    @property
    def replaces(self) -> bool:
        return self.rule.replaces

    def __call__(
        self, q, k, qn: Nodes, kn: Nodes, pairs: Mapping[str, Array]
    ) -> Float[Array, "b H t s"]:
        return self.rule(self.params, q, k, qn, kn, pairs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Message:
    """A rule together with its parameters."""

    rule: MessageRule = field(metadata={"static": True})
    params: Any = None

    def __call__(
        self, qn: Nodes, kn: Nodes, pairs: Mapping[str, Array]
    ) -> Float[Array, "b t s H U"]:
        return self.rule(self.params, qn, kn, pairs)


@dataclass(frozen=True)
class Weighting:
    """How scores become weights; the keyword arguments of every engine.

    Attributes:
        scale: multiplies the product of a query and a key.
        score: what is added to that product, or takes its place.
        softcap: scores become softcap * tanh(scores / softcap).
        sinks: a logit per head that takes weight and has no value.
        dropout: the probability with which a weight is dropped, where there is a key.
        key: a `jax.random.key`, or its words.
        message: what edges add to the values that are sent along them.
    """

    scale: float
    score: Score | None = None
    softcap: float | None = None
    sinks: Float[Array, " H"] | None = None
    dropout: float = 0.0
    key: Any = None
    message: Message | None = None

    @property
    def drops(self) -> bool:
        return self.key is not None and self.dropout > 0.0
