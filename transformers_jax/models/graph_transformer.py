"""Transformer layers over graphs (Shi et al. 2020), as torch_geometric has them, and a network of
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers_jax.graph import Mask
from transformers_jax.models.shared.graphs import HEADS, GraphConfig
from transformers_jax.models.shared.weight_rows import HEADS_OUT, dense
from transformers_jax.nn.graph_attention import GraphAttentionSpec

HEADS_BIAS = "(h k) -> h k"


@dataclass(frozen=True, kw_only=True)
class TransformerLayers(GraphConfig):
    """What TransformerConv and networks of it share."""

    beta: bool = False
    root_weight: bool = True

    def conv(self, mask: Mask, entering: int, channels: int, **changes: Any) -> GraphAttentionSpec:
        """A layer of heads of so many channels."""
        root = "gated" if self.beta else "added"
        options: dict[str, Any] = dict(concat=self.concat, root=root) | changes
        return GraphAttentionSpec(
            heads=self.heads,
            kv=channels,
            mask=mask,
            bias=("query", "key", "value") if self.bias else (),
            dropout=self.dropout,
            entering=entering,
            features=self.features,
            root_bias=self.bias,
            root_read=self.root_weight,
            **options,
        )

    def rows(self):
        bias = HEADS_BIAS if self.bias else None
        names = ("key", "query", "value")
        text = "".join(dense(f"lin_{name}", name, HEADS_OUT, bias) for name in names)
        text += dense("lin_skip", "skip", "e d -> d e", "" if self.bias else None)
        text += f"\nlin_edge.weight | edge | {HEADS_OUT}" if self.features is not None else ""
        return text + ("\nlin_beta.weight | gate | 1 (p e) -> p e" if self.beta else "")


@dataclass(frozen=True, kw_only=True)
class TransformerConvConfig(TransformerLayers):
    """The arguments of `torch_geometric.nn.TransformerConv`."""

    model_type = "torch_geometric.nn.TransformerConv"
    module = "torch_geometric.nn.TransformerConv"
    HEADS = {"torch_geometric.nn.TransformerConv": "none"}
    LAYER = ""

    out_channels: int = 8

    def channels(self):
        return [(self.out_channels, self.concat)]


@dataclass(frozen=True, kw_only=True)
class GraphTransformerConfig(TransformerLayers):
    """The graph Transformer; `convs` are TransformerConv, an activation is between two of them, and
    the heads of the last are averaged (Shi et al. 2020, section 3.1)."""

    model_type = "GraphTransformer"
    module = "GraphTransformer"
    HEADS = {"GraphTransformer": "node_classification"} | HEADS

    hidden_channels: int = 64
    num_layers: int = 2
    out_channels: int = 8
    act: str = "relu"

    def channels(self):
        count = range(self.num_layers - 1)
        between = [(self.head_width("hidden_channels", "heads"), True) for _ in count]
        return [*between, (self.out_channels, False)]
