"""Explicit axes of meshes, which are refused: here layouts are left to the compiler and the rules.

`jax.make_mesh` makes such axes by default; on them every operation must say how its result is
sharded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType

AUTO = (
    "layouts here are left to the compiler: make the mesh with tj.make_mesh({'data': -1}), or with "
    "axis_types=(jax.sharding.AxisType.Auto,) for each of its axes"
)


def refuse_explicit(arrays: Mapping[str, Any]) -> None:
    """Raises ValueError for an array that is cut along an explicit axis of a mesh, as
    `jax.make_mesh` makes them: operations of models do not say how their results are cut."""
    for name, leaf in arrays.items():
        for array in jax.tree.leaves(leaf):
            if isinstance(array, jax.Array):
                spec = jax.typeof(array).sharding.spec
                if any(part is not None for part in spec):
                    raise ValueError(f"{name} is cut along explicit axes, {spec}; {AUTO}")


def refuse_explicit_values(values: Any, inputs: Mapping[str, Any]) -> None:
    """Raises ValueError for parameters that are cut along an explicit axis, and for those on
    a mesh with such axes if the cache is not: their results cannot be written into it.
    (Under `jax.set_mesh` of that mesh, intermediate arrays are on it.)"""
    refuse_explicit({"a parameter": values})
    if "cache" not in inputs:
        return
    cache = jax.tree.leaves(inputs["cache"])
    states = [leaf for leaf in cache if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)]
    for mesh in _meshes(jax.tree.leaves(values)):
        needed = states if mesh == jax.sharding.get_abstract_mesh() else cache
        if (explicit := explicit_axes(mesh)) and not _meshes(needed) <= {mesh}:
            axes = ", ".join(explicit)
            raise ValueError(
                f"the parameters are on a mesh with explicit axes, {axes}, and the cache does not; "
                f"{AUTO}, or make the cache and call under jax.set_mesh"
            )


def _meshes(arrays: Sequence[Any]) -> set[Any]:
    """The meshes that these are typed with."""
    return {jax.typeof(array).sharding.mesh for array in arrays if isinstance(array, jax.Array)}


def explicit_axes(mesh: Any) -> list[str]:
    """The names of the explicit axes of a mesh."""
    return [n for n, k in zip(mesh.axis_names, mesh.axis_types) if k == AxisType.Explicit]


def refuse_explicit_mesh(mesh: Any) -> None:
    """Raises ValueError for a mesh with explicit axes."""
    if explicit := explicit_axes(mesh):
        raise ValueError(f"mesh has explicit axes, {', '.join(explicit)}; {AUTO}")
