"""The folding trunk: blocks over residues and pairs, which read their own answer again (Lin et al.
2023, supplement A.3; recycling: Jumper et al. 2021, supplement 1.10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.graph import FULL, Nodes
from transformers_jax.nn.embed.tokens import rows
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.folding.attention import PAIR, PairBiasSpec, TriangleAttentionSpec
from transformers_jax.nn.folding.multiplication import TriangleMultiplicationSpec
from transformers_jax.nn.folding.structure import Structure, StructureModule, StructureSpec
from transformers_jax.nn.folding.transfer import PerPair, SequenceToPairSpec
from transformers_jax.nn.head.base import Dense
from transformers_jax.nn.noise import split_key
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import merge, param, split
from transformers_jax.nn.stack import Stack

NORM = spec.LayerNorm()
DISTANCES, NEAREST, FARTHEST = 15, 3.375, 21.375
"""Bins of distances that are read again, and the edges of the first and the last, in Angstrom."""


@dataclass(frozen=True)
class TrunkSpec:
    """The sizes of a folding trunk.

    Attributes:
        width, head: of residues, and of a head of their attention.
        pair, pair_head: the same of pairs.
        depth: blocks.
        reach: the farthest distance in the chain that has a vector of its own.
        dropout: of residues and pairs; twice as much of whole rows and columns of pairs.
        rows: rows of pairs that attend at a time; None: all.
        structure: the structure module.
    """

    width: int
    head: int
    pair: int
    pair_head: int
    depth: int
    reach: int
    structure: StructureSpec
    dropout: float = 0.0
    rows: int | None = None
    initial: spec.Initial = spec.Initial()

    def stack(self) -> spec.StackSpec:
        """Blocks of two streams: residues attend by their pairs and compute, and pairs hear them,
        close their triangles, and compute."""
        drop, twice = self.dropout, 2 * self.dropout
        heads, pair_heads = self.width // self.head, self.pair // self.pair_head
        own = PairBiasSpec(
            heads, self.head, mask=FULL, bias=("out",), pair=self.pair, norm_pair=NORM
        )
        says = SequenceToPairSpec(self.width, self.pair // 2, NORM)
        along = TriangleAttentionSpec(
            pair_heads, self.pair_head, mask=FULL, bias=("out",), rows=self.rows, dropped=twice
        )
        ffn, of_pairs = (FeedForwardSpec(4 * width, "relu") for width in (self.width, self.pair))
        sides = (("starts", False), ("ends", True))
        block = (
            spec.Branch("attend", own, NORM, dropout=drop),
            spec.Branch("compute", ffn, NORM, dropout=drop),
            spec.Branch("hear", says, stream=PAIR),
            *(
                spec.Branch(
                    f"multiply_{name}",
                    TriangleMultiplicationSpec(NORM, ends, twice),
                    NORM,
                    stream=PAIR,
                )
                for name, ends in sides
            ),
            *(
                spec.Branch(f"attend_{name}", replace(along, ends=ends), NORM, stream=PAIR)
                for name, ends in sides
            ),
            spec.Branch("compute_pair", PerPair(of_pairs), NORM, dropout=drop, stream=PAIR),
        )
        return spec.StackSpec(
            self.width,
            (block,) * self.depth,
            streams=((PAIR, self.pair),),
            initial=self.initial,
        )


class Recycled(NamedTuple):
    """What is read again: residues, pairs, and the bins of their distances."""

    residues: Float[Array, "B T D"]
    pairs: Float[Array, "B T T E"]
    bins: Int[Array, "B T T"]


class Folded(NamedTuple):
    """The answer of the trunk."""

    residues: Float[Array, "B T D"]
    pairs: Float[Array, "B T T E"]
    structure: Structure


class FoldingTrunk(nnx.Module):
    """See `TrunkSpec`."""

    def __init__(self, trunk: TrunkSpec, execution: spec.Execution):
        t = self.spec = trunk
        sizes = {"distance": 2 * t.reach + 2, "bins": DISTANCES, "embed": t.pair}
        draw = lambda role: t.initial.draw(role, sizes)
        self.apart = param("distance embed", sizes, draw("table"))
        self.bins = param("bins embed", sizes, draw("table"))
        self.norm, self.pair_norm = Norm(NORM, t.width), Norm(NORM, t.pair)
        self.stack = Stack(t.stack(), execution)
        structure = t.structure
        self.leave = Dense(t.width, structure.width, "structure", t.initial)
        self.leave_pair = Dense(t.pair, structure.pair, "structure", t.initial)
        self.structure = StructureModule(structure, execution)

    def __call__(
        self,
        residues: Float[Array, "B T D"],
        types: Int[Array, "B T"],
        places: Int[Array, "B T"],
        nodes: Nodes,
        recycles: Int[Array, ""] | int,
        key: Key | None = None,
    ) -> Folded:
        """The structure of residues of these types, at these places of a chain, after its own
        answer was read again `recycles` times; only the last time has a gradient."""
        B, T, _ = residues.shape
        chain = self._chain(places, nodes)
        again = Recycled(
            jnp.zeros_like(residues),
            jnp.zeros((B, T, T, self.spec.pair), residues.dtype),
            jnp.zeros((B, T, T), jnp.int32),
        )
        definition, values = split(self)
        still = jax.lax.stop_gradient
        fixed = still((values, residues, chain))

        def once(number: Array, again: Recycled) -> Recycled:
            values, residues, chain = fixed
            own = None if key is None else jax.random.fold_in(key, number)
            trunk = merge(definition, values)
            return trunk.read_again(trunk.fold(residues, chain, again, types, nodes, own))

        again = jax.lax.fori_loop(0, recycles, once, again)
        return self.fold(residues, chain, jax.tree.map(still, again), types, nodes, key)

    def flops(self, tokens: int) -> float:
        """FLOPs of going once through the trunk and the structure module with so many residues."""
        total = 0.0
        for stack in (self.stack.spec, self.structure.stack.spec):
            for branch in (branch for block in stack.applied for branch in block):
                width = stack.widths[branch.stream]
                total += sum(branch.op.flops(width, tokens, tokens, lambda mask: tokens**2))
        return total

    def fold(
        self,
        residues: Float[Array, "B T D"],
        chain: Float[Array, "B T T E"],
        again: Recycled,
        types: Int[Array, "B T"],
        nodes: Nodes,
        key: Key | None,
    ) -> Folded:
        """The structure, from what was read again."""
        own, last = split_key(key, 2)
        before = rows(self.bins[...], again.bins).astype(residues.dtype)
        pairs = chain + (self.pair_norm(again.pairs) + before)
        ran = self.stack(
            residues + self.norm(again.residues), nodes, streams={PAIR: pairs}, key=own
        )
        x, z = ran.x, ran.streams[PAIR]
        structure = self.structure(self.leave(x), self.leave_pair(z), types, nodes, last)
        return Folded(x, z, structure)

    def read_again(self, folded: Folded) -> Recycled:
        """What of an answer is read again."""
        bins = distance_bins(folded.structure.atoms.places[-1][:, :, :3])
        return Recycled(folded.residues, folded.pairs, bins)

    def _chain(self, places: Int[Array, "B T"], nodes: Nodes) -> Float[Array, "B T T E"]:
        """A vector for the distance in the chain of each two residues, the first of the table where
        one is none."""
        reach = self.spec.reach
        apart = jnp.clip(places[:, None] - places[:, :, None], -reach, reach) + reach + 1
        if nodes.valid is not None:
            apart = jnp.where(nodes.valid[:, None] & nodes.valid[:, :, None], apart, 0)
        return rows(self.apart[...], apart)


def distance_bins(backbone: Float[Array, "B T 3 3"]) -> Int[Array, "B T T"]:
    """The bins of the distances between carbons beta, placed where they would be by N, CA and C of
    each residue (the released code)."""
    n, ca, c = (backbone[:, :, atom] for atom in range(3))
    b, c = ca - n, c - ca
    beta = -0.58273431 * jnp.cross(b, c) + 0.56802827 * b - 0.54067466 * c + ca
    squares: Any = jnp.square(beta[:, None] - beta[:, :, None]).sum(-1, keepdims=True)
    edges = np.linspace(NEAREST, FARTHEST, DISTANCES - 1, dtype=np.float32) ** 2
    return (squares > edges).sum(-1)
