"""What is checked of a call before anything is compiled: each tower's arguments by its embedder,
the tags and pairs by the masks that read them, the labels by the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable

if TYPE_CHECKING:
    from transformers_jax.models.wiring.tower import Tower
from transformers_jax.models.wiring.wire import upstream
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import check_placed

Shapes = dict[str, tuple[int, ...]]
"""By the name of a tower, the shape of its tokens: [B T], or [B C T] of candidates."""


def check_call(network: Any, inputs: Mapping[str, Any], chosen: Sequence[str]) -> None:
    """Raises ValueError for arguments that these towers, or the head, cannot take, as far as they
    can be read."""
    shapes: Shapes = {}
    rank = 2 if network.head is None else network.head.rank
    towers: dict[str, Tower] = {name: network.towers[name] for name in chosen}
    every = network.towers
    for name, tower in towers.items():
        if not tower.embed.raw:
            if (shape := _latents(name, tower, inputs, shapes)) is not None:
                shapes[name] = shape
            continue
        shape = tower.embed.check(inputs, tower.prefix, rank)
        if shape is not None:
            shapes[name] = shape
            _check_virtual(tower, inputs, shape)
    sources = {tower.source for tower in every.values()}
    placed = {t.placed for t in every.values() if t.embed.placeholder is not None}
    for name, tower in towers.items():
        if tower.placed is not None and tower.embed.placeholder is not None:
            _check_placed(network, tower, inputs, shapes)
        if not tower.embed.raw:
            if network.head is not None and name == network.wires[-1].name and name in shapes:
                network.head.check(inputs, shapes[name])
            continue
        if name in placed and name not in shapes:
            continue  # a call without images
        if name not in shapes and _is_known(name, every, inputs):
            continue
        if name in sources:
            readers = [t for t in every.values() if t.source == name]
            _check_source(network, name, tower, readers, inputs, shapes)
        elif tower.source is not None:
            _check_target(network, name, tower, inputs, shapes)
        else:
            _check_single(network, name, tower, inputs, shapes)
    if network.head is not None and len(towers) == len(every):
        network.head.check_towers(inputs, shapes)


def _latents(
    name: str, tower: Tower, inputs: Mapping[str, Any], shapes: Shapes
) -> tuple[int, ...] | None:
    """The shape of tokens that no argument holds: for each row of what they attend to as many
    latents, or the states of another tower; that of their output, where a call has it."""
    if (outputs := inputs.get(f"{name}_outputs")) is not None:
        checks.encoded(outputs, tower.width)
        rows, length = np.shape(outputs["last_hidden_state"])[:2]
        return rows, length
    attended = shapes.get(str(tower.source))
    if attended is None or str(tower.placed) in shapes:
        return None if attended is None else shapes[str(tower.placed)]
    return attended[0], tower.embed.count_latents(inputs, tower.prefix)


def _is_known(name: str, every: Mapping[str, Tower], inputs: Mapping[str, Any]) -> bool:
    """Whether a call has the outputs of all that read a tower, which then need not run."""
    readers = [other for other, tower in every.items() if name in (tower.source, tower.placed)]
    return bool(readers) and all(f"{reader}_outputs" in inputs for reader in readers)


def _check_virtual(tower: Tower, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """Of a tower with virtual tokens: there is room for them, and the call says nothing that would
    have to say something about them."""
    if tower.virtual is None:
        return
    count, prefix, longest = tower.in_front, tower.prefix, tower.embed.positions
    raw = prefix + tower.embed.raw[0]
    if inputs.get("pairs"):
        raise ValueError(
            f"pairs say nothing of the {count} virtual tokens in front of every row; leave them "
            "out, or the adapter (tj.without_adapter)"
        )
    if longest is None or inputs.get("cache") is not None:
        return
    used: Any = shape[-1]
    if (ids := inputs.get(raw)) is not None and tower.embed.uncounted_id is not None:
        known = readable(ids)
        used = 0 if known is None else (known != tower.embed.uncounted_id).sum(-1).max()
    if (position_ids := inputs.get(f"{prefix}position_ids")) is not None:
        known = readable(position_ids)
        used = 0 if known is None else known.max() + 1 - tower.embed.offset
    if checks.exceeds(used + count, longest):
        raise ValueError(
            f"{raw} takes {used} positions, and the {count} virtual tokens in front of every row "
            f"{count} more, but the model has {longest}; truncate to {longest - count}"
        )


def _check_placed(network: Any, tower: Tower, inputs: Mapping[str, Any], shapes: Shapes) -> None:
    """A tower that places the states of another among its tokens: as many as have their place."""
    name, every = str(tower.placed), network.towers
    raw = [r for n in upstream(network.wires, name) for r in every[n].embed.raw]
    shape, held = shapes.get(name), tower.embed.placeholder
    if shape is not None:
        shape = (shape[0], shape[1] - every[name].states.first)
    assert held is not None  # or nothing could be placed
    check_placed(held, inputs, tower.prefix, raw[0], shape)


def _check_single(
    network: Any, name: str, tower: Tower, inputs: Mapping[str, Any], shapes: Shapes
) -> None:
    """A tower without a source, to which no other attends."""
    if name not in shapes:
        raw = [tower.prefix + argument for argument in tower.embed.raw]
        raise ValueError(f"give {' or '.join(raw)}{', one of the two' if len(raw) > 1 else ''}")
    shape, masks = shapes[name], tower.stack.masks("self")
    rows = (shape[0] * shape[1], shape[2]) if len(shape) == 3 else shape  # candidates are rows
    if "tags" in tower.embed.arguments:
        checks.tags("tags", inputs.get("tags"), masks, rows, tower.positions)
        checks.packed_documents(masks, inputs, tower.embed.offset)
    if name == network.wires[-1].name:
        if pairs := inputs.get("pairs"):
            keys = rows[1] if inputs.get("cache") is None else None
            sides = dict.fromkeys(pairs, (rows[1], keys))
            checks.pairs(pairs, masks, rows[0], sides, tower.stack.spec.features)
        checks.room(inputs.get("cache"), shape, inputs.get(f"{tower.prefix}attention_mask"))
        if network.head is not None:
            network.head.check(inputs, shape)


def _check_source(
    network: Any,
    name: str,
    tower: Tower,
    readers: list[Tower],
    inputs: Mapping[str, Any],
    shapes: Shapes,
) -> None:
    """A tower to which another attends: its tokens, or its output."""
    outputs: Any = inputs.get(f"{name}_outputs")
    cache: Any = inputs.get("cache")
    raw = tower.prefix + tower.embed.raw[0]
    if name not in shapes and outputs is None and cache is None:
        raise ValueError(f"give {raw} (or {name}_outputs, or a cache that has read them)")
    mask = f"{tower.prefix}{tower.embed.mask}"
    inputs = {n: x for n, x in inputs.items() if n not in others(network, tower)}
    if name in network.cached:
        checks.source_with_cache(cache, inputs, [a for a in tower.arguments if a != mask])
    cached = cache.sources.get(name) if isinstance(cache, Cache) else None
    if cached is not None and mask in inputs:
        shape = (jax.tree.leaves(cache.nodes)[0].shape[0], cached.length - tower.in_front)
        tower.check_source_mask(mask, inputs[mask], shape, "the source of the cache")
    if outputs is not None:
        checks.encoded(outputs, tower.width)
        rows, length = np.shape(outputs["last_hidden_state"])[:2]
        encoded = (rows, length - tower.in_front)
        checks.encoded_from(inputs, shapes.setdefault(name, encoded), encoded, raw)
        if mask in inputs:
            tower.check_source_mask(mask, inputs[mask], encoded, f"{name}_outputs")
    if name in shapes:
        masks = tower.stack.masks("self") + [m for t in readers for m in t.stack.masks("cross")]
        tags = f"{tower.prefix}tags"
        checks.tags(tags, inputs.get(tags), masks, shapes[name], tower.positions)
        checks.packed_documents(masks, inputs, tower.embed.offset, tower.prefix)


def others(network: Any, tower: Tower) -> set[str]:
    """The arguments that are not of a tower, but of another: a vision tower reads no mask."""
    names = {argument for each in network.towers.values() for argument in each.arguments}
    return names - {*tower.arguments}


def _check_target(
    network: Any, name: str, tower: Tower, inputs: Mapping[str, Any], shapes: Shapes
) -> None:
    """A tower that attends to a source: its tokens, its tags, and the labels of the head."""
    prefix, embed, source = tower.prefix, tower.embed, shapes.get(str(tower.source), ())
    raw = prefix + embed.raw[0]
    if name in shapes:
        checks.room(inputs.get("cache"), shapes[name], inputs.get(f"{prefix}attention_mask"))
    elif network.shift is None:
        raise ValueError(f"give {' or '.join(prefix + argument for argument in embed.raw)}")
    shape, like = source, "the input"
    labels = inputs.get("labels")
    predicts_ids = network.head is not None and network.head.predicts_ids
    if predicts_ids and labels is not None:
        checks.integers("labels", labels, 2)
        shape, like = np.shape(labels), "labels"
        if name not in shapes and embed.uncounted_id is None:
            checks.length("labels", shape[1], tower.positions)
    mask = f"{prefix}attention_mask"
    if name in shapes:
        shape, like = shapes[name], raw
    elif mask in inputs and shape:
        checks.mask(mask, inputs[mask], shape, like)
    if tower.grouped is not None:
        source = ()
    if shape and source and shape[0] != source[0]:
        raise ValueError(
            f"the source has {source[0]} rows and the decoder {shape[0]}; give as many"
        )
    own, cross = tower.stack.masks("self"), tower.stack.masks("cross")
    tags = f"{prefix}tags"
    checks.tags(tags, inputs.get(tags), own + cross, shape, tower.positions)
    checks.packed_documents(own + cross, inputs, embed.offset, prefix)
    queries = shape[1] if shape else None
    keys = queries if inputs.get("cache") is None else None
    features = tower.stack.spec.features
    sides = {pair: (queries, keys) for mask in own for pair in mask.pairs | features}
    sides |= {
        pair: (queries, source[1] if source else None) for mask in cross for pair in mask.pairs
    }
    checks.pairs(inputs.get("pairs"), own + cross, shape[0] if shape else None, sides, features)
    if shape and network.head is not None:
        network.head.check(inputs, shape, like)
