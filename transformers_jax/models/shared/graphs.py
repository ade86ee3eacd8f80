"""Networks over graphs, and single layers, as torch_geometric's modules: calls and configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, is_traced
from transformers_jax.graph import Listed, Mask, sequence, with_own
from transformers_jax.graph.listed import counted, ends
from transformers_jax.hub.table import Table, rows, slots
from transformers_jax.models.masks import by_stack
from transformers_jax.models.output import Output
from transformers_jax.models.torch_attention import ModuleConfig
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.embed.graphs import EDGES, FEATURES, GraphEmbedder, SelfLoops
from transformers_jax.nn.graph_attention import GraphAttentionSpec, InitialGlorot
from transformers_jax.nn.head import GraphClassification, Head, NodeScores
from transformers_jax.nn.residual import Instead
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Branch, StackSpec

HEADS = {"none": "none", "node_classification": "node_classification"}
HEADS |= {"graph_classification": "graph_classification"}
S = "stack.blocks.{slot}.attention"
OF_ONE = {"x": 3, EDGES: 3, FEATURES: 3, "edge_mask": 2, "attention_mask": 2, "labels": 2, "ptr": 2}
"""The axes of arguments with the one of graphs, which a call with a single graph leaves out."""


class GraphNetwork(Network):
    """A network over graphs, in torch_geometric's words: x Float[N D], edge_index Int[2 E] (and
    edge_attr Float[E F]) give `output`, of which heads make `logits`. With one axis more in front
    of each argument there are several graphs side by side, which `edge_mask` [B E] and
    `attention_mask` [B N] fill up.

    The weights of attention, [E H] of each layer, are of the edges `attention_edges` [2 E], among
    them those that the layers add; a single layer gives them as `attention` in every call.
    """

    layer = False

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        super().check(with_graphs(inputs), method)

    def forward(self, **arguments: Any) -> Output:
        one = np.ndim(arguments["x"]) == 2
        output = super().forward(**with_graphs(arguments))
        shown: dict[str, Any] = dict(output)
        if one:
            single = {"last_hidden_state", "output", "attention_edges", "attention"}
            single |= set() if "ptr" in self.arguments() else {"logits"}
            drop = lambda name, x: x[0] if name in single else x
            shown = {name: drop(name, x) for name, x in shown.items() if x is not None}
            for name in ("attentions", "hidden_states"):
                if name in shown:
                    shown[name] = tuple(x[0] for x in shown[name])
        return Output(**shown)

    def _run(self, name, arguments, outputs, collect, *rest):
        collect = collect | {"weights"} if self.layer else collect
        return super()._run(name, arguments, outputs, collect, *rest)

    def further_fields(self, outputs, arguments):
        own = outputs[self.wires[-1].name]
        fields = {"output": own.x}
        if own.ran.weights:
            fields |= own.fields
        if self.layer:
            fields["attention"] = of_edges(own.ran.weights[-1], own.fields["attention_edges"])
        return fields

    def __call__(self, *positional: Any, **inputs: Any) -> Output:
        """As of any model; of one graph whose arrays are at hand, the edges with weights are those
        that there are, without entries that filled the list up or were replaced."""
        output = super().__call__(*positional, **inputs)
        edges = output.get("attention_edges")
        if edges is None or np.ndim(edges) != 2 or is_traced(edges):
            return output
        there = np.asarray(edges)[0] >= 0
        shown: dict[str, Any] = dict(output)
        shown["attention_edges"] = edges[:, there]
        if "attention" in shown:
            shown["attention"] = shown["attention"][there]
        if shown.get("attentions") and shown["attentions"][0].ndim == 2:
            shown["attentions"] = tuple(weights[there] for weights in shown["attentions"])
        return Output(**shown)


def of_edges(weights: Array, listed: Array) -> Float[Array, "B E H"]:
    """The weights of the edges of a list, also where an engine gives a matrix [B H T S] of them, in
    which edges that are there several times are one."""
    if weights.ndim == 3:
        return weights
    nodes = sequence(weights.shape[-1])
    target, source = ends(nodes, nodes, listed)
    rows = jnp.arange(len(weights))[:, None]
    times = counted(nodes, nodes, listed)[rows, target, source]
    taken = jnp.moveaxis(weights, 1, -1)[rows, target, source]
    return jnp.where((target >= 0)[..., None], taken / jnp.maximum(times, 1)[..., None], 0)


class GraphLayer(GraphNetwork):
    """A single layer."""

    layer = True


def with_graphs(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with an axis of graphs, where a call has a single one without it."""
    given = dict(arguments)
    x: Any = given.get("x")
    if np.ndim(x) != 2:
        return given
    for name, axes in OF_ONE.items():
        value = given.get(name)
        if value is not None and np.ndim(value) == axes - 1:
            given[name] = value[None] if hasattr(value, "reshape") else np.asarray(value)[None]
    return given


