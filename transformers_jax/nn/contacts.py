"""Contacts of a protein, predicted from the attention of a language model (Rao et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.param import param


def symmetric(maps: Float[Array, "*B T T"]) -> Float[Array, "*B T T"]:
    """Each map plus its transpose: a contact has no direction."""
    return maps + jnp.swapaxes(maps, -1, -2)


def product_corrected(maps: Float[Array, "*B T T"]) -> Float[Array, "*B T T"]:
    """Each map without what its rows and columns explain by themselves: the product of the sums of
    row and column, divided by the sum of all (Dunn et al. 2008, average product correction). A map
    of zeros stays as it is."""
    rows, columns = maps.sum(-1, keepdims=True), maps.sum(-2, keepdims=True)
    total = maps.sum((-1, -2), keepdims=True)
    return maps - rows * columns / jnp.where(total == 0, 1.0, total)


def contact_maps(
    weights: Sequence[Float[Array, "B H T T"]], residues: Bool[Array, "B T"]
) -> Float[Array, "B N L L"]:
    """The maps of all heads of all layers, N = layers x H, symmetric and corrected, between the L =
    T - 2 places behind the first token and before the last; zero where there is no residue."""
    B, H, T, _ = weights[0].shape
    maps = jnp.stack(weights, 1).reshape(B, len(weights) * H, T, T)
    pairs = residues[:, None, :, None] & residues[:, None, None, :]
    maps = jnp.where(pairs, maps, 0.0)[..., 1:-1, 1:-1]
    return product_corrected(symmetric(maps))


class ContactRegression(nnx.Module):
    """The probability that two residues touch: a logistic regression over the corrected maps of all
    heads (Rao et al. 2020, section 3.2). A new one says 1/2 of every pair; no objective trains it
    with the language model."""

    def __init__(self, maps: int):
        sizes = {"maps": maps, "contact": 1}
        self.weight = param("maps contact", sizes, spec.ZEROS, learned=False)
        self.bias = param("contact", sizes, spec.ZEROS, learned=False)

    def __call__(
        self, weights: Sequence[Float[Array, "B H T T"]], residues: Bool[Array, "B T"]
    ) -> Float[Array, "B L L"]:
        maps = contact_maps(weights, residues)
        return jax.nn.sigmoid(affine("bnij,nc->bijc", maps, self.weight, self.bias)[..., 0])
