"""How sure a predicted structure is: of a residue (lDDT), of a pair (aligned error), of the whole
(TM-score) (Jumper et al. 2021, supplement 1.9.6 to 1.9.9)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float

LDDT_BINS = 50
ERROR_BINS, FARTHEST = 64, 31.0
"""Bins of the aligned error, the last of which holds all beyond so many Angstrom."""
LEAST = 19
"""A TM-score is that of a protein of so many residues at least."""


def lddt_of(logits: Float[Array, "*B 50"]) -> Float[Array, "*B"]:
    """The expected lDDT, from 0 to 1."""
    centers = (np.arange(LDDT_BINS, dtype=np.float32) + 0.5) / LDDT_BINS
    return (jax.nn.softmax(logits, -1) * centers).sum(-1)


def error_centers() -> Float[np.ndarray, " 64"]:
    """The error, in Angstrom, that each bin stands for."""
    edges = np.linspace(0, FARTHEST, ERROR_BINS - 1, dtype=np.float32)
    step = edges[1] - edges[0]
    return np.append(edges + step / 2, edges[-1] + 1.5 * step).astype(np.float32)


def tm_of(
    logits: Float[Array, "B T T 64"], valid: Bool[Array, "B T"] | None = None
) -> Float[Array, " B"]:
    """The expected TM-score of each protein: of its residues, that by whose frame it is best."""
    B, T = logits.shape[:2]
    valid = jnp.ones((B, T), bool) if valid is None else valid
    count = valid.sum(-1)
    scale = 1.24 * (jnp.maximum(count, LEAST) - 15.0) ** (1 / 3) - 1.8
    near = 1 / (1 + jnp.square(error_centers() / scale[:, None]))
    expected = (jax.nn.softmax(logits, -1) * near[:, None, None]).sum(-1)
    mean = jnp.where(valid[:, None], expected, 0).sum(-1) / (1e-8 + count[:, None])
    return jnp.where(valid, mean, 0).max(-1)
