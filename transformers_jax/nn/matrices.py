"""Which parameters are matrices, told by the names of their axes."""

from __future__ import annotations

import math

from flax import nnx

from transformers_jax.nn.param import axes, flatten, params

Sides = tuple[tuple[int, ...], ...]
"""Groups of the axes of an array, by number."""

REPEATED = ("layers", "experts")
"""Axes along which there are several parameters, one per layer or expert."""

LOOKED_UP = ("vocab", "position", "type", "register")
"""Leading axes of tables that are looked up, or multiplied only as an unembedding."""


def sides(names: tuple[str, ...]) -> Sides:
    """The axes of each side of one layer's parameter; a matrix has two.

    Heads and their width are one side: ("embed",), ("heads", "kv") of a projection.
    """
    sides: list[tuple[int, ...]] = []
    for axis, name in enumerate(names):
        if name in REPEATED:
            continue
        before = names[sides[-1][-1]] if sides else ""
        if name == "kv" and before in ("heads", "kv_heads"):
            sides[-1] = (*sides[-1], axis)
        else:
            sides.append((axis,))
    return tuple(sides)


def is_matrix(names: tuple[str, ...]) -> bool:
    """Whether one layer's parameter is a matrix: biases over (heads, kv) are vectors, and so are
    the scales of all layers together."""
    return len(sides(names)) >= 2


def matrix_flops(module: nnx.Module) -> float:
    """FLOPs of one token's products with every matrix of a module; tables that are looked up are
    left out."""
    shapes = flatten(params(module))
    return 2.0 * sum(
        math.prod(shapes[path].shape)
        for path, names in flatten(axes(module)).items()
        if is_matrix(names) and names[0] not in LOOKED_UP
    )
