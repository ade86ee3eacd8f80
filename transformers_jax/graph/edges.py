"""Edges: a mask drawn between two sets of nodes, once per forward pass and shared by all layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, is_symbolic
from transformers_jax.graph.mask import Mask
from transformers_jax.graph.nodes import Nodes

FOLDED = 2**16
"""Larger squares are drawn at run time: out of constant tags XLA would draw them while compiling
and keep the T x S matrix in the program (20 s to fold one at T = 4096)."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Edges:
    """The graph between queries `q` and keys `k` that `mask` describes.

    Attributes:
        drawn: the Bool[b T S] of it, if a backend needs the array (`draw`).
    """

    q: Nodes
    k: Nodes
    mask: Mask = field(metadata={"static": True})
    pairs: dict[str, Array] = field(default_factory=dict)
    drawn: Bool[Array, "b T S"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(T, S)."""
        return self.q.length, self.k.length

    def allowed(self) -> Bool[Array, "b T S"]:
        """The matrix itself; keys that are not valid have no edges."""
        if self.drawn is not None:
            return self.drawn
        q, k = self.q, self.k
        if is_symbolic(*self.shape) or self.shape[0] * self.shape[1] > FOLDED:
            q, k = jax.tree.map(
                lambda leaf: jax.lax.optimization_barrier(jnp.asarray(leaf)), (q, k)
            )
        allowed = self.mask.edges(q, k, self.pairs)
        if self.k.valid is not None:
            allowed = allowed & self.k.valid[:, None, :]
        return jnp.broadcast_to(allowed, (allowed.shape[0], *self.shape))

    def draw(self) -> Edges:
        """The same edges with their matrix, for backends that read it in every layer."""
        return replace(self, drawn=self.allowed())


def connect(
    mask: Mask,
    q: Nodes,
    k: Nodes | None = None,
    pairs: Mapping[str, Array] | None = None,
    features: frozenset[str] = frozenset(),
) -> Edges:
    """Draws `mask` between queries and keys (`k=None`: the same nodes, self-attention); `features`
    are the names of pair arrays [b T S ...] that scores read.

    Raises:
        ValueError: if the mask names a tag or a pair array that is absent, or the scores one.
    """
    k = q if k is None else k
    mask.check(q, k, pairs or {})
    if missing := sorted(features - set(pairs or {})):
        raise ValueError(
            f"scores read the features {missing} of edges; give pairs={{{missing[0]!r}: [b T S]}}"
        )
    needed = mask.pairs | features
    read = {name: array for name, array in (pairs or {}).items() if name in needed}
    return Edges(q, k, mask, read)
