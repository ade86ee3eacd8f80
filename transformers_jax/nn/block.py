"""A block: a row of residual branches; which, and in which order, is all that tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges, Mask, Nodes
from transformers_jax.nn.attend import Score
from transformers_jax.nn.attention import Attention
from transformers_jax.nn.cache import KeyValues
from transformers_jax.nn.convolution import Convolution
from transformers_jax.nn.experts import Experts
from transformers_jax.nn.feedforward import Mlp
from transformers_jax.nn.noise import drop_path, dropout
from transformers_jax.nn.norm import Norm


@dataclass(frozen=True)
class Surroundings:
    """What all layers of one forward pass share: drawn once, outside the loop over layers.

    Attributes:
        nodes: the tokens.
        edges: of self-attention, by mask and by what extends the keys.
        source_edges: of cross-attention, by mask.
        score: what the stack's score gives: a `Score`, or what the layers' own scores take.
        turns: rotations by (rotary, head width).
        source: the encoder's states, unless the cache holds their keys.
        collect: what to hand out of every layer: "hidden", "weights".
        remat: branches that the backward pass recomputes: "self", "cross", "ffn".
    """

    nodes: Nodes
    edges: dict[tuple[Mask, spec.Summaries | None], Edges]
    turns: dict[tuple, tuple[Array, Array]]
    score: Any = None
    source: Float[Array, "B S E"] | None = None
    source_edges: dict[Mask, Edges] = field(default_factory=dict)
    source_score: Score | None = None
    how: str = "auto"
    collect: frozenset[str] = field(default_factory=frozenset)
    remat: frozenset[str] = field(default_factory=frozenset)


OPERATIONS: dict[type, Callable[..., nnx.Module]] = {
    spec.AttentionSpec: Attention,
    spec.FeedForward: Mlp,
    spec.Conv: Convolution,
    spec.Experts: Experts,
}
"""The module of each description. Those that are neither of these two take (x, nodes, key) and give
(what is added, what is to be collected by name)."""


class Block(nnx.Module):
    """x + dropout(op(norm(x))) for each branch, or norm(x + dropout(op(x))) if it is post-norm."""

    def __init__(self, branches: tuple[spec.Branch, ...], width: int, initial: spec.Initial):
        self.branches = branches
        for branch in branches:
            setattr(self, branch.kind, OPERATIONS[type(branch.op)](branch.op, width, initial))
            norm = Norm(branch.norm, width) if branch.norm else None
            setattr(self, f"{branch.kind}_norm", norm)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        around: Surroundings,
        cache: dict[str, KeyValues] | None = None,
        key: Key | None = None,
        leave_out: Float[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T D"], dict[str, KeyValues] | None, dict[str, Array]]:
        """(stream, memory, what was collected); with a key, branches are left out at the rate
        `leave_out`, row by row."""
        memory, seen, entered = dict(cache or {}), {}, x
        for number, branch in enumerate(self.branches):
            if branch.kind == "cross" and not around.source_edges:
                continue
            keys = (
                (None, None) if key is None else jax.random.split(jax.random.fold_in(key, number))
            )
            norm = getattr(self, f"{branch.kind}_norm") or (lambda x: x)
            y = entered if branch.reads == "block" else x
            y = norm(y) if branch.placement == "pre" else y
            if not isinstance(branch.op, spec.AttentionSpec):
                compute = partial(self._compute, branch, around)
                y, found = self._kept(compute, branch, around)(y, keys[0])
                seen |= found
            else:
                hear = partial(self._hear, branch, around)
                held = memory.get(branch.kind)
                y, kept, weights = self._kept(hear, branch, around)(y, held, keys[0])
                if kept is not None:
                    memory[branch.kind] = kept
                if weights is not None:
                    seen[branch.kind] = weights
            y = dropout(y, branch.dropout, keys[1])
            path = None if leave_out is None else jax.random.fold_in(keys[1], 1)
            x = x + drop_path(y, leave_out, path)
            x = norm(x) if branch.placement == "post" else x
            x = around.nodes.blanked(x) if branch.blank else x
        if "hidden" in around.collect:
            seen["hidden"] = x
        return x, memory or None, seen

    @staticmethod
    def _kept(run: Callable, branch: spec.Branch, around: Surroundings) -> Callable:
        """The branch, recomputed in the backward pass if that was asked for."""
        return jax.checkpoint(run) if branch.kind in around.remat else run

    def _compute(self, branch: spec.Branch, around: Surroundings, x, key):
        """(what is added, what is to be collected)."""
        operation = getattr(self, branch.kind)
        if isinstance(branch.op, spec.FeedForward):
            return operation(x, key=key), {}
        return operation(x, around.nodes, key=key)

    def _hear(self, branch: spec.Branch, around: Surroundings, x, cache, key):
        attention, op = getattr(self, branch.kind), branch.op
        options = dict(cache=cache, key=key, how=around.how)
        options["with_weights"] = "weights" in around.collect
        if branch.kind == "cross":
            options |= dict(source=around.source, score=around.source_score)
            return attention(x, around.source_edges[op.mask], **options)
        options["turn"] = None if op.rotary is None else around.turns[op.rotary, op.kv]
        edges, *more = (around.edges[mask, op.extend] for mask in op.masks)
        options |= dict(score=around.score, more=tuple(more), nodes=around.nodes)
        return attention(x, edges, **options)
