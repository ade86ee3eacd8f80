"""The two layouts of the layers of a stack: stacked along a leading axis, or a tree for each."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Params
from transformers_jax.spec import StackSpec


def layer_of(tree, index: int | Array):
    """One layer of stacked leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def unstack(params: Params, spec: StackSpec) -> Params:
    """The parameters of a stack with one tree per layer, from those with a `layers` axis."""
    layers = {
        str(number): layer_of(params["blocks"][str(slot)], index)
        for slot, numbers in enumerate(spec.slots)
        for index, number in enumerate(numbers)
    }
    return {**params, "blocks": dict(sorted(layers.items(), key=lambda item: int(item[0])))}


def restack(params: Params, spec: StackSpec) -> Params:
    """The inverse of `unstack`."""
    slots = {
        str(slot): jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(params["blocks"][str(n)] for n in numbers)
        )
        for slot, numbers in enumerate(spec.slots)
    }
    return {**params, "blocks": slots}
