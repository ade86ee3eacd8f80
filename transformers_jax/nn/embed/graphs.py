"""The embedder of graphs: nodes with numbers of their own, and a list of the edges between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.graph.listed import ABSENT
from transformers_jax.inputs import checks
from transformers_jax.inputs.edges import edge_features, edge_list
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of

EDGES, FEATURES = "edge_index", "edge_attr"
"""The pair arrays that masks and scores read of a graph: `Listed(EDGES, FEATURES)`."""

ALL = np.ones(1, bool)
"""Every entry of a list is an edge."""


@dataclass(frozen=True)
class SelfLoops:
    """Every node has one edge to itself, in place of those that the list has.

    Attributes:
        fill: the features of these edges: a number, or the "mean" of those that lead to the node.
    """

    fill: float | str = "mean"


class GraphEmbedder(Embedder):
    """The numbers of nodes as they are, Float[B N D], and the edges of a list, Int[B 2 E]: edge e
    leads from the node `edge_index[:, 0, e]` to `edge_index[:, 1, e]`.

    Edges that `edge_mask` [B E] says are none fill the list up, as nodes do that `attention_mask`
    [B N] says are none. Edges may have features `edge_attr`, Float[B E F].

    Args:
        features: F; None where edges have none.
    """

    raw = ("x",)
    arguments = ("x", EDGES, FEATURES, "edge_mask", "attention_mask")

    def __init__(self, width: int, features: int | None = None, loops: SelfLoops | None = None):
        self.width, self.features, self.loops = width, features, loops

    def check(self, inputs, prefix="", rank=2):
        x, listed = inputs.get("x"), inputs.get(EDGES)
        if x is None:
            return None
        if np.ndim(x) != 3 or np.shape(x)[-1] != self.width:
            raise ValueError(
                f"x has shape {_one(np.shape(x))}; expected (nodes, {self.width}), or (graphs, "
                f"nodes, {self.width}): the numbers of each node"
            )
        checks.floats("x", x)
        B, N = np.shape(x)[:2]
        if 0 in (B, N):
            raise ValueError(f"x has shape {_one(np.shape(x))}: a graph has one node at least")
        if listed is None:
            raise ValueError(
                "give edge_index, the edges of the graph: Int[2, edges], or of shape (2, 0) for a "
                "graph without edges"
            )
        mask = inputs.get("attention_mask")
        if mask is not None:
            checks.mask("attention_mask", mask, (B, N), "x")
        self._check_edges(listed, inputs.get("edge_mask"), (B, N))
        self._check_features(inputs.get(FEATURES), np.shape(listed)[-1])
        return B, N

    def _check_edges(self, listed: Any, mask: Any, nodes: tuple[int, int]) -> None:
        """Raises ValueError for a list that is none, or of which an edge names no node."""
        shape = np.shape(listed)
        if mask is not None and len(shape) == 3:
            checks.mask("edge_mask", mask, (shape[0], shape[2]), EDGES)
        edge_list(EDGES, listed, (nodes[1], nodes[1]), ALL if mask is None else mask)
        if len(shape) != 3 or shape[0] not in (1, nodes[0]):
            raise ValueError(f"edge_index has shape {shape}, and x {nodes[0]} graphs; give as many")

    def _check_features(self, features: Any, edges: int) -> None:
        if features is None and self.features is not None:
            raise ValueError(
                f"give edge_attr, {self.features} numbers of each edge (edge_dim={self.features})"
            )
        if features is None:
            return
        if self.features is None:
            raise ValueError(
                "this model reads no features of edges (edge_dim is None): leave edge_attr out"
            )
        edge_features(FEATURES, features, edges, self.features)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = jnp.asarray(inputs["x"]).astype(dtype)
        N, listed = x.shape[1], jnp.asarray(inputs[EDGES]).astype(jnp.int32)
        there = jnp.ones((), bool) if (m := inputs.get("edge_mask")) is None else m[:, None] > 0
        outside = ((listed < 0) | (listed >= N)) & there
        x = jnp.where(outside.any((1, 2))[:, None, None], jnp.nan, x)  # a program cannot raise
        listed = jnp.where(there, listed, ABSENT)
        nodes, features = nodes_of(N, inputs.get("attention_mask")), inputs.get(FEATURES)
        features = None if features is None else jnp.asarray(features).astype(dtype)
        if self.loops is not None:
            listed, features = with_loops(self.loops, listed, features, N)
        pairs = {EDGES: listed} | ({} if features is None else {FEATURES: features})
        return Tokens(x, nodes, N, fields={"attention_edges": listed}, pairs=pairs)

    def describe(self):
        return "nothing at the input"


def with_loops(
    loops: SelfLoops, listed: Int[Array, "b 2 E"], features: Float[Array, "b E F"] | None, N: int
) -> tuple[Array, Array | None]:
    """The list with an edge from each node to itself behind the others, of which there are no such
    any more, and the features of all."""
    listed = jnp.where((listed[:, 0] == listed[:, 1])[:, None], ABSENT, listed)
    own = jnp.broadcast_to(jnp.arange(N, dtype=listed.dtype), (len(listed), 2, N))
    joined = jnp.concatenate([listed, own], 2)
    if features is None:
        return joined, None
    rows, F = len(listed), features.shape[-1]
    features = jnp.broadcast_to(features, (rows, *features.shape[1:]))
    if loops.fill == "mean":
        target = jnp.where(listed[:, 1] < 0, N, listed[:, 1])
        place = jnp.arange(rows)[:, None], target
        sums = jnp.zeros((rows, N, F), features.dtype).at[place].add(features, mode="drop")
        count = jnp.zeros((rows, N), features.dtype).at[place].add(1, mode="drop")
        filled = sums / jnp.maximum(count, 1)[..., None]
    else:
        filled = jnp.full((rows, N, F), float(loops.fill), features.dtype)
    return joined, jnp.concatenate([features, filled], 1)


def _one(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape as a caller wrote it, who may have left the axis of one graph out."""
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else tuple(shape)
