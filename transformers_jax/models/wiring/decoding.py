"""Decoding: how a network continues a text (the protocol of `models.base.Model`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from transformers_jax.models.wiring.wire import Wire, side_by_side, upstream
from transformers_jax.nn.cache import Cache, CacheSpec
from transformers_jax.nn.operation import Source


class Decoding(Model):
    """A model of towers, of which the last writes."""

    towers: Mapping[str, Tower]
    wires: tuple[Wire, ...]
    last: Tower
    source: Tower | None

    @property
    def cached(self) -> list[str]:
        """The towers of whose states a cache holds keys: the source of the last, and what that
        reads."""
        source = self.wires[-1].source
        return [] if source is None else upstream(self.wires, source)

    def states_of(self, name: str, output: Mapping[str, Any]) -> Array:
        """The states of a tower as another reads them, of its output."""
        project: Any = self.towers[name].project
        states = jnp.asarray(self.towers[name].states.of(output))
        return states if project is None else project(states)

    def as_source(
        self,
        name: str,
        output: Mapping[str, Any],
        rows: int,
        attention_mask: Any = None,
        tags: Any = None,
    ) -> Source:
        """What another tower, with so many rows, attends to: the states of a tower, and their
        nodes."""
        reader = next(tower for tower in self.towers.values() if tower.source == name)
        states = self.states_of(name, output)
        if reader.grouped is not None:
            return Source(*side_by_side(states, rows, reader.grouped))
        return Source(states, self.towers[name].nodes_of(states.shape[1], attention_mask, tags))

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
            beside=self._raw(upstream(self.wires, self.wires[-1].name)[:-1], without=self.cached),
            placeholder=own.embed.placeholder,
            tag_arguments=own.embed.marks,
            prompt=config.prompt,
            by_length=own.stack.spec.by_length,
            anew=config.anew,
        )
        if before is None:
            return reading
        return replace(
            reading,
            source=tuple(before.stack.masks("self")),
            source_written=before.stack.spec.written_tags,
            source_vocabulary=before.embed.vocabulary,
            source_positions=positions_of(before, config.side("encoder")),
            source_raw=self._raw(self.cached, without=self.texts),
            source_arguments=before.embed.tag_arguments,
            blocks=before.embed.blocks,
            source_virtual=before.in_front,
        )

    def _raw(self, names: Sequence[str], without: Sequence[str]) -> tuple[str, ...]:
        """The arguments that hold the raw input of some towers, but those of others."""
        towers = (self.towers[name] for name in names if name not in without)
        return tuple(tower.prefix + raw for tower in towers for raw in tower.embed.raw)

    @property
    def texts(self) -> list[str]:
        """The towers whose raw input is text."""
        return [name for name, tower in self.towers.items() if tower.embed.vocabulary]

    def begin(self, batch, length, source, **options):
        name = self.wires[-1].source
        if name is None:
            return self.init_cache(batch, length, **options)
        return cache_of_source(self, batch, length, source, f"{name}_outputs", **options)

    def advance(self, ids, columns, cache, **arguments):
        out = self._advanced(ids, columns, cache, **arguments)
        return out.logits, out.cache

    def advance_states(self, ids, columns, cache, **arguments):
        out = self._advanced(ids, columns, cache, output_hidden_states=True, **arguments)
        name = "decoder_hidden_states" if self.is_encoder_decoder else "hidden_states"
        return out.logits, out[name][-1], out.cache

    def _advanced(self, ids, columns, cache, **arguments):
        prefix, tags = self.last.prefix, dict(columns.tags)
        named: dict[str, Any] = {"attention_mask": columns.valid}
        if self.last.embed.counted == "columns":
            tags["position"] = columns.columns
        elif self.is_encoder_decoder:  # whose decoders have no argument for them
            tags["position"] = jnp.broadcast_to(columns.tokens, ids.shape)
        else:
            named["position_ids"] = columns.tokens
        named |= {"input_ids": ids, **({"tags": tags} if tags else {})}
        named = {prefix + name: value for name, value in named.items() if value is not None}
        return self(**named, **arguments, cache=cache)

    @by_name
    def init_cache(
        self,
        batch: int,
        length: int,
        encoder_outputs: Output | None = None,
        attention_mask: Array | None = None,
        tags: Mapping[str, Array] | None = None,
        *,
        dtype: Any = None,
        per_row: bool = False,
        spare: int = 0,
    ) -> Cache:
        """An empty cache for `length` tokens; the keys and values of a source are computed once."""
        stack, source = self.last.stack, self.wires[-1].source
        if not self.last.embed.continues:
            raise ValueError(
                f"{self.plan.config.model_type} reads no text, and keeps no cache of it"
            )
        awaited = self.last.in_front
        if per_row and awaited:
            raise ValueError(
                "a model with virtual tokens (prompt or prefix tuning) keeps no cache whose rows "
                "have lengths of their own: per_row=False"
            )
        stored = self.dtype if dtype is None else checks.cache_dtype(dtype)
        made_for = CacheSpec(length + awaited, stored, per_row, spare)
        if source is None:
            cache = stack.init_cache(batch, made_for)
            return replace(cache, awaited=awaited)
        before = self.towers[source]
        checks.encoded(encoder_outputs, before.width)
        assert encoder_outputs is not None
        shape = np.shape(encoder_outputs["last_hidden_state"])[:2]
        if shape[0] != batch and self.last.grouped is None:
            raise ValueError(f"encoder_outputs have {shape[0]} rows, but batch is {batch}")
        of_input = (batch, shape[1] - before.in_front)
        if attention_mask is not None:
            before.check_source_mask("attention_mask", attention_mask, of_input, "encoder_outputs")
        checks.tags("tags", tags, stack.masks("cross"), of_input)
        sources = {source: self.as_source(source, encoder_outputs, batch, attention_mask, tags)}
        cache = stack.init_cache(batch, made_for, sources)
        return replace(cache, awaited=awaited)


def positions_of(tower: Tower, config: FamilyConfig) -> int | None:
    """How many tokens a tower may read: those with a learned position, or as its config states;
    None: no limit."""
    learned = tower.embed.positions
    return tower.room(config.stated_positions if learned is None else learned)


def cache_of_source(
    model: Any,
    batch: int,
    length: int,
    source: Mapping[str, Any],
    outputs: str = "encoder_outputs",
    **options: Any,
) -> Any:
    """The empty cache of an encoder-decoder, of the arguments of its encoder or of its output,
    which has the name `outputs` among them."""
    inputs = dict(source)
    encoded = inputs.pop(outputs, None)
    shared = {name: inputs[name] for name in ("attention_mask", "tags") if name in inputs}
    if encoded is None:
        encoded = model.call(f"{outputs.removesuffix('_outputs')}_forward", **inputs)
    return model.init_cache(batch, length, encoder_outputs=encoded, **shared, **options)