@dataclass(frozen=True, kw_only=True)
class GraphConfig(ModuleConfig):
    """The arguments of layers over graphs, and of networks of them.

    Class attributes:
        ROWS: the rows of a layer behind its name in files.
        LAYER: what is in front of the names of a layer.
    """

    ROWS: ClassVar[str] = ""
    LAYER: ClassVar[str] = "convs.{i}."
    UNUSED = frozenset({"module"})

    in_channels: int = 1433  # of Cora, on which the papers begin
    heads: int = 1
    concat: bool = True
    act: ClassVar[str | None]
    dropout: float = 0.0
    edge_dim: int | None = None
    bias: bool = True

    def to_dict(self):
        """The arguments, and the name of the head where it is not that of the module."""
        fields = super().to_dict()
        if self.architectures and self.architectures != (self.module,):
            fields["architectures"] = list(self.architectures)
        return fields

    def architecture(self, head):
        return next(name for name, value in self.HEADS.items() if value == head)

    def head_named(self, head):
        return super().head_named(head or next(iter(self.architectures), None))

    @property
    def features(self) -> tuple[str, int] | None:
        """The name of the features of edges, and how many numbers they are."""
        return None if self.edge_dim is None else (FEATURES, self.edge_dim)

    def own_mask(self, mask: Any) -> Mask:
        """The edges of the list that a call gives, or what a caller says of them (`OWN`)."""
        listed = Listed(EDGES, None if self.features is None else FEATURES)
        return with_own(mask, listed)

    def loops(self) -> SelfLoops | None:
        """Whether, and how, nodes get edges to themselves."""
        return None

    def conv(self, mask: Mask, entering: int, channels: int, **changes: Any) -> GraphAttentionSpec:
        """A layer of heads of so many channels."""
        raise NotImplementedError

    def channels(self) -> list[tuple[int, bool]]:
        """Of each layer the channels of a head, and whether its heads are side by side."""
        raise NotImplementedError

    def layers(self, mask: Mask) -> list[GraphAttentionSpec]:
        """What each layer computes; an activation is between two of them."""
        layers, entering, sizes = list[GraphAttentionSpec](), self.in_channels, self.channels()
        for number, (channels, concat) in enumerate(sizes):
            between = number < len(sizes) - 1
            layer = self.conv(
                mask,
                entering,
                channels,
                concat=concat,
                activation=self.act if between else None,
                entering_dropout=self.dropout if number else 0.0,
            )
            layers.append(layer)
            entering = layer.leaving
        return layers

    def spec(self, mask: Any = None) -> StackSpec:
        """Layers without residual connections."""
        layers = self.layers(self.own_mask(mask))
        blocks = tuple((Branch("attention", layer, residual=Instead()),) for layer in layers)
        return StackSpec(layers[-1].leaving, blocks, initial=InitialGlorot())

    def head(self, head: str) -> Head:
        """The head of this name, which is not "none"."""
        width = self.spec().width
        if head == "node_classification":
            return NodeScores(width)
        return GraphClassification(width, self.num_labels, InitialGlorot(), self.dropout)

    def build(self, head, execution, mask=None) -> GraphNetwork:
        stack = Stack(self.spec(by_stack(mask).get("decoder")), execution)
        embed = GraphEmbedder(self.in_channels, self.edge_dim, self.loops())
        made = GraphNetwork if "{i}" in self.LAYER else GraphLayer
        return made({"stack": Tower(embed, stack)}, None if head == "none" else self.head(head))

    def rows(self) -> str:
        """The rows of a layer: their name, the parameter of ours, and the layout."""
        raise NotImplementedError

    def table(self, head) -> Table:
        single = "{i}" not in self.LAYER
        text = ""
        for line in filter(None, self.rows().splitlines()):
            theirs, ours, layout = (*(cell.strip() for cell in line.split("|")), "")[:3]
            left, _, right = (part.strip() for part in layout.partition("->"))
            if single:  # an array of layers with one layer
                right = f"1 {right or 'd'}"
                layout = f"{left or 'd'} -> {right}"
            text += f"\n{self.LAYER}{theirs} | {S}.{ours} | {layout}"
        body = slots(text, self.spec().slots)
        if head != "graph_classification":
            return Table(body, ignore=("classify.*",))
        classify = "classify.weight | head.classify.weight | e d -> d e\n"
        return Table((*body, *rows(classify + "classify.bias | head.classify.bias", group=head)))
