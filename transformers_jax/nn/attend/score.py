"""The score hook: what positions and geometry add to the scaled product of a query and a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Nodes


class ScoreRule:
    """A pure function of nodes (and of queries and keys); frozen, hashable, without arrays.

    `replaces` is True where the result takes the place of the dot product (additive attention).
    """

    replaces = False

    def __call__(
        self,
        params: Any,
        q: Float[Array, "b t H K"],
        k: Float[Array, "b s G K"],
        qn: Nodes,
        kn: Nodes,
    ) -> Float[Array, "b H t s"]:
        """Scores of whole arrays, or of one tile when a tiled backend asks."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Score:
    """A rule together with its parameters, which are differentiable."""

    rule: ScoreRule = field(metadata={"static": True})
    params: Any = None

    @property
    def replaces(self) -> bool:
        return self.rule.replaces

    def __call__(self, q, k, qn: Nodes, kn: Nodes) -> Float[Array, "b H t s"]:
        return self.rule(self.params, q, k, qn, kn)
