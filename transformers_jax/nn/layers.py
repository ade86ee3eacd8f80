"""The two layouts of the layers of a stack: stacked along a leading axis, or a tree for each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Params, is_traced
from transformers_jax.spec import StackSpec, StagesSpec

STORED = re.compile(r"(^|\.)blocks\.\d+\.")
"""The part of a path that says where a layer is stored, which is not its number."""


def names_of(path: str, axes: Any) -> tuple[str, ...]:
    """The names by which patterns choose a parameter: one for each layer that it holds, with the
    number of the layer ("stack.layers.3.self.query")."""
    layers = getattr(axes, "layers", None)
    if layers is None:
        return (path,)
    return tuple(STORED.sub(rf"\1layers.{n}.", path, count=1) for n in layers.numbers)


def layer_of(tree, index: int | Array):
    """One layer of stacked leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def unstack(params: Params, spec: StackSpec | StagesSpec) -> Params:
    """The parameters of a stack with one tree per layer, from those with a `layers` axis: views of
    them, where they lie in the memory of this process, so that nothing is copied."""
    if isinstance(spec, StagesSpec):
        return _of_stages(unstack, params, spec)
    layers = {
        str(number): jax.tree.map(functools.partial(_taken, index), params["blocks"][str(slot)])
        for slot, numbers in enumerate(spec.slots)
        for index, number in enumerate(numbers)
    }
    return {**params, "blocks": dict(sorted(layers.items(), key=lambda item: int(item[0])))}


def is_host_array(leaf: Any) -> bool:
    """Whether the numbers of an array are known, and lie in the memory of this process."""
    if not isinstance(leaf, jax.Array) or is_traced(leaf):
        return False
    where: Any = leaf.sharding  # a mesh, of one device too, names the axes of its arrays
    if not isinstance(where, jax.sharding.SingleDeviceSharding):
        return False
    devices: Any = where.device_set
    return all(device.platform == "cpu" for device in devices)


def _taken(index: int, leaf: Array) -> Array:
    """leaf[index], a view where that can be: JAX takes over what NumPy shows of its own array."""
    if not is_host_array(leaf):
        return leaf[index]
    device = leaf.sharding if leaf.committed else None
    return jax.device_put(np.asarray(leaf)[index], device)


def restack(params: Params, spec: StackSpec | StagesSpec) -> Params:
    """The inverse of `unstack`."""
    if isinstance(spec, StagesSpec):
        return _of_stages(restack, params, spec)
    slots = {
        str(slot): jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(params["blocks"][str(n)] for n in numbers)
        )
        for slot, numbers in enumerate(spec.slots)
    }
    return {**params, "blocks": slots}


def _of_stages(convert: Callable[..., Params], params: Params, spec: StagesSpec) -> Params:
    """The parameters of stages, those of each stack converted."""
    stacks = {f"stage_{n}": stage.stack for n, stage in enumerate(spec.stages)}
    return {
        name: value if (own := stacks.get(name)) is None else convert(value, own)
        for name, value in params.items()
    }
