"""A part of the edges of a graph: their ends, scores, values and dropout.

Edges are entries of a list, of all rows of a batch behind one another, which is cut into parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, capped, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn import noise
from transformers_jax.nn.attend.score import MessageRule, ScoreRule
from transformers_jax.shard import varying


@dataclass(frozen=True)
class Plan:
    """All that is known while tracing; hashable, so that an eager call compiles only once.

    Attributes:
        count: how many entries there are.
        part: how many are read together.
    """

    count: int
    part: int
    score: ScoreRule | None
    message: MessageRule | None
    scale: float
    softcap: float | None
    dropout: float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """The edges of all rows of a batch behind one another, in parts [N P]; rows of nodes likewise.

    Attributes:
        target, source: which query, [0, B T), and which key, [0, B S), of each entry.
        live: whether it is an edge.
        pairs: the pair arrays at each edge that hold no floats, [N P ...].
        q, k: the tags of all nodes, [1 B*T] and [1 B*S].
        lengths: (T, S).
        bits: the words of the dropout key, or None.
    """

    target: Array
    source: Array
    live: Array
    pairs: dict[str, Array]
    q: Nodes
    k: Nodes
    lengths: tuple[Any, Any]
    bits: Any


class Moving(NamedTuple):
    """What has a derivative."""

    q: Float[Array, "BT H K"]
    k: Float[Array, "BS G K"]
    v: Float[Array, "BS G U"]
    params: Any
    sinks: Any
    added: Any
    pairs: dict[str, Float[Array, "N P ..."]]

    def of(self, part: Part) -> tuple[tuple[Array, Array, Any, Any], tuple[Array, Any, Any]]:
        """(what the scores of a part are computed of, what the values are)."""
        pairs = {name: array[part.number] for name, array in self.pairs.items()}
        scored = self.q[part.target], self.k[part.source], self.params, pairs
        return scored, (self.v[part.source], self.added, pairs)


def part_of(graph: Graph, number: Any) -> Any:
    """The edges of one part."""
    cut = lambda x: x[number]
    pairs = {name: cut(x) for name, x in graph.pairs.items()}
    return Part(number, graph, cut(graph.target), cut(graph.source), cut(graph.live), pairs)


class Part(NamedTuple):
    """The entries of one part, [P ...] each, and the whole graph."""

    number: Any
    graph: Graph
    target: Array
    source: Array
    live: Array
    pairs: dict[str, Array]

    def nodes(self) -> tuple[Nodes, Nodes]:
        """(the queries, the keys) of the edges, each a row of one node."""
        at = lambda nodes, which: Nodes({n: t[0, which][:, None] for n, t in nodes.tags.items()})
        return at(self.graph.q, self.target), at(self.graph.k, self.source)

    def read(self, names: tuple[str, ...], floats: dict[str, Array]) -> dict[str, Array]:
        """The pair arrays of these names, as rows of one query and one key."""
        every = {**self.pairs, **floats}
        return {name: every[name][:, None, None] for name in names}

    def into(self, sums: Array, values: Array, at: Array) -> Array:
        """Sums with the values of the edges added to the segments `at`."""
        return sums.at[jnp.where(self.live, at, len(sums))].add(values, mode="drop")


def every_score(plan: Plan, moving: Moving, graph: Graph) -> Float[Array, "N P H"]:
    """The scores of all entries."""
    numbers, H = jnp.arange(graph.target.shape[0]), moving.q.shape[1]
    if not len(numbers):
        return jnp.zeros((*graph.target.shape, H), wide(moving.q))

    def of_part(number: Any) -> Array:
        part = part_of(graph, number)
        return scores_of(plan, part, *moving.of(part)[0])

    return of_part(0)[None] if len(numbers) == 1 else jax.lax.map(of_part, numbers)


def by_head(x: Array, heads: int) -> Array:
    """[E G ...] of key/value heads as [E H ...] of query heads."""
    return x if x.shape[1] == heads else jnp.repeat(x, heads // x.shape[1], 1)


def scores_of(
    plan: Plan, part: Part, q: Array, k: Array, params: Any, pairs: Any
) -> Float[Array, "P H"]:
    """The scores of a part, whose queries [P H K], keys [P G K] and features these are."""
    scores: Any = 0.0
    if plan.score is None or not plan.score.replaces:
        of_heads = by_head(k, q.shape[1])
        scores = jnp.einsum("ehk,ehk->eh", q, of_heads, preferred_element_type=wide(q)) * plan.scale
    if plan.score is not None:
        read = part.read(plan.score.pairs, pairs)
        more = plan.score(params, q[:, None], k[:, None], *part.nodes(), read)
        scores = scores + more[:, :, 0, 0].astype(wide(q))
    return capped(jnp.broadcast_to(scores, q.shape[:2]), plan.softcap)


def values_of(
    plan: Plan, part: Part, heads: int, v: Array, added: Any, pairs: Any
) -> Float[Array, "P H U"]:
    """What is sent along the edges of a part, whose values [P G U] and features these are."""
    sent = by_head(v, heads).astype(wide(v))
    if plan.message is not None:
        more = plan.message(added, *part.nodes(), part.read(plan.message.pairs, pairs))
        sent = sent + more[:, 0, 0].astype(sent.dtype)
    return sent


def dropped(plan: Plan, part: Part, x: Float[Array, "E H"]) -> Float[Array, "E H"]:
    """Dropout of the weights of edges, by their indices in the whole call."""
    if not plan.dropout:
        return x
    (T, S), t, s = part.graph.lengths, part.target[:, None], part.source[:, None]
    index = t // T, jnp.arange(x.shape[1]), t % T, s % S
    return jnp.where(
        noise.keep(plan.dropout, part.graph.bits, *index), x / (1.0 - plan.dropout), 0.0
    )


def fold(graph: Graph, step, state, like):
    """`step(part, state)` over all parts; sums of what `like` holds vary as it does."""
    state = jax.tree.map(lambda x: varying(x, like), state)
    count = graph.target.shape[0]
    if count <= 1:
        return step(part_of(graph, 0), state) if count else state
    body = lambda state, number: (step(part_of(graph, number), state), None)
    return jax.lax.scan(body, state, jnp.arange(count))[0]
