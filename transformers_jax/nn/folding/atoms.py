"""Atoms of frames and angles (Jumper et al. 2021, supplement, algorithm 24)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.nn.folding.residues import tables
from transformers_jax.nn.folding.rigid import Rigid, product

CHAIN = (4, 5, 6, 7)
"""The groups of a side chain, each of which is in the frame of the one before."""


class Atoms(NamedTuple):
    """The atoms of residues.

    Attributes:
        frames: of the eight groups of each residue, in the world.
        places: of its atoms; zero where there is none.
    """

    frames: Rigid
    places: Float[Array, "*B T 14 3"]


def atoms_of(backbone: Rigid, angles: Float[Array, "*B T 7 2"], types: Int[Array, "B T"]) -> Atoms:
    """The atoms of residues of these types, whose backbones are in these frames [*B T] and whose
    groups are turned by these angles (sine, cosine); further leading axes are those of steps."""
    known = tables()
    groups = jnp.asarray(known.frames)[types]
    inner = Rigid(groups[..., :3, :3], groups[..., :3, 3])
    own = jnp.broadcast_to(turned(angles), (*angles.shape[:-2], 8, 3, 3))
    shift = jnp.broadcast_to(inner.translation, own.shape[:-1])
    local = Rigid(product(jnp.broadcast_to(inner.rotation, own.shape), own), shift)
    chain = [local.at(..., group) for group in range(8)]
    for before, group in itertools.pairwise(CHAIN):
        chain[group] = chain[before].compose(chain[group])
    joined = Rigid(
        jnp.stack([one.rotation for one in chain], -3),
        jnp.stack([one.translation for one in chain], -2),
    )
    frames = backbone.at(..., None).compose(joined)
    of_atom = jnp.asarray(known.group)[types]
    shape = (*frames.translation.shape[:-2], *of_atom.shape[-1:])
    of_atom = jnp.broadcast_to(of_atom, shape)
    each = Rigid(
        jnp.take_along_axis(frames.rotation, of_atom[..., None, None], -3),
        jnp.take_along_axis(frames.translation, of_atom[..., None], -2),
    )
    places = each.apply(jnp.asarray(known.place)[types])
    return Atoms(frames, places * jnp.asarray(known.exists)[types][..., None])


def turned(angles: Float[Array, "*B 7 2"]) -> Float[Array, "*B 8 3 3"]:
    """The rotations by these angles (sine, cosine) about the first axis; that of the backbone,
    which has none, in front."""
    backbone = jnp.broadcast_to(jnp.array([0.0, 1.0], angles.dtype), (*angles.shape[:-2], 1, 2))
    sine, cosine = jnp.moveaxis(jnp.concatenate([backbone, angles], -2), -1, 0)
    zero, one = jnp.zeros_like(sine), jnp.ones_like(sine)
    rows = ((one, zero, zero), (zero, cosine, -sine), (zero, sine, cosine))
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)
