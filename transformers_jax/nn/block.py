"""A block: a row of residual branches; which, and in which order, is all that tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges, Mask
from transformers_jax.nn.attend import Score
from transformers_jax.nn.attention import Attention
from transformers_jax.nn.cache import KeyValues
from transformers_jax.nn.feedforward import Mlp
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm


@dataclass(frozen=True)
class Surroundings:
    """What all layers of one forward pass share: drawn once, outside the loop over layers.

    Attributes:
        edges, source_edges: of self-attention and of cross-attention, by mask.
        turns: rotations by (rotary, head width).
        source: the encoder's states, unless the cache holds their keys.
        collect: what to hand out of every layer: "hidden", "weights".
    """

    edges: dict[Mask, Edges]
    turns: dict[tuple, tuple[Array, Array]]
    score: Score | None = None
    source: Float[Array, "B S E"] | None = None
    source_edges: dict[Mask, Edges] = field(default_factory=dict)
    source_score: Score | None = None
    how: str = "auto"
    collect: frozenset[str] = field(default_factory=frozenset)


class Block(nnx.Module):
    """x + dropout(op(norm(x))) for each branch, or norm(x + dropout(op(x))) if it is post-norm."""

    def __init__(self, branches: tuple[spec.Branch, ...], width: int, initial: spec.Initial):
        self.branches = branches
        for branch in branches:
            feeds = isinstance(branch.op, spec.FeedForward)
            setattr(self, branch.kind, (Mlp if feeds else Attention)(branch.op, width, initial))
            setattr(self, f"{branch.kind}_norm", Norm(branch.norm, width))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        around: Surroundings,
        cache: dict[str, KeyValues] | None = None,
        key: Key | None = None,
    ) -> tuple[Float[Array, "B T D"], dict[str, KeyValues] | None, dict[str, Array]]:
        """(stream, memory, what was collected)."""
        memory, seen = dict(cache or {}), {}
        for number, branch in enumerate(self.branches):
            keys = (
                (None, None) if key is None else jax.random.split(jax.random.fold_in(key, number))
            )
            norm = getattr(self, f"{branch.kind}_norm")
            y = norm(x) if branch.placement == "pre" else x
            if branch.kind == "ffn":
                y = self.ffn(y, key=keys[0])
            else:
                y, kept, weights = self._hear(branch, y, around, memory.get(branch.kind), keys[0])
                if kept is not None:
                    memory[branch.kind] = kept
                if weights is not None:
                    seen[branch.kind] = weights
            x = x + dropout(y, branch.dropout, keys[1])
            x = norm(x) if branch.placement == "post" else x
        if "hidden" in around.collect:
            seen["hidden"] = x
        return x, memory or None, seen

    def _hear(self, branch: spec.Branch, x, around: Surroundings, cache, key):
        attention, op = getattr(self, branch.kind), branch.op
        options = dict(cache=cache, key=key, how=around.how)
        options["with_weights"] = "weights" in around.collect
        if branch.kind == "cross":
            options |= dict(source=around.source, score=around.source_score)
            return attention(x, around.source_edges[op.mask], **options)
        turn = None if op.rotary is None else around.turns[op.rotary, op.kv]
        return attention(x, around.edges[op.mask], turn=turn, score=around.score, **options)
