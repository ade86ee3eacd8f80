"""Optimizers of one matrix, for parameters that hold a matrix per layer.

Muon and Adafactor look at a matrix as a whole. Parameters are stored stacked over layers and
experts, and with an axis of heads; of such an array as it is, they would mix layers and factor
the wrong sides. Muon of optax has an argument for the sides; for all others there is `per_layer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from einops import rearrange
from optax.contrib import MuonDimensionNumbers

from transformers_jax.arrays import Array
from transformers_jax.optim.leaves import Leaf


def per_layer(
    transformation: optax.GradientTransformation, known: Mapping[str, Leaf]
) -> optax.GradientTransformation:
    """`transformation`, which is for one matrix or vector, of every layer's parameter by itself.

    The state has, in place of each parameter, the states of `transformation` of all its layers,
    stacked: counts are one per layer, moments are [*layers rows columns].
    """

    def init(params: Any) -> Any:
        return map_leaves(
            lambda leaf, p: _each(transformation.init, leaf)(_fold(leaf, p)), known, params
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def one(leaf: Leaf, g: Array, moments: Any, p: Array) -> tuple[Array, Any]:
            rule = _each(transformation.update, leaf)
            change, moments = rule(_fold(leaf, g), moments, _fold(leaf, p))
            return _unfold(leaf, change, p.shape), moments

        pairs = map_leaves(one, known, updates, state, params)
        part = lambda number: jax.tree.map(lambda _, pair: pair[number], updates, pairs)
        return part(0), part(1)

    return optax.GradientTransformation(init, update)


def muon_sides(known: Mapping[str, Leaf], updates: Any) -> Any:
    """A tree of the sides of each layer's matrix, as Muon of optax takes them."""
    return map_leaves(lambda leaf, _: MuonDimensionNumbers(*leaf.rows_and_columns), known, updates)


def orthogonal_rms(rms: float, sides: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Gives orthogonal matrices, whose root mean square is 1 / sqrt(the longer side), that of
    `rms` (Liu et al. 2025, equation 4)."""

    def scaled(u: Array, sides: MuonDimensionNumbers) -> Array:
        longer = max(math.prod(u.shape[axis] for axis in side) for side in sides)
        return u * (rms * longer**0.5)

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates, sides(updates)))


def map_leaves(function: Callable[..., Any], known: Mapping[str, Leaf], *trees: Any) -> Any:
    """The tree of function(what is known of a parameter, its entry in each of the trees)."""
    return jax.tree.map_with_path(lambda path, *xs: function(known[path_of(path)], *xs), *trees)


def path_of(path: tuple[Any, ...]) -> str:
    """ "stack.norm.scale" of a path through nested dicts, whatever else it goes through."""
    keys = (entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey))
    return ".".join(map(str, keys))


def _each(function: Callable, leaf: Leaf) -> Callable:
    """`function` over the leading axes of layers and experts."""
    for _ in range(len(leaf.axes) - len(leaf.own)):
        function = jax.vmap(function)
    return function


def _fold(leaf: Leaf, x: Array) -> Array:
    """[*layers rows columns] of an array like the parameter."""
    return rearrange(x, f"{_pattern(leaf.stored)} -> {_pattern(leaf.folded)}")


def _unfold(leaf: Leaf, x: Array, shape: Sequence[int]) -> Array:
    """The inverse of `_fold`, to the parameter's shape."""
    sizes = {f"axis{number}": size for number, size in enumerate(shape)}
    return rearrange(x, f"{_pattern(leaf.folded)} -> {_pattern(leaf.stored)}", **sizes)


def _pattern(groups: Sequence[Sequence[int]]) -> str:
    """ "(axis0) (axis2 axis3)" of ((0,), (2, 3)), as einops reads it."""
    return " ".join(f"({' '.join(f'axis{number}' for number in group)})" for group in groups)


def state_axes(
    path: tuple[Any, ...],
    shape: tuple[int, ...],
    axes: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...] | None:
    """The names of the axes of an array of an optimizer's state, by which it is sharded.

    Works for the states made here and for any optax state that holds trees like the parameters.
    Sides that are several axes of the parameter, as heads and their width, bear the first's name.

    Args:
        path: of the array in the state.
        shape: of the array.
        axes: the names of the parameters' axes, by dotted path.
        shapes: of the parameters, by dotted path.

    Returns:
        None if the path leads to no parameter, or the shape is one of its own (a count).
    """
    keys = path_of(path).split(".")
    names = (".".join(keys[start:]) for start in range(len(keys)))
    name = next((name for name in names if name in axes), None)
    if name is None:
        return None
    leaf = Leaf("", axes[name])
    folded = leaf.folded
    for sides in (leaf.stored, folded, folded[:-1], (*folded[:-2], *folded[-1:])):
        if shape == tuple(math.prod(shapes[name][axis] for axis in group) for group in sides):
            return tuple(axes[name][group[0]] for group in sides)
    return None
