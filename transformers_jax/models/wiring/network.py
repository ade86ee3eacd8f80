"""Network: towers in their order, and a head that answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from transformers_jax.arrays import Array
from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.check import check_call
from transformers_jax.models.wiring.decoding import Decoding
from transformers_jax.models.wiring.shift import ShiftRight
from transformers_jax.models.wiring.tower import Tower, TowerOutput, check_towers
from transformers_jax.nn.adapted import without_adapter
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.head import Head, HeadInputs, no_head
from transformers_jax.nn.noise import split_key
from transformers_jax.nn.operation import Source
from transformers_jax.nn.router_losses import RouterLosses

POSITIONAL = (
    *("attention_mask", "decoder_input_ids", "decoder_attention_mask", "encoder_outputs"),
    *("token_type_ids", "position_ids", "inputs_embeds", "decoder_inputs_embeds"),
    *("key", "tags", "decoder_tags", "pairs", "cache"),
    *("output_hidden_states", "output_attentions"),
)
"""The order of arguments without a name, behind the raw input; others come behind these."""

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
    layouts need a model from a config. The condition of `nn.residual.Modulate` is an argument of a
    stack, and none of a network: a stack whose branches are modulated is called by itself.

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
        routing: RouterLosses | None = None,
        output_of: str | None = None,
    ):
        check_towers(towers, taken=(*dir(type(self)), *OWN), output_of=output_of)
        self.wires = tuple((name, tower.source, tower.prefix) for name, tower in towers.items())
        embedders: list[Any] = []
        for name, tower in towers.items():
            for part, path in Tower.paths(name).items():
                module = getattr(tower, part)
                shared = part == "embed" and any(module is other for other in embedders)
                setattr(self, path, None if shared else module)
            embedders.append(tower.embed)
        self.head, self.shift = head, shift
        # A family of experts may be configured without any: then there is nothing to balance.
        self.routing = routing if _have_routers(towers.values()) else None
        self.output_of = output_of or self.wires[-1][0]

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
        for name, source, prefix in self.wires:
            parts = {part: getattr(self, path) for part, path in Tower.paths(name).items()}
            if parts["embed"] is None and source is not None:
                parts["embed"] = towers[source].embed
            towers[name] = Tower(source=source, prefix=prefix, **parts)
        return towers

    @property
    def last(self) -> Tower:  # type: ignore[override]
        """The tower that the head reads."""
        return self.towers[self.wires[-1][0]]

    @property
    def source(self) -> Tower | None:  # type: ignore[override]
        """The tower to whose tokens the last one attends; None where it has no such."""
        name = self.wires[-1][1]
        return None if name is None else self.towers[name]

    @property
    def is_encoder_decoder(self) -> bool:  # type: ignore[override]
        """Whether the last tower attends to the tokens of another."""
        return self.wires[-1][1] is not None

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
        """Whether there are several towers, of which none attends to another."""
        return len(self.wires) > 1 and not self.is_encoder_decoder

    def applied_to(self):
        sources, applied = {source for _, source, _ in self.wires}, super().applied_to()
        for name, *_ in self.wires:
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
        names = ["key", *(name for tower in chosen for name in tower.arguments)]
        if method == "forward":
            sources = {tower.source for tower in chosen if tower.source is not None}
            names += ["pairs", "cache", *(f"{source}_outputs" for source in sources)]
            names += () if self.head is None else self.head.labels
        names += ["output_hidden_states", "output_attentions"]
        names += ["output_router_logits"] if _have_routers(chosen) else []
        raw = [tower.prefix + tower.embed.raw[0] for tower in chosen if tower.source is None]
        first = [*raw, *(name for name in POSITIONAL if name in names)]
        return tuple(dict.fromkeys((*first, *names)))

    def _chosen(self, method: str) -> list[str]:
        """The names of the towers that a method runs: one ("encoder_forward"), or all."""
        names, name = [name for name, *_ in self.wires], method.removesuffix("_forward")
        return [name] if name in names else names

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
        output_router_logits=False,
        **arguments,
    ) -> Output:
        """`tags` (and `attention_mask`) are of the first tower's tokens, `decoder_tags` of the
        decoder's; masks of cross-attention compare the two."""
        towers = self.towers
        labels = {
            n: arguments.pop(n, None) for n in (() if self.head is None else self.head.labels)
        }
        arguments = self._prepared(arguments, labels)
        collect = collected(output_hidden_states, output_attentions)
        keys = split_key(key, len(towers)) if len(towers) > 1 else [key]
        outputs: dict[str, Any] = {}
        for name, tower_key in zip(towers, keys):
            last = name == self.wires[-1][0]
            embed_key, stack_key, head_key = split_key(tower_key, 3)
            if (encoded := arguments.get(f"{name}_outputs")) is not None:
                outputs[name] = dict(encoded)
            elif last or cache is None:
                ran = self._run(
                    name, arguments, outputs, collect, (embed_key, stack_key),
                    pairs if last else None, cache if last else None,
                )  # fmt: skip
                outputs[name] = (
                    ran
                    if last or not self.is_encoder_decoder
                    else dict(ran.record(output_router_logits))
                )
        return self._answer_of(outputs, arguments, labels, head_key, output_router_logits)

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
        tower, sources = self.towers[name], {}
        if tower.source is not None and tower.source in outputs:
            source = outputs[tower.source]["last_hidden_state"]
            before = self.towers[tower.source]
            own = before.own(arguments)
            nodes = before.nodes_of(source.shape[1], own.get("attention_mask"), own.get("tags"))
            sources[tower.source] = Source(self.as_source(tower.source, source), nodes)
        return tower.run(
            arguments,
            dtype=self.dtype,
            collect=collect,
            keys=keys,
            pairs=pairs,
            sources=sources,
            cache=cache,
            table=self.token_table(name),
        )

    def _answer_of(
        self,
        outputs: Mapping[str, Any],
        arguments: Mapping[str, Any],
        labels: Mapping[str, Any],
        key: Array | None,
        routers: bool,
    ) -> Output:
        """The fields of the head, and those of the towers."""
        name, source, _ = self.wires[-1]
        own: TowerOutput = outputs[name]
        inputs = HeadInputs(
            arguments, self.output_table, own.pooled, key, own.valid,
            targets=self.shift is not None, towers=outputs, row=own.row,
        )  # fmt: skip
        head: Any = no_head if self.head is None else self.head
        fields: dict[str, Any] = dict(head(own.x, inputs, **labels))
        ran = own.ran
        if source is None and len(outputs) > 1:  # the head has answered for each
            return Output(**fields)
        if source is None:
            return Output(
                **fields,
                cache=ran.cache,
                hidden_states=ran.hidden or None,
                attentions=ran.weights or None,
                router_logits=ran.routers or None if routers else None,
            )
        before = outputs.get(source, {})
        scores = {source: before.get("router_logits", ()), name: ran.routers}
        if routers and self.routing is not None:
            fields |= self.routing.fields(scores, len(own.x), fields.get("loss_terms"))
        fields["cache"] = ran.cache
        fields[f"{name}_hidden_states"] = ran.hidden or None
        fields[f"{name}_attentions"] = ran.weights or None
        fields["cross_attentions"] = ran.cross_weights or None
        for field in ("last_hidden_state", "hidden_states", "attentions"):
            fields[f"{source}_{field}"] = before.get(field)
        fields |= {f"{n}_router_logits": x or None for n, x in scores.items() if routers}
        return Output(**fields)

    # ------------------------------------------------------------ one tower

    def tower_output(self, name: str, *, key=None, **arguments: Any) -> Output:
        """The output of one tower, without a head."""
        flags = [arguments.pop(f"output_{n}", False) for n in ("hidden_states", "attentions")]
        routers = arguments.pop("output_router_logits", False)
        embed_key, stack_key, _ = split_key(key, 3)
        ran = self._run(name, arguments, {}, collected(*flags), (embed_key, stack_key))
        return ran.record(routers)

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


def collected(output_hidden_states: bool, output_attentions: bool) -> frozenset[str]:
    """What a stack collects of every layer."""
    fields = (("hidden", output_hidden_states), ("weights", output_attentions))
    return frozenset(name for name, collect in fields if collect)


def _have_routers(towers: Iterable[Tower]) -> bool:
    """Whether any layer has experts, and scores by which they are chosen."""
    branches = {b for tower in towers for block in tower.stack.spec.blocks for b in block}
    return any("router" in branch.op.collects for branch in branches)
