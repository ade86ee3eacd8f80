"""Optimizers of one matrix, for parameters that hold a matrix per layer.

Muon and Adafactor look at a matrix as a whole. Parameters are stored stacked over layers and
experts, and with heads apart; given such an array as it stands, they would mix layers and factor
the wrong sides. Muon of optax can be told the sides; for all others there is `per_layer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from transformers_jax.arrays import Array, Float
from transformers_jax.optim.leaves import Leaf

Fold = tuple[Callable[[Array], Array], Callable[[Array], Array]]


def per_layer(
    transformation: optax.GradientTransformation, known: Mapping[str, Leaf]
) -> optax.GradientTransformation:
    """`transformation`, which is for one matrix or vector, of every layer's parameter by itself.

    The state has, at the place of each parameter, the states of `transformation` of all its
    layers, stacked: counts are one per layer, moments are [*layers rows columns].
    """

    def init(params: Any) -> Any:
        def one(path, p):
            leaf = known[path_of(path)]
            return _each(transformation.init, leaf)(_folding(leaf, p)[0](p))

        return jax.tree_util.tree_map_with_path(one, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        flat, _ = jax.tree_util.tree_flatten_with_path(updates)
        tree: Any = jax.tree.structure(updates)
        after = []
        for (path, g), moments, p in zip(
            flat, tree.flatten_up_to(state), tree.flatten_up_to(params), strict=True
        ):
            leaf = known[path_of(path)]
            fold, unfold = _folding(leaf, p)
            change, moments = _each(transformation.update, leaf)(fold(g), moments, fold(p))
            after.append((unfold(change), moments))
        return tree.unflatten(u for u, _ in after), tree.unflatten(s for _, s in after)

    return optax.GradientTransformation(init, update)


def muon_sides(known: Mapping[str, Leaf], updates: Any) -> Any:
    """A tree of the sides of each layer's matrix, as Muon of optax takes them."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: MuonDimensionNumbers(*_sides(known[path_of(path)])), updates
    )


def orthogonal_rms(rms: float, sides: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Gives orthogonal matrices, whose root mean square is 1 / sqrt(the longer side), that of
    `rms` (Liu et al. 2025, equation 4)."""

    def scaled(u: Array, places: MuonDimensionNumbers) -> Array:
        longer = max(math.prod(u.shape[place] for place in side) for side in places)
        return u * (rms * longer**0.5)

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates, sides(updates)))


def path_of(path: tuple[Any, ...]) -> str:
    """ "stack.norm.scale" of a path through nested dicts, whatever else it goes through."""
    keys = (entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey))
    return ".".join(map(str, keys))


def _each(function: Callable, leaf: Leaf) -> Callable:
    """`function` over the leading axes of layers and experts."""
    for _ in range(len(leaf.axes) - len(leaf.own)):
        function = jax.vmap(function)
    return function


def _folded(leaf: Leaf) -> list[tuple[int, ...]]:
    """The places of the axes that become one: those of layers and experts, then the sides."""
    lead = [(place,) for place in range(len(leaf.axes)) if place not in leaf.own]
    return [*lead, *(side for side in _sides(leaf) if side)]


def _sides(leaf: Leaf) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of the axes of the rows and of the columns; vectors have no columns."""
    rows, *columns = leaf.sides or ((),)
    return rows, tuple(place for side in columns for place in side)


def _folding(leaf: Leaf, p: Float[Array, "..."]) -> Fold:
    """([*layers rows columns] of an array like the parameter, the way back)."""
    groups = _folded(leaf)
    order = tuple(place for group in groups for place in group)
    back = tuple(order.index(place) for place in range(p.ndim))
    turned = tuple(p.shape[place] for place in order)
    shape = tuple(math.prod(p.shape[place] for place in group) for group in groups)
    return (
        lambda x: x.transpose(order).reshape(shape),
        lambda x: x.reshape(turned).transpose(back),
    )


def state_axes(
    path: tuple[Any, ...],
    shape: tuple[int, ...],
    axes: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...] | None:
    """The names of the axes of an array of an optimizer's state, to be placed by.

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
    stored, groups = [(place,) for place in range(len(axes[name]))], _folded(Leaf("", axes[name]))
    for sides in (stored, groups, groups[:-1], [*groups[:-2], *groups[-1:]]):
        if shape == tuple(math.prod(shapes[name][place] for place in group) for group in sides):
            return tuple(axes[name][group[0]] for group in sides)
    return None
