"""A student for distillation: some layers of a model, and all that is around them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.param import Axes, axes, bind, flatten, params, unflatten

DEPTH = "num_hidden_layers"
SLOT = re.compile(r"\.blocks\.\d+\.")


def student_of(model: Model, layers: Sequence[int]) -> Model:
    """A model of the same family with these layers of another, in their order, and its embeddings
    and head: every second layer is how DistilBERT began (Sanh et al. 2019, section 3).

        student = tj.student_of(tj.from_pretrained("teacher"), layers=(0, 2, 4))

    Args:
        layers: numbers of the model's layers, counted from 0.

    Raises:
        ValueError: layers that the model does not have, or none; a model of two towers, one with an
            adapter, or one whose layers share parameters.
    """
    check_model(model, "student_of")
    layers = tuple(layers)
    config = _with_layers(model.config, layers)
    if model.plan.adapter is not None:
        raise ValueError(
            "student_of: the model has an adapter: merge it first, with tj.merge_adapter(model)"
        )
    small = dataclasses.replace(model.plan, config=config).build()
    values, named = flatten(params(model)), flatten(axes(model))
    chosen: dict[str, Any] = {}
    for path, own in flatten(axes(small)).items():
        if own.layers is None:
            chosen[path] = values[path]
            continue
        if own.layers.shared:
            raise ValueError(
                f"student_of: layers of {config.model_type} share their parameters, so that fewer "
                "of them are as large as all: set the depth in the config instead"
            )
        taken = [_of_layer(path, layers[number], values, named) for number in own.layers.numbers]
        stacked = own[:1] == ("layers",)
        chosen[path] = jnp.stack(taken) if stacked else taken[0]
    return bind(small, jax.tree.map(jnp.asarray, unflatten(chosen)))


def _of_layer(path: str, layer: int, values: dict[str, Any], named: dict[str, Axes]) -> Array:
    """The parameter that a layer of the model has under the name of a path.

    Raises:
        ValueError: the layer is of another kind, and has none.
    """
    for other, own in named.items():
        alike = SLOT.sub(".blocks.", other) == SLOT.sub(".blocks.", path)
        if own.layers is not None and alike and layer in own.layers.numbers:
            value = values[other]
            return value[own.layers.numbers.index(layer)] if own[:1] == ("layers",) else value
    raise ValueError(
        f"student_of: layer {layer} has no {path}: it is of another kind than the layer of the "
        "student whose place it is to take; choose one of its kind"
    )


def _with_layers(config: FamilyConfig, layers: tuple[int, ...]) -> FamilyConfig:
    """The config of a model with some of the layers.

    Raises:
        ValueError: layers that there are not, or a family of two towers.
    """
    name = config.SPELLINGS.get(DEPTH, DEPTH)
    depth = getattr(config, name, None)
    if depth is None or hasattr(config, "decoder_layers") or hasattr(config, "num_decoder_layers"):
        raise ValueError(
            f"student_of takes layers of a model with one tower; {config.model_type} has others"
        )
    if not layers or any(not 0 <= layer < depth for layer in layers):
        raise ValueError(
            f"layers={layers}: expected some of the {depth} layers of the model, from 0 to "
            f"{depth - 1}"
        )
    changes: dict[str, Any] = {name: len(layers)}
    for field, value in vars(config).items():
        if isinstance(value, tuple) and len(value) == depth and field != "architectures":
            changes[field] = tuple(value[layer] for layer in layers)
    return config.replace(**changes)
