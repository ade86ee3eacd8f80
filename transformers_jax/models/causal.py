"""Causal models over rows with padding in front, and the tokens to which earlier ones attend."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Int, Params
from transformers_jax.graph import (
    TEXT_POSITION,
    Mask,
    Nodes,
    attends_ahead,
    connect,
    from_first_token,
    last_keys,
)
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.masks import without
from transformers_jax.models.reading import Reading
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import nodes_of
from transformers_jax.nn.layers import is_host_array
from transformers_jax.nn.param import bind, params

DRAWN = 1024  # tokens of a row whose edges are drawn all at once


def with_text_positions(model: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(a causal model, its inputs) such that padding in front of a row does not count: not in
    positions, unless the inputs hold them, nor in masks that compare columns. Unchanged without an
    `attention_mask`."""
    mask, tags = inputs.get("attention_mask"), inputs.get("tags") or {}
    if mask is None:
        return model, inputs
    counting = with_text_position_masks(model)
    names = [] if "position_ids" in inputs or "position" in tags else ["position"]
    names += [] if counting is model else [TEXT_POSITION]
    if not names:
        return model, inputs
    indices = jnp.maximum(jnp.cumsum(mask > 0, axis=1) - 1, 0).astype(jnp.int32)
    return counting, {**inputs, "tags": {**tags, **dict.fromkeys(names, indices)}}


def reading_of(model: Any) -> Reading:
    """How a model reads its tokens; for a function in its place, the default."""
    return model.reading if isinstance(model, Model) else Reading()


def with_text_position_masks(model: Any) -> Any:
    """The model whose masks read the tag `TEXT_POSITION` in place of the columns of a row
    (`graph.from_first_token`); the model itself, if none of its masks reads them."""
    mask = model.plan.masks if reading_of(model).masks else None
    if not isinstance(mask, Mask) or (counting := from_first_token(mask)) == mask:
        return model
    config = without(model.plan.config)  # whose masks are in `counting`
    return rebuilt(model, dataclasses.replace(model.plan, config=config, mask=counting))


def as_writer(model: Any, listed: Params | None = None) -> Any:
    """The model as loops decode with it: a tree of parameters per layer (`listed`, if they are
    there already), and masks that count the tokens of a text, because prompts are moved to the
    right of their rows."""
    model = model.decoding() if listed is None else bind(model.abstract(layers="list"), listed)
    return model if model.is_encoder_decoder else with_text_position_masks(model)


def listed_views(model: Any) -> Params | None:
    """The parameters of each stacked layer as views, for a program that need not copy them then;
    None where there are none to be had."""
    known = _is_stacked(model) and all(map(is_host_array, jax.tree.leaves(params(model))))
    return params(model.decoding()) if known else None


def _is_stacked(model: Any) -> bool:
    return "plan" in vars(model) and model.execution.layers != "list"


def as_reader(model: Any) -> Any:
    """The same model as it reads prompts, in the same program: its stacked layers one after the
    other in a loop, so that they are compiled once and not each. None where they are a list."""
    if not _is_stacked(model):
        return None
    model = bind(model.abstract(unroll=False), params(model))
    return model if model.is_encoder_decoder else with_text_position_masks(model)


def writers_cache(model: Any, cache: Any) -> Any:
    """What a reader has written to a cache, as the writer reads it."""
    return cache.listed(model.last.stack.spec) if isinstance(cache, Cache) else cache


def unattended(reading: Reading, inputs: Mapping[str, Any]) -> Bool[Array, "b T"] | None:
    """Which tokens no token before them attends to, in one layer or over several: those whose
    probability is defined. None: all of them, as the masks are causal."""
    masks = [mask for mask in reading.masks if attends_ahead(mask, prefix=True)]
    if not masks:
        return None
    nodes = nodes_of(inputs["input_ids"].shape[1], inputs.get("attention_mask"), inputs.get("tags"))
    nodes = nodes if reading.layout is None else reading.layout(nodes)
    reached = [_last_keys(mask, nodes, inputs.get("pairs")) for mask in masks]
    # the last token that each attends to, and then that any up to it does
    last = jax.lax.cummax(functools.reduce(jnp.maximum, reached), axis=1)
    index = jnp.arange(nodes.length)
    return jnp.pad(last[:, :-1], ((0, 0), (1, 0)), constant_values=-1) < index


def _last_keys(mask: Mask, nodes: Nodes, pairs: Mapping[str, Any] | None) -> Int[Array, "b T"]:
    """The last token that each attends to, -1 where there is none."""
    edges = connect(mask, nodes, pairs=pairs)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(nodes))
    if nodes.length > DRAWN and not pairs and not traced:
        return jnp.asarray(last_keys(edges))
    return jnp.max(jnp.where(edges.allowed(), jnp.arange(nodes.length), -1), -1)
