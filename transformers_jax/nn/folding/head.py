"""The head that folds: from the states of a language model to atoms, and how sure they are (Lin et
al. 2023, supplement A.3)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.nn.embed import nodes_of
from transformers_jax.nn.embed.tokens import rows, without_gradient
from transformers_jax.nn.folding.confidence import (
    ERROR_BINS,
    LDDT_BINS,
    error_centers,
    lddt_of,
    tm_of,
)
from transformers_jax.nn.folding.residues import ATOMS, UNKNOWN, tables
from transformers_jax.nn.folding.trunk import Folded, FoldingTrunk, TrunkSpec
from transformers_jax.nn.head.base import Dense, Head, HeadFlops
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

TOKENS = UNKNOWN + 3
"""Padding, the twenty and the unknown residue, and one that is masked."""


@dataclass(frozen=True)
class FoldingSpec:
    """What a folding head needs to know.

    Attributes:
        language: the width of the language model's states.
        layers: how many of them there are, the embeddings among them.
        trunk: the folding trunk.
        confidence: the width of the network that says how sure each atom is.
        embeds: whether residues have a vector of their own beside those states.
        silent: whether those states are left out (an ablation).
        recycles: how often the answer is read again where a call does not say it.
    """

    language: int
    layers: int
    trunk: TrunkSpec
    confidence: int
    embeds: bool = True
    silent: bool = False
    recycles: int = 3


class FoldingHead(Head):
    """See `FoldingSpec`. `num_recycles` of a call says how often the trunk reads its own answer
    again."""

    labels = ("num_recycles",)
    collects = frozenset({"hidden"})

    def __init__(self, folding: FoldingSpec, execution: spec.Execution):
        f = self.spec = folding
        trunk, initial = f.trunk, f.trunk.initial
        norm, sure = spec.LayerNorm(), f.confidence
        sizes = {"states": f.layers, "vocab": TOKENS, "embed": trunk.width}
        dense = lambda width, size, axis: Dense(width, size, axis, initial)
        self.combine = param("states", sizes, spec.ZEROS)
        self.norm = Norm(norm, f.language)
        self.enter = dense(f.language, trunk.width, "inner")
        self.enter_more = dense(trunk.width, trunk.width, "inner")
        drawn = initial.draw("table", sizes)
        self.embed = param("vocab embed", sizes, drawn) if f.embeds else None
        self.trunk = FoldingTrunk(trunk, replace(execution, layers="stacked"))
        self.distances = dense(trunk.pair, ERROR_BINS, "bins")
        self.errors = dense(trunk.pair, ERROR_BINS, "bins")
        self.words = dense(trunk.width, TOKENS, "vocab")
        states = trunk.structure.width
        self.sure_norm = Norm(norm, states)
        widths = (states, sure, sure, ATOMS * LDDT_BINS)
        self.sure = nnx.List(dense(*each, "confidence") for each in itertools.pairwise(widths))

    def check(self, arguments, shape, like="the input") -> None:
        recycles = arguments.get("num_recycles")
        if recycles is None or isinstance(recycles, jax.core.Tracer):
            return
        whole = np.ndim(recycles) == 0 and np.issubdtype(np.asarray(recycles).dtype, np.integer)
        if not whole or int(recycles) < 0:
            raise ValueError(
                f"num_recycles={recycles}: expected a whole number, at least 0: how often the "
                "answer is read again"
            )

    def flops(self, tokens, table) -> HeadFlops:
        return HeadFlops((1 + self.spec.recycles) * self.trunk.flops(tokens))

    def __call__(self, x, inputs, num_recycles=None):
        given = inputs.arguments
        types, mask = jnp.asarray(given["input_ids"]), given.get("attention_mask")
        B, T = types.shape
        places = given.get("position_ids")
        places = jnp.arange(T)[None] if places is None else jnp.asarray(places)
        places = jnp.broadcast_to(places, (B, T))
        recycles = self.spec.recycles if num_recycles is None else num_recycles
        nodes = nodes_of(T, mask)
        residues = self.residues(inputs.hidden, types)
        folded = self.trunk(residues, types, places, nodes, recycles, inputs.key)
        there = jnp.ones((B, T), bool) if nodes.valid is None else nodes.valid
        return self.fields(folded, types, places, jnp.broadcast_to(there, (B, T)))

    def residues(
        self, hidden: tuple[Float[Array, "B S E"], ...], types: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """The vectors of residues: of the language model's states, whose gradient ends here, and of
        their types."""
        states = jax.lax.stop_gradient(jnp.stack(hidden, 2)[:, 1:-1])
        states = jnp.zeros_like(states) if self.spec.silent else states
        shares = jax.nn.softmax(self.combine[...])
        x = jnp.einsum("btse,s->bte", states, shares.astype(states.dtype))
        x = self.enter_more(jax.nn.relu(self.enter(self.norm(x))))
        if self.embed is None:
            return x
        # row 0 is that of padding to the authors, who number residues from 0 all the same
        own = without_gradient(rows(self.embed[...], types), types == 0)
        return x + own.astype(x.dtype)

    def fields(
        self,
        folded: Folded,
        types: Int[Array, "B T"],
        places: Int[Array, "B T"],
        there: Array,
    ) -> Mapping[str, Any]:
        """The fields of the answer, by their names in transformers."""
        structure, pairs, known = folded.structure, folded.pairs, tables()
        distances = self.distances(pairs)
        y = self.sure_norm(structure.states)
        for layer in self.sure:
            y = layer(y)
        sure = y.reshape(*y.shape[:-1], ATOMS, LDDT_BINS)
        errors = self.errors(pairs)
        shares, centers = jax.nn.softmax(errors, -1), error_centers()
        of_type = lambda table: jnp.asarray(table)[types]
        exists = there[..., None]
        scores = tm_of(errors, there)
        return {
            "frames": structure.frames,
            "sidechain_frames": structure.atoms.frames.matrix(),
            "unnormalized_angles": structure.raw,
            "angles": structure.angles,
            "positions": structure.atoms.places,
            "states": structure.states,
            "s_s": folded.residues,
            "s_z": pairs,
            "distogram_logits": (distances + jnp.swapaxes(distances, 1, 2)) / 2,
            "lm_logits": self.words(folded.residues),
            "aatype": types,
            "atom14_atom_exists": of_type(known.exists) * exists,
            "residx_atom14_to_atom37": of_type(known.to_37),
            "residx_atom37_to_atom14": of_type(known.to_14),
            "atom37_atom_exists": of_type(known.exists_37) * exists,
            "residue_index": places,
            "lddt_head": sure,
            "plddt": lddt_of(sure[-1]),
            "ptm_logits": errors,
            "ptm": scores.max(),
            "ptm_of_rows": scores,
            "aligned_confidence_probs": shares,
            "predicted_aligned_error": (shares * centers).sum(-1),
            "max_predicted_aligned_error": jnp.asarray(centers[-1]),
        }
