"""Network: towers in their order, and a head that answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from transformers_jax.arrays import Array
from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.answer import collected, fields_of_sides, fields_of_stack
from transformers_jax.models.wiring.arguments import arguments_of
from transformers_jax.models.wiring.check import check_call
from transformers_jax.models.wiring.decoding import Decoding
from transformers_jax.models.wiring.shift import ShiftRight
from transformers_jax.models.wiring.tower import Tower, TowerOutput, check_towers, have_routers
from transformers_jax.models.wiring.wire import upstream
from transformers_jax.nn.adapted import without_adapter
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.head import Head, HeadInputs, no_head
from transformers_jax.nn.noise import split_key
from transformers_jax.nn.router_losses import BalanceLoss, RouterLosses

OWN = ("head", "shift", "routing", "output_of", "wires", "plan")
"""The attributes of a network beside those of its class and its towers."""

FROM_CONFIG = ("plan", "config", "generation_config", "reading")
"""The attributes that only a network from a config has."""


class Network(Decoding):
    """Towers in their order, and a head.

    Each tower turns its arguments into tokens and runs its stack over them, which may attend to the
    tokens of an earlier tower, its source. The head reads the last one; one that compares towers
    reads them all (`HeadInputs.towers`).

    One that is built by hand, not from a config, is called once its parameters are drawn
    (`nn.param.initialise`), and is executed as its last stack says; saving, generation and other
    layouts need a model from a config. What residuals are modulated by (`nn.residual.Modulate`) is
    an argument of a stack, and in a network given by the embedder, `Tokens.condition`.

    Args:
        towers: by name. That of a model with one tower is called "stack".
        shift: how decoder inputs are made where the caller gives none.
        routing: what the routers of experts add to the loss, where their scores are outputs.
        output_of: the tower whose words a tied output shares; the last by default.

    Raises:
        ValueError: towers that cannot be wired (`check_towers`).
    """

    def __init__(
        self,
        towers: Mapping[str, Tower],
        head: Head | None = None,
        *,
        shift: ShiftRight | None = None,
        routing: RouterLosses | BalanceLoss | None = None,
        output_of: str | None = None,
    ):
        check_towers(towers, taken=(*dir(type(self)), *OWN), output_of=output_of)
        self.wires = tuple(tower.wire(name) for name, tower in towers.items())
        embedders: list[Any] = []
        for name, tower in towers.items():
            for part, path in Tower.paths(name).items():
                module = getattr(tower, part)
                shared = part == "embed" and any(module is other for other in embedders)
                setattr(self, path, None if shared else module)
            embedders.append(tower.embed)
        self.head, self.shift = head, shift
        # A family of experts may be configured without any: then there is nothing to balance.
        self.routing = routing if have_routers(towers.values()) else None
        self.output_of = output_of or self.wires[-1].name

    if not TYPE_CHECKING:  # to which every attribute would be known

        def __getattr__(self, name: str) -> Any:
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in FROM_CONFIG:
                text += (
                    ": it was not built from a config; a model that saves, generates and changes "
                    "its layout is made by tj.from_config or tj.from_pretrained"
                )
            raise AttributeError(text)

    @property
    def execution(self):
        return self.plan.execution if "plan" in vars(self) else self.last.stack.execution

    # ------------------------------------------------------------ the towers

    @property
    def towers(self) -> dict[str, Tower]:  # type: ignore[override]
        """The towers by name, in their order. A tower without an embedder of its own uses its
        source's."""
        towers: dict[str, Tower] = {}
        for wire in self.wires:
            parts = {part: getattr(self, path) for part, path in Tower.paths(wire.name).items()}
            if parts["embed"] is None and wire.source is not None:
                parts["embed"] = towers[wire.source].embed
            towers[wire.name] = Tower.of(wire, **parts)
        return towers

    @property
    def last(self) -> Tower:  # type: ignore[override]
        """The tower that the head reads."""
        return self.towers[self.wires[-1].name]

    @property
    def source(self) -> Tower | None:  # type: ignore[override]
        """The tower to whose tokens the last one attends; None where it has no such."""
        name = self.wires[-1].source
        return None if name is None else self.towers[name]

    @property
    def is_encoder_decoder(self) -> bool:  # type: ignore[override]
        """Whether the last tower attends to the tokens of another, and writes a text of its own,
        whose arguments have names of their own ("decoder_input_ids")."""
        return self.wires[-1].source is not None and bool(self.wires[-1].prefix)

    @property
    def positions(self) -> int | None:  # type: ignore[override]
        """How many tokens of the last tower have a learned position; None without a table."""
        return self.last.positions

    def token_table(self, name: str) -> Array | None:
        """The token embeddings [V D] that a tower reads; None where it reads no ids."""
        table = self._token_table(name)
        return None if table is None else table[...]

    def _token_table(self, name: str) -> Any:
        """The parameter with these token embeddings, which has a shape also without an array."""
        tower = self.towers[name]
        table = getattr(tower.embed, "table", None)
        return self._token_table(tower.source) if table is None and tower.source else table

    @property
    def output_table(self) -> Array | None:
        """The token embeddings as a tied output embedding: without an adapter of theirs."""
        table = without_adapter(self._token_table(self.output_of))
        return None if table is None else table[...]

    @property
    def output_words(self):
        return self._token_table(self.output_of)

    @property
    def has_separate_towers(self) -> bool:  # type: ignore[override]
        """Whether there are several towers, of which none reads another."""
        return len(self.wires) > 1 and not any(wire.reads for wire in self.wires)

    def applied_to(self):
        sources, applied = {wire.source for wire in self.wires}, super().applied_to()
        for name in self.towers:
            parts = dict.fromkeys(
                Tower.paths(name).values(), "source" if name in sources else "target"
            )
            parts[Tower.paths(name)["pooler"]] = "row"
            applied |= {path: parts[path] for path in parts if path in applied}
            applied.pop(Tower.paths(name)["virtual"], None)
        return applied

    # ------------------------------------------------------------ arguments

    def arguments(self, method="forward"):
        """The keyword arguments of a call, or of one tower ("encoder_forward"), in their order."""
        chosen = [self.towers[name] for name in self._chosen(method)]
        return arguments_of(chosen, self.head, whole=method == "forward")

    def _chosen(self, method: str) -> list[str]:
        """The names of the towers that a method runs: one with those that it reads
        ("encoder_forward"), or all."""
        names, name = [wire.name for wire in self.wires], method.removesuffix("_forward")
        return upstream(self.wires, name) if name in names else names

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        check_call(self, inputs, self._chosen(method))

    # ------------------------------------------------------------ the computation

    @by_name
    def forward(
        self,
        *,
        key=None,
        pairs=None,
        cache=None,
        output_hidden_states=False,
        output_attentions=False,
        output_router_logits=None,
        **arguments,
    ) -> Output:
        """`tags` (and `attention_mask`) are of the first tower's tokens, `decoder_tags` of the
        decoder's; masks of cross-attention compare the two."""
        towers = self.towers
        labels = {n: arguments.pop(n, None) for n in getattr(self.head, "labels", ())}
        arguments = self._prepared(arguments, labels)
        collect = collected(output_hidden_states, output_attentions)
        collect |= frozenset() if self.head is None else self.head.collects
        keys = split_key(key, len(towers)) if len(towers) > 1 else [key]
        outputs: dict[str, Any] = {}
        read = {name for wire in self.wires for name in wire.reads}
        for name, tower_key in zip(towers, keys):
            last = name == self.wires[-1].name
            embed_key, stack_key, head_key = split_key(tower_key, 3)
            if (encoded := arguments.get(f"{name}_outputs")) is not None:
                outputs[name] = dict(encoded)
            elif last or self._has_input(name, arguments, outputs, cache):
                ran = self._run(
                    name, arguments, outputs, collect, (embed_key, stack_key),
                    pairs if last else None, cache if last else None,
                )  # fmt: skip
                outputs[name] = dict(ran.record(output_router_logits)) if name in read else ran
        show = dict(hidden=output_hidden_states, routers=output_router_logits)
        return self._answer_of(outputs, arguments, labels, head_key, **show)

    def _prepared(
        self, arguments: Mapping[str, Any], labels: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The arguments as the embedders read them."""
        if self.head is not None:
            arguments = self.head.prepare({**arguments, **labels})
        if self.shift is None:
            return arguments
        predicts_ids = self.head is not None and self.head.predicts_ids
        return self.shift(arguments, labels.get("labels") if predicts_ids else None)

    def _has_input(
        self,
        name: str,
        arguments: Mapping[str, Any],
        outputs: Mapping[str, Any],
        cache: Cache | None,
    ) -> bool:
        """Whether a call has something for a tower that others read: images are not in every
        call."""
        if cache is not None and name in self.cached:
            return False
        tower = self.towers[name]
        if not tower.embed.raw:
            return tower.source in outputs
        raw = [arguments.get(tower.prefix + argument) for argument in tower.embed.raw]
        return self.has_separate_towers or any(value is not None for value in raw)

    def _run(
        self,
        name: str,
        arguments: Mapping[str, Any],
        outputs: Mapping[str, Any],
        collect: frozenset[str],
        keys: tuple[Array | None, Array | None],
        pairs: Mapping[str, Array] | None = None,
        cache: Cache | None = None,
    ) -> TowerOutput:
        """A tower over its arguments, and over the output of its source."""
        tower, sources, placed = self.towers[name], {}, None
        own = tower.own(arguments)
        if tower.source is not None and tower.source in outputs:
            before = self.towers[tower.source]
            given = before.own(arguments)
            rows = next((np.shape(own[raw])[0] for raw in tower.embed.raw if raw in own), 0)
            mask_and_tags = given.get(before.embed.mask), given.get("tags")
            states = outputs[tower.source]
            sources[tower.source] = self.as_source(tower.source, states, rows, *mask_and_tags)
        if tower.placed is not None and tower.placed in outputs:
            placed = self.states_of(tower.placed, outputs[tower.placed])
        if tower.states.layers is not None:
            collect = collect | {"hidden"}
        return tower.run(
            arguments,
            dtype=self.dtype,
            collect=collect,
            keys=keys,
            pairs=pairs,
            sources=sources,
            cache=cache,
            table=self.token_table(name),
            placed=placed,
        )

    def _answer_of(
        self,
        outputs: Mapping[str, Any],
        arguments: Mapping[str, Any],
        labels: Mapping[str, Any],
        key: Array | None,
        hidden: bool,
        routers: bool | None,
    ) -> Output:
        """The fields of the head, and those of the towers that a call asks for."""
        own: TowerOutput = outputs[self.wires[-1].name]
        inputs = HeadInputs(
            arguments, self.output_table, own.pooled, key, own.valid,
            targets=self.shift is not None and self.shift.aligned, towers=outputs, row=own.row,
            fields=own.fields, hidden=own.ran.hidden, norm=self.last.stack.norm,
        )  # fmt: skip
        head: Any = no_head if self.head is None else self.head
        fields: dict[str, Any] = dict(head(own.x, inputs, **labels))
        own = own if hidden else own._replace(ran=own.ran._replace(hidden=()))
        if self.has_separate_towers:  # the head has answered for each
            return Output(**fields)
        routing = fields.get("loss_terms"), self.routing, routers
        if self.is_encoder_decoder:
            fields |= fields_of_sides(self.wires[-1], own, outputs, *routing)
        else:
            fields |= fields_of_stack(own, *routing)
        return Output(**{**fields, **self.further_fields(outputs, arguments)})

    def further_fields(
        self, outputs: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What else is answered, of the outputs of the towers: a hook of networks."""
        return {}

    # ------------------------------------------------------------ one tower

    def tower_output(self, name: str, *, key=None, **arguments: Any) -> Output:
        """The output of one tower, without a head."""
        flags = [arguments.pop(f"output_{n}", False) for n in ("hidden_states", "attentions")]
        routers, collect = arguments.pop("output_router_logits", False), collected(*flags)
        needed = upstream(self.wires, name)
        outputs: dict[str, Any] = {}
        keys = split_key(key, len(needed)) if len(needed) > 1 else [key]
        for each, own_key in zip(needed, keys):
            embed_key, stack_key, _ = split_key(own_key, 3)
            if each == name or self._has_input(each, arguments, outputs, None):
                ran = self._run(each, arguments, outputs, collect, (embed_key, stack_key))
                outputs[each] = ran.record(routers)
        return outputs[name]

    @by_name
    def encoder_forward(self, **arguments: Any) -> Output:
        """The encoder by itself."""
        return self.tower_output("encoder", **arguments)

    def encode(self, input_ids=None, **inputs: Any) -> Any:
        """The encoder by itself, of its arguments: `last_hidden_state` and the collected fields. A
        model of one tower encodes texts (`transformers_jax.encode`)."""
        if not self.is_encoder_decoder:
            return super().encode(input_ids, **inputs)
        source = self.source
        assert source is not None  # of an encoder-decoder
        raw = {} if input_ids is None else {source.embed.raw[0]: input_ids}
        return self.call("encoder_forward", **raw, **inputs)
