"""Graph attention networks (Velickovic et al. 2017, Brody et al. 2021), as torch_geometric has
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from transformers_jax.graph import Mask
from transformers_jax.models.shared.graphs import HEADS, GraphConfig
from transformers_jax.models.shared.weight_rows import HEADS_OUT
from transformers_jax.nn.embed.graphs import SelfLoops
from transformers_jax.nn.graph_attention import GatSpec

VECTOR = "1 h k -> h k"


@dataclass(frozen=True, kw_only=True)
class GatLayers(GraphConfig):
    """What GATConv, GATv2Conv and networks of them share."""

    FIXED: ClassVar[dict[str, Any]] = {"share_weights": False}

    negative_slope: float = 0.2
    add_self_loops: bool = True
    fill_value: float | str = "mean"
    residual: bool = False

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.fill_value, str) and self.fill_value != "mean":
            raise ValueError(
                f"{type(self).__name__}: fill_value={self.fill_value!r}: expected a number, or "
                "'mean' for the mean of the features of the edges that lead to a node"
            )

    @property
    def dynamic(self) -> bool:
        """Whether layers are GATv2Conv."""
        return False

    def loops(self):
        return SelfLoops(self.fill_value) if self.add_self_loops else None

    def conv(self, mask: Mask, entering: int, channels: int, **changes: Any) -> GatSpec:
        """A layer of heads of so many channels."""
        biased = ("query", "key", "out") if self.dynamic else ("out",)
        options = dict(concat=self.concat, root="added" if self.residual else "none") | changes
        return GatSpec(
            heads=self.heads,
            kv=channels,
            mask=mask,
            bias=biased if self.bias else (),
            dropout=self.dropout,
            entering=entering,
            features=self.features,
            leak=self.negative_slope,
            dynamic=self.dynamic,
            **options,
        )

    def rows(self):
        if self.dynamic:
            text = f"lin_l.weight | key | {HEADS_OUT}\nlin_r.weight | query | {HEADS_OUT}"
            text += f"\natt | vector | {VECTOR}"
            if self.bias:
                text += (
                    "\nlin_l.bias | key_bias | (h k) -> h k\nlin_r.bias | query_bias | (h k) -> h k"
                )
        else:
            text = f"lin.weight | value | {HEADS_OUT}"
            text += f"\natt_src | source_end | {VECTOR}\natt_dst | target | {VECTOR}"
        if self.features is not None:
            text += f"\nlin_edge.weight | edge | {HEADS_OUT}"
            text += "" if self.dynamic else f"\natt_edge | edge_end | {VECTOR}"
        text += "\nres.weight | skip | e d -> d e" if self.residual else ""
        return text + ("\nbias | out_bias" if self.bias else "")


@dataclass(frozen=True, kw_only=True)
class GatConvConfig(GatLayers):
    """The arguments of `torch_geometric.nn.GATConv`."""

    model_type = "torch_geometric.nn.GATConv"
    module = "torch_geometric.nn.GATConv"
    HEADS = {"torch_geometric.nn.GATConv": "none"}
    LAYER = ""

    out_channels: int = 8

    def channels(self):
        return [(self.out_channels, self.concat)]


@dataclass(frozen=True, kw_only=True)
class GatV2ConvConfig(GatConvConfig):
    """The arguments of `torch_geometric.nn.GATv2Conv`."""

    model_type = "torch_geometric.nn.GATv2Conv"
    module = "torch_geometric.nn.GATv2Conv"
    HEADS = {"torch_geometric.nn.GATv2Conv": "none"}
    dynamic: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class GatConfig(GatLayers):
    """The arguments of `torch_geometric.nn.GAT`.

    Its layers are GATConv, or GATv2Conv (`v2`)."""

    model_type = "torch_geometric.nn.GAT"
    module = "torch_geometric.nn.GAT"
    HEADS = {"torch_geometric.nn.GAT": "node_classification"} | HEADS
    FIXED = {
        **GatLayers.FIXED,
        **dict.fromkeys(("norm", "norm_kwargs", "jk", "act_kwargs"), None),
    }
    UNUSED = frozenset({"module", "act_first"})  # of norms, of which there are none

    hidden_channels: int = 64
    num_layers: int = 2
    out_channels: int | None = None
    act: str | None = "relu"
    v2: bool = False

    @property
    def dynamic(self):
        return self.v2

    def channels(self):
        sizes = [self.hidden_channels] * self.num_layers
        last = self.num_layers - 1
        sizes[last] = self.out_channels or self.hidden_channels
        made = []
        for number, channels in enumerate(sizes):
            concat = self.concat and not (number == last and self.out_channels is not None)
            if concat and channels % self.heads:
                raise ValueError(
                    f"{type(self).__name__}: layer {number} has {channels} channels, which "
                    f"{self.heads} heads cannot share; give a multiple of heads"
                )
            made.append((channels // self.heads if concat else channels, concat))
        return made
