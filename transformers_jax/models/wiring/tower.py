"""A tower: an embedder and its stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.graph import Nodes
from transformers_jax.inputs import checks
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.wire import States, Wire
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import Embedder, Tokens, VirtualTokens, nodes_of
from transformers_jax.nn.head import Beside
from transformers_jax.nn.operation import Source
from transformers_jax.nn.stack import NO_SOURCES, Stack, StackOutput
from transformers_jax.nn.wave_convolutions import ConvolutionalAdapter

PLAIN = ("stack", "encoder")
"""The towers whose embedder is called `embed`; that of another, `text`, is `text_embed`."""


NO_ID = -1
"""Stands for the id of a virtual token."""


class Row(NamedTuple):
    """The tokens of which the vector of a row is made."""

    x: Float[Array, "B T D"]
    valid: Bool[Array, "B T"] | None
    ids: Int[Array, "B T"] | None


class TowerOutput(NamedTuple):
    """The output of a tower.

    Attributes:
        x: the stream behind its stack, of the tokens that come from the input.
        valid: where there are tokens; None if everywhere.
        pooled: the vector of a row, if there is a pooler.
        ran: what the stack collected, and its cache.
        row: the tokens of which heads make the vector of a row, where these are others than `x`.
        fields: what its embedder gives beside the tokens (`Tokens.fields`).
    """

    x: Float[Array, "B T D"]
    valid: Bool[Array, "B T"] | None
    pooled: Float[Array, "B D"] | None
    ran: StackOutput
    row: Row | None = None
    fields: Mapping[str, Array] = {}

    def record(self, router_logits: bool | None = False) -> Output:
        """As the output of a model without a head."""
        return Output(
            last_hidden_state=self.x,
            pooler_output=self.pooled,
            hidden_states=self.ran.hidden or None,
            attentions=self.ran.weights or None,
            cross_attentions=self.ran.cross_weights or None,
            router_logits=self.ran.routers or None if router_logits else None,
        )


@dataclass(frozen=True)
class Tower:
    """An embedder and its stack, and what may follow it.

    Attributes:
        source: the name of the tower to whose tokens the stack attends.
        prefix: of the names of its arguments ("decoder_").
        placed: the name of the tower whose states its embedder puts among its tokens.
        grouped: the tag that numbers the rows of the source that belong to one row here, side by
            side; None: a row of the source belongs to each row.
        states: which of its states other towers read.
        pooler: makes one vector of a row.
        project: brings its states to the width of the tower that reads them.
        virtual: tokens in front of every row, which no input holds.
        reduce: makes fewer vectors of its states, which are then its output.
    """

    embed: Embedder
    stack: Stack
    source: str | None = None
    prefix: str = ""
    placed: str | None = None
    grouped: str | None = None
    states: States = States()
    pooler: nnx.Module | None = None
    project: nnx.Module | None = None
    virtual: VirtualTokens | None = None
    reduce: ConvolutionalAdapter | None = None

    @property
    def width(self) -> int:
        """D of its output."""
        return self.stack.spec.width if self.reduce is None else self.reduce.width

    @property
    def positions(self) -> int | None:
        """How many tokens of a row have a learned position; None without a table."""
        return self.room(self.embed.positions)

    def room(self, positions: int | None) -> int | None:
        """How many of so many positions are left to the tokens of the input."""
        return positions if positions is None else positions - self.in_front

    @property
    def in_front(self) -> int:
        """How many virtual tokens stand in front of every row."""
        return 0 if self.virtual is None else self.virtual.count

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of a call that it reads."""
        return tuple(self.prefix + name for name in self.embed.arguments)

    @classmethod
    def of(cls, wire: Wire, **parts: Any) -> Tower:
        """A tower of its parts that is connected so."""
        return cls(
            source=wire.source,
            prefix=wire.prefix,
            placed=wire.placed,
            grouped=wire.grouped,
            states=wire.states,
            **parts,
        )

    def wire(self, name: str) -> Wire:
        """How it is connected under this name."""
        return Wire(name, self.source, self.prefix, self.placed, self.grouped, self.states)

    @staticmethod
    def paths(name: str) -> dict[str, str]:
        """The attributes of a network that are the parts of its tower of this name."""
        parts = ("embed", "pooler", "project", "virtual", "reduce")
        prefix = "" if name in PLAIN else f"{name}_"
        return {"stack": name, **{part: prefix + part for part in parts}}

    def own(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Its arguments among those of a call, without the prefix."""
        named = {name: arguments.get(self.prefix + name) for name in self.embed.arguments}
        return {name: value for name, value in named.items() if value is not None}

    def run(
        self,
        arguments: Mapping[str, Any],
        *,
        dtype: jnp.dtype,
        collect: frozenset[str],
        keys: tuple[Key | None, Key | None],
        pairs: Mapping[str, Array] | None = None,
        sources: Mapping[str, Source] = NO_SOURCES,
        cache: Cache | None = None,
        table: Float[Array, "V D"] | None = None,
        placed: Float[Array, "N P D"] | None = None,
    ) -> TowerOutput:
        """Embeds its arguments, with the vectors that are `placed` among them, and runs the stack
        over the tokens."""
        embed_key, stack_key = keys
        own = self.own(arguments)
        more: dict[str, Any] = {} if self.virtual is None else {"virtual": self.virtual}
        more |= {} if placed is None else {"placed": placed}
        if not self.embed.raw:  # latents: as many rows as what they attend to
            more["rows"] = sources[str(self.source)].x.shape[0]
        tokens = self.embed(own, dtype=dtype, cache=cache, key=embed_key, table=table, **more)
        x, nodes = tokens.x, tokens.nodes
        ran = self.stack(
            x,
            nodes,
            pairs={**tokens.pairs, **(pairs or {})} or None,
            sources=sources,
            condition=tokens.condition,
            prefix=None if self.virtual is None else self.virtual.keys(),
            cache=cache,
            key=stack_key,
            collect=collect,
        )
        if tokens.place is not None:
            return self._without_virtual(tokens, ran, own)
        x = tokens.of_input(ran.x)
        if ran.hidden and self.stack.spec.norm_hidden:
            ran = ran._replace(hidden=(*ran.hidden[:-1], x))
        valid = None if nodes.valid is None else tokens.of_input(nodes.valid)
        if self.reduce is not None:
            x = self.reduce(x)
            valid = self.valid(own.get("attention_mask"), x.shape[1])
        pooled = self.pooled(ran.x, own.get("input_ids"), nodes.valid)
        return TowerOutput(x, valid, pooled, ran, fields=tokens.fields)

    def _without_virtual(
        self, tokens: Tokens, ran: StackOutput, arguments: Mapping[str, Any]
    ) -> TowerOutput:
        """The output of a tower with virtual tokens, of which there is no answer; but those who
        attend to its tokens may attend to these, and the vector of a row may be made of them."""
        virtual, place = self.virtual, tokens.place
        assert virtual is not None
        assert place is not None
        ids = arguments.get("input_ids")
        x, valid = tokens.of_input(ran.x), tokens.nodes.valid
        row = Row(x, None if valid is None else tokens.of_input(valid), ids)
        if virtual.pooled:
            ids = (
                None
                if ids is None
                else place.put(ids, np.full((1, virtual.count), NO_ID, np.int32))
            )
            row = Row(ran.x, valid, ids)
        pooled = self.pooled(row.x, row.ids, row.valid)
        if virtual.shown:
            return TowerOutput(ran.x, valid, pooled, ran, row)
        hidden = tuple(tokens.of_input(states) for states in ran.hidden)
        weights = ("weights", "cross_weights")  # of the queries; the keys are all
        collected = {
            name: tuple(tokens.of_input(each, 2) for each in values) if name in weights else values
            for name, values in ran.collected.items()
        }
        ran = ran._replace(hidden=hidden, collected=collected)
        valid = None if valid is None else tokens.of_input(valid)
        return TowerOutput(x, valid, pooled, ran, row)

    def pooled(self, x: Array, ids: Any, valid: Any) -> Any:
        """The vector of each row of these tokens; None without a pooler."""
        beside = Beside(ids, valid, self.stack.norm)
        return None if self.pooler is None else self.pooler(x, beside)

    def valid(self, attention_mask: Any, length: int) -> Any:
        """Which of its `length` states are of input, by the mask of a call; None: all."""
        if self.reduce is None or attention_mask is None:
            return self.embed.valid(attention_mask, length)
        tokens = self.embed.count(np.shape(attention_mask)[1])
        lengths = self.reduce.lengths(self.embed.valid(attention_mask, tokens).sum(-1))
        return jnp.arange(length) < lengths[:, None]

    def check_source_mask(self, name: str, mask: Any, shape: tuple[int, ...], like: str) -> None:
        """Raises ValueError for a mask that does not fit states [B S], which were computed before:
        it is of the states, or of the raw input that they were computed of."""
        if not self.embed.masks_raw:
            checks.mask(name, mask, shape, like)
            return
        given = np.shape(mask)
        states = None
        if len(given) == 2:
            states = self.embed.count(given[1])
            states = states if self.reduce is None else self.reduce.steps(states)
        if states != shape[1] or given[0] != shape[0]:
            raise ValueError(
                f"{name} has shape {given}, but {like} has {tuple(shape)}; give the mask of the "
                "raw input that was encoded"
            )
        checks.mask(name, mask, given, like)

    def nodes_of(self, length: int, attention_mask: Any, tags: Any) -> Nodes:
        """The nodes of its states, as those see them who attend to them: of arguments that are of
        the tokens of the input."""
        if self.embed.masks_raw:
            attention_mask = self.valid(attention_mask, length)
        if self.virtual is not None and self.virtual.shown:
            place = self.virtual.place(attention_mask)
            tags = self.virtual.among(tags or {}, place)
            attention_mask = place.valid(attention_mask)
        return nodes_of(length, attention_mask, tags)


def have_routers(towers: Iterable[Tower]) -> bool:
    """Whether any layer has experts, and scores by which they are chosen."""
    branches = {b for tower in towers for block in tower.stack.spec.blocks for b in block}
    return any("router" in branch.op.collects for branch in branches)


def check_towers(
    towers: Mapping[str, Tower], taken: Iterable[str], output_of: str | None = None
) -> None:
    """Whether a network can be made of towers; `taken` are the names of its other attributes.

    Raises:
        ValueError: all that is wrong: no towers; an `output_of` that is none of them; a tower
            to read that is no earlier one; a source to which no branch attends; a branch that
            attends to something else; an embedder that is shared with another tower than the
            source; two towers that would read the same arguments; parts that would have one name.
    """
    if not towers:
        raise ValueError("a network has at least one tower; none came")
    wrong: list[str] = []
    if output_of is not None and output_of not in towers:
        known = ", ".join(map(repr, towers))
        wrong.append(f"output_of is {output_of!r}; the towers are {known}")
    owners = dict.fromkeys(taken, "the network")
    earlier: dict[str, Tower] = {}
    for name, tower in towers.items():
        source, attended = tower.source, tower.stack.sources
        left_out = source is None and tower.stack.spec.source_optional  # its cross-attention
        if tower.placed is not None and tower.placed not in earlier:
            known = ", ".join(map(repr, earlier)) or "none"
            wrong.append(f"{name!r} is to place {tower.placed!r}; the towers before it are {known}")
        if source is not None and source not in earlier:
            known = ", ".join(map(repr, earlier)) or "none"
            wrong.append(f"the source of {name!r} is {source!r}; the towers before it are {known}")
        elif not left_out and attended != ([] if source is None else [source]):
            branches = ", ".join(map(repr, attended)) or "only the stream"
            wrong.append(f"{name!r} has the source {source!r}, and its stack attends to {branches}")
        for other in earlier:
            if earlier[other].embed is tower.embed and other != source:
                wrong.append(f"{name!r} has the embedder of {other!r}, which is not its source")
            if both := sorted({*earlier[other].arguments} & {*tower.arguments}):
                wrong.append(
                    f"{name!r} and {other!r} would both read the argument {both[0]!r}; give one a "
                    "prefix of its own"
                )
        for part, path in Tower.paths(name).items():
            if getattr(tower, part) is None or path not in owners:
                owners.setdefault(path, f"the tower {name!r}")
            else:
                wrong.append(f"{path!r} of the tower {name!r} is a name of {owners[path]}")
        earlier[name] = tower
    if wrong:
        raise ValueError(f"these towers make no network: {'; '.join(wrong)}")
