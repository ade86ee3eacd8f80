"""Parameters of a checkpoint that a run draws anew: a head of other classes, the top layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
