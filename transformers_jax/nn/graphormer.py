"""What Graphormer tells a Transformer of a graph (Ying et al. 2021, section 3.1): how many edges a
node has, how far nodes are from each other, and what the edges between them are.

    centrality   a vector for the number of edges that lead to a node, and one for those that leave
    distance     a number per head for the distance from a key to a query, added to the score
    edges        the mean over the edges of a shortest path of their features times w, a vector for
                 each place on the path and each head, added to the score

Every node attends to every other: the graph is in the scores, not in the mask. Distances and paths
are made on the host, by `graph.paths`, and passed as `pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.embed.base import Tokens
from transformers_jax.nn.embed.graphs import EDGES, GraphEmbedder
from transformers_jax.nn.param import contract, param
from transformers_jax.nn.sinusoidal import unsigned

DISTANCE, PATHS = "distance", "paths"
"""The pair arrays: Int[b N N], at most P + 1; Float[b N N P F], zero behind the end of a path."""


class GraphormerEmbedder(GraphEmbedder):
    """The numbers of a node, projected, and a learned vector for the number of edges that lead to
    it, and of those that leave it, up to `most`."""

    def __init__(self, numbers: int, width: int, most: int, initial: spec.Initial):
        super().__init__(numbers)
        sizes = {"features": numbers, "embed": width, "position": most + 1}
        self.most = most
        self.project = param("features embed", sizes, initial.draw("project", sizes))
        self.arriving = param("position embed", sizes, initial.draw("table", sizes))
        self.leaving = param("position embed", sizes, initial.draw("table", sizes))

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        tokens = super().__call__(inputs, dtype=dtype)
        x = contract("bnf,fd->bnd", tokens.x, self.project)
        listed = tokens.pairs[EDGES]
        for end, rows in ((1, self.arriving), (0, self.leaving)):
            x = x + self._degrees(listed[:, end], x.shape[1], rows).astype(dtype)
        return tokens._replace(x=x, pairs={})

    def _degrees(self, ends: Array, nodes: int, rows: Any) -> Float[Array, "b N D"]:
        place = jnp.arange(len(ends))[:, None], jnp.where(ends < 0, nodes, ends)
        count = jnp.zeros((len(ends), nodes), jnp.int32).at[place].add(1, mode="drop")
        return jnp.take(rows[...], jnp.minimum(count, self.most), axis=0)

    def describe(self):
        return f"how many edges a node has, up to {self.most}"


@dataclass(frozen=True)
class GraphormerRule(ScoreRule):
    """score[h, t, s] = b[distance of t from s, h] + the mean over the n-th edges of a path of their
    features times w[n, :, h]."""

    features: bool
    replaces = False

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (DISTANCE, PATHS) if self.features else (DISTANCE,)

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs) -> Float[Array, "b H t s"]:
        distance = pairs[DISTANCE]
        bias = jnp.take(params["distance"], unsigned(distance), axis=0, mode="fill")
        if self.features:
            paths, weight = pairs[PATHS], params["edges"]
            length = jnp.where(distance <= weight.shape[0], distance, 0)
            sums = jnp.einsum("btspf,pfh->btsh", paths.astype(weight.dtype), weight)
            bias = bias + sums / jnp.maximum(length, 1)[..., None]
        return jnp.moveaxis(bias, -1, 1)


@dataclass(frozen=True)
class GraphormerScore(spec.OwnScore):
    """Biases of distances and of the edges on shortest paths.

    Attributes:
        most: P, the longest path that is told from others.
        features: F, numbers of an edge; 0: edges have none.
    """

    most: int
    features: int = 0

    @property
    def pairs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the pair arrays that it reads."""
        return GraphormerRule(self.features > 0).pairs

    def build(self, attention, initial) -> GraphormerBias:
        return GraphormerBias(self, attention.heads, initial)


class GraphormerBias(nnx.Module):
    """The parameters of `GraphormerScore`."""

    def __init__(self, score: GraphormerScore, heads: int, initial: spec.Initial):
        self.rule = GraphormerRule(score.features > 0)
        sizes = {"position": score.most + 2, "heads": heads, "features": score.features}
        sizes["taps"] = score.most
        self.distance = param(
            "position heads", sizes, initial.draw("buckets", {"embed": 1, **sizes})
        )
        edges = None
        if score.features:
            draw = initial.draw("edges", {"embed": 1, **sizes})
            edges = param("taps features heads", sizes, draw)
        self.edges = edges

    def __call__(
        self, shared: Any = None, attention: Any = None, key: Key | None = None, nodes: Any = None
    ) -> Score:
        """The score."""
        params = {"distance": self.distance[...]}
        params |= {} if self.edges is None else {"edges": self.edges[...]}
        return Score(self.rule, {name: x.astype(wide(x)) for name, x in params.items()})
