"""Parameters of a checkpoint that a run draws anew: a head of other classes, the top layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np

from transformers_jax.arrays import Key
from transformers_jax.models.base import Model
from transformers_jax.nn.param import axes, bind, draw, flatten, params, unflatten

LABEL = "label"
"""The axis of classes."""


def of_classes(model: Model) -> set[str]:
    """The paths of the parameters of a head that has a row for each class."""
    found = flatten(axes(model)).items()
    return {path for path, each in found if path.startswith("head.") and LABEL in each}


def of_top_layers(model: Model, count: int) -> dict[str, list[int] | None]:
    """The parameters of so many layers at the top of every stack, and of the pooler: their places
    on the `layers` axis, or None for the whole.

    Raises:
        ValueError: a stack has fewer layers, or layers that share their parameters.
    """
    found: dict[str, list[int] | None] = {}
    for path, each in flatten(axes(model)).items():
        if path.split(".")[0].endswith("pooler"):
            found[path] = None
        if each.layers is None:
            continue
        if each.layers.shared:
            raise ValueError(
                "reinitialise_layers: the layers of this model share their parameters; pass "
                "--from-scratch to draw all of them"
            )
        if count > each.layers.count:
            raise ValueError(
                f"reinitialise_layers ({count}) is more than the {each.layers.count} layers of "
                f"{path.split('.')[0]}; lower it, or pass --from-scratch"
            )
        numbers = each.layers.numbers
        places = [n for n, number in enumerate(numbers) if number >= each.layers.count - count]
        if places:
            found[path] = places if each[0] == "layers" else None
    return found


def stacks_of(paths: Iterable[str]) -> list[str]:
    """The names of the stacks whose layers these are the paths of."""
    names = {path.split(".")[0] for path in paths}
    return sorted(name for name in names if not name.endswith("pooler"))


def redrawn(model: Model, parts: Mapping[str, Sequence[int] | None], key: Key) -> Model:
    """The model with these parameters drawn anew, as a new model of this key has them: each as a
    whole (None), or at some places of its `layers` axis."""
    values = flatten(params(model))
    for path, places in parts.items():
        old = values[path]
        new = draw(model, path, key, old.sharding, old.dtype)
        if places is not None:
            chosen = np.isin(np.arange(len(old)), places).reshape(-1, *[1] * (old.ndim - 1))
            new = jax.device_put(np.where(chosen, new, old), old.sharding)
        values[path] = new
    return bind(model, unflatten(values))
