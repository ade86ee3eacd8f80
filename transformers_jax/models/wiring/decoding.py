"""Decoding: how a network continues a text (the protocol of `models.base.Model`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array
from transformers_jax.inputs import checks
from transformers_jax.models.base import Model, by_name
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.output import Output
from transformers_jax.models.reading import WRITERS, Reading
from transformers_jax.models.wiring.tower import Tower
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.operation import Source


class Decoding(Model):
    """A model of towers, of which the last writes."""

    towers: Mapping[str, Tower]
    wires: tuple[tuple[str, str | None, str], ...]
    last: Tower
    source: Tower | None

    def as_source(self, name: str, states: Array) -> Array:
        """The states of a tower as another attends to them."""
        project: Any = self.towers[name].project
        return states if project is None else project(states)

    @property
    def reading(self):
        own, before, config = self.last, self.source, self.plan.config
        writes = self.plan.head in WRITERS
        reading = Reading(
            writes=writes,
            masks=tuple(own.stack.masks("self")),
            cross=tuple(own.stack.masks("cross")) if before else (),
            written=own.stack.spec.written_tags,
            layout=own.stack.spec.layout,
            vocabulary=config.target_vocab if writes else None,
            positions=positions_of(own, config.side("decoder")),
            counted=own.embed.counted,
            virtual=own.in_front,
        )
        if before is None:
            return reading
        return replace(
            reading,
            source=tuple(before.stack.masks("self")),
            source_written=before.stack.spec.written_tags,
            source_vocabulary=before.embed.vocabulary,
            source_positions=positions_of(before, config.side("encoder")),
            source_raw=() if before.embed.vocabulary else before.embed.raw,
            source_arguments=before.embed.tag_arguments,
            blocks=before.embed.blocks,
            source_virtual=before.in_front,
        )

    def begin(self, batch, length, source):
        name = self.wires[-1][1]
        if name is None:
            return self.init_cache(batch, length)
        return cache_of_source(self, batch, length, source, f"{name}_outputs")

    def advance(self, ids, columns, cache, **arguments):
        prefix, tags = self.last.prefix, dict(columns.tags)
        if self.is_encoder_decoder:
            named: dict[str, Any] = {}
        elif self.last.embed.counted == "columns":
            named, tags["position"] = {"attention_mask": columns.valid}, columns.columns
        else:
            named = {"attention_mask": columns.valid, "position_ids": columns.tokens}
        named |= {"input_ids": ids, **({"tags": tags} if tags else {})}
        named = {prefix + name: value for name, value in named.items() if value is not None}
        out = self(**named, **arguments, cache=cache)
        return out.logits, out.cache

    @by_name
    def init_cache(
        self,
        batch: int,
        length: int,
        encoder_outputs: Output | None = None,
        attention_mask: Array | None = None,
        tags: Mapping[str, Array] | None = None,
    ) -> Cache:
        """An empty cache for `length` tokens; the keys and values of a source are computed once."""
        stack, source = self.last.stack, self.wires[-1][1]
        if "input_ids" not in self.last.embed.arguments:
            raise ValueError(
                f"{self.plan.config.model_type} reads no text, and keeps no cache of it"
            )
        awaited = self.last.in_front
        if source is None:
            cache = stack.init_cache(batch, length + awaited, self.dtype)
            return replace(cache, awaited=awaited)
        before = self.towers[source]
        checks.encoded(encoder_outputs, before.stack.spec.width)
        assert encoder_outputs is not None
        states = encoder_outputs["last_hidden_state"]
        shape = np.shape(states)[:2]
        if shape[0] != batch:
            raise ValueError(f"encoder_outputs have {shape[0]} rows, but batch is {batch}")
        of_input = (batch, shape[1] - before.in_front)
        if attention_mask is not None:
            checks.mask("attention_mask", attention_mask, of_input, "encoder_outputs")
        checks.tags("tags", tags, stack.masks("cross"), of_input)
        nodes = before.nodes_of(shape[1], attention_mask, tags)
        states = self.as_source(source, jnp.asarray(states))
        sources = {source: Source(states, nodes)}
        cache = stack.init_cache(batch, length + awaited, self.dtype, sources)
        return replace(cache, awaited=awaited)


def positions_of(tower: Tower, config: FamilyConfig) -> int | None:
    """How many tokens a tower may read: those with a learned position, or as its config states;
    None: no limit."""
    learned = tower.embed.positions
    return tower.room(config.stated_positions if learned is None else learned)


def cache_of_source(
    model: Any, batch: int, length: int, source: Mapping[str, Any], outputs: str = "encoder_outputs"
) -> Any:
    """The empty cache of an encoder-decoder, of the arguments of its encoder or of its output,
    which has the name `outputs` among them."""
    inputs = dict(source)
    encoded = inputs.pop(outputs, None)
    shared = {name: inputs[name] for name in ("attention_mask", "tags") if name in inputs}
    encoded = model.encode(**inputs) if encoded is None else encoded
    return model.init_cache(batch, length, encoder_outputs=encoded, **shared)
