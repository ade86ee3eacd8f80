"""Perceiver and Perceiver IO (Jaegle et al. 2021a, 2021b): a few latents attend to an input of any
kind and length, and queries attend to the latents. Hugging Face model_type "perceiver"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from transformers_jax.graph import FULL, Mask, with_own
from transformers_jax.hub.table import Table
from transformers_jax.models.base import by_name
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.output import Output
from transformers_jax.models.perceiver_io import (
    CONV,
    FLOW,
    FOURIER,
    PIXELS,
    VIDEO,
    head_of,
    inputs_of,
    learned,
    queries_of,
)
from transformers_jax.models.perceiver_rows import PREFIX, table_rows
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.normed_source import NormedSourceSpec
from transformers_jax.nn.residual import Instead
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Block, Branch, Initial, LayerNorm, StackSpec

POINTS = ("audio_points", "image_points")
NORM = LayerNorm(1e-5)  # whatever `layer_norm_eps` says, as in the reference


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig(FamilyConfig):
    """The fields of a Perceiver config.json; defaults are those of the class in Hugging Face, for
    words (269M). Every block applies the same `num_self_attends_per_block` layers."""

    model_type = "perceiver"
    PREFIX = PREFIX
    UNUSED = frozenset({"layer_norm_eps", "tie_word_embeddings"})
    HEADS = heads_of("Perceiver", "none", "masked_lm", "sequence_classification") | {
        "PerceiverForImageClassificationLearned": "image_classification",
        "PerceiverForImageClassificationFourier": FOURIER,
        "PerceiverForImageClassificationConvProcessing": CONV,
        "PerceiverForOpticalFlow": FLOW,
        "PerceiverForMultimodalAutoencoding": VIDEO,
        "PerceiverForImageAutoencoding": PIXELS,
    }
    tie_word_embeddings: ClassVar[bool] = True  # type: ignore[misc]

    num_latents: int = 256
    d_latents: int = 1280
    d_model: int = 768
    num_blocks: int = 1
    num_self_attends_per_block: int = 26
    num_self_attention_heads: int = 8
    num_cross_attention_heads: int = 8
    qk_channels: int | None = None
    v_channels: int | None = None
    cross_attention_shape_for_attention: Literal["kv", "q"] = "kv"
    self_attention_widening_factor: int = 1
    cross_attention_widening_factor: int = 1
    hidden_act: str = "gelu"
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    use_query_residual: bool = True
    vocab_size: int = 262
    max_position_embeddings: int = 2048
    image_size: int = 56
    train_size: tuple[int, ...] = (368, 496)
    num_frames: int = 16
    audio_samples_per_frame: int = 1920
    samples_per_patch: int = 16
    output_shape: tuple[int, ...] = (1, 16, 224, 224)
    output_num_channels: int = 512
    _label_trainable_num_channels: int = 1024

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        for field, count in (("train_size", 2), ("output_shape", 4)):
            if len(getattr(self, field)) != count:
                raise ValueError(f"{name}: {field} is {getattr(self, field)}; give {count} numbers")
        for field in ("num_self_attention_heads", "num_cross_attention_heads"):
            self.head_width("d_latents", field)
        made = self.v_channels or self.qk_channels or self.d_latents
        if self.num_self_attends_per_block and made != self.d_latents:
            said = (
                "v_channels" if self.v_channels else "qk_channels, which v_channels is by itself,"
            )
            raise ValueError(
                f"{name}: {said} ({made}) must be d_latents ({self.d_latents}): what "
                f"self-attention makes is added to latents; give v_channels={self.d_latents}"
            )

    def head_named(self, head):
        """Without more, classes of images are those of the class that `architectures` names."""
        own = self.HEADS.get((*self.architectures, "")[0], "")
        if head == "image_classification" and own in (FOURIER, CONV):
            return own
        return super().head_named(head)

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    @property
    def initial(self) -> Initial:
        """normal(initializer_range) everywhere (the released code)."""
        return Initial(self.initializer_range)

    @property
    def label_channels(self) -> int:
        """The width of the query for the label of a video."""
        return self._label_trainable_num_channels

    def cross(
        self,
        source: str,
        widths: tuple[int, int],
        count: int,
        channels: tuple[int | None, int | None],
        widening: int = 1,
        adds: bool = False,
    ) -> Block:
        """Attention of a stream of one width to a source of another, and an MLP."""
        own, other = widths
        kv = channels[0] or (own if self.cross_attention_shape_for_attention == "q" else other)
        attend = NormedSourceSpec(
            count,
            self.of_a_head("qk_channels", kv, count),
            value=self.of_a_head("v_channels", channels[1] or kv, count),
            source=other,
            mask=FULL,
            bias=BIASES,
            dropout=self.attention_probs_dropout_prob,
            source_norm=NORM,
        )
        residual = None if adds else Instead()
        compute = FeedForwardSpec(widening * own, self.hidden_act)
        return (
            Branch("cross", attend, NORM, source=source, residual=residual),
            Branch("ffn", compute, NORM),
        )

    def of_a_head(self, name: str, channels: int, count: int) -> int:
        """The width of one of so many heads.

        Raises:
            ValueError: they do not divide the channels.
        """
        if channels % count:
            raise ValueError(
                f"{type(self).__name__}: {count} heads must divide the {channels} channels of "
                f"{name}, which are by default those of the input ('kv') or of the latents ('q': "
                "cross_attention_shape_for_attention); give qk_channels= and v_channels="
            )
        return channels // count

    def spec(self, inputs: int, mask: Mask | None = None) -> StackSpec:
        """Latents that attend to an input of this width, and then to themselves."""
        width, count = self.d_latents, self.num_self_attention_heads
        channels = self.qk_channels, self.v_channels
        crossing = self.cross(
            "inputs",
            (width, inputs),
            self.num_cross_attention_heads,
            channels,
            self.cross_attention_widening_factor,
            self.use_query_residual,
        )
        attend = AttentionSpec(
            count,
            self.of_a_head("qk_channels", self.qk_channels or width, count),
            value=width // count,
            mask=with_own(mask, FULL),
            bias=BIASES,
            dropout=self.attention_probs_dropout_prob,
        )
        compute = FeedForwardSpec(self.self_attention_widening_factor * width, self.hidden_act)
        one = Branch("self", attend, NORM), Branch("ffn", compute, NORM)
        layers = self.num_self_attends_per_block
        blocks, again = (crossing, *(one,) * layers), tuple(range(1, layers + 1)) * self.num_blocks
        order = (0, *again) if self.num_blocks > 1 and layers else ()
        return StackSpec(width, blocks, order=order, initial=self.initial)

    def build(self, head, execution, mask=None) -> Perceiver:
        embed, width = inputs_of(self, head)
        latents = Stack(self.spec(width, by_stack(mask).get("decoder")), execution)
        embed_latents = learned(self, self.num_latents, self.d_latents)
        towers = {
            "inputs": Tower(embed, Stack(StackSpec(width, ()), execution)),
            "latents": Tower(embed_latents, latents, source="inputs"),
        }
        if head == "none":
            return Perceiver(towers)
        asks = queries_of(self, head, width)
        block = self.cross(
            "latents", (asks.width, self.d_latents), asks.heads, asks.channels, adds=asks.adds
        )
        stack = Stack(StackSpec(asks.width, (block,), initial=self.initial), execution)
        towers["queries"] = Tower(asks.embed, stack, source="latents", placed=asks.placed)
        return Perceiver(towers, head_of(self, head, asks.width))

    def table(self, head) -> Table:
        rows = table_rows(head, self.num_self_attends_per_block)
        return Table(rows, prefix=self.PREFIX)


class Perceiver(Network):
    """A tower "inputs" without layers, "latents" that attend to it, and "queries" that attend to
    those, unless there is no head. Hidden states are those of the latents."""

    @property
    def positions(self):  # type: ignore[override]
        return self.towers["inputs"].positions

    @property
    def reading(self):
        return replace(super().reading, positions=self.positions)

    def call(self, method, **inputs):
        """A call may give its raw input as `inputs`, whatever it is, and the points that a video is
        asked for as `subsampled_output_points`, as in Hugging Face."""
        raw = self.towers["inputs"].embed.raw
        for name, given in (("inputs", raw), ("subsampled_output_points", POINTS)):
            if name in given or (value := inputs.pop(name, None)) is None:
                continue
            if not isinstance(value, Mapping):
                value = {given[0]: value}
            elif name != "inputs":
                value = {f"{part}_points": points for part, points in value.items()}
            named = {part: each for part, each in value.items() if each is not None}
            if twice := sorted(named.keys() & inputs.keys()):
                raise ValueError(f"give {name} or {twice[0]}, one of the two")
            inputs |= named
        return super().call(method, **inputs)

    @by_name
    def encode(self, inputs=None, **arguments: Any) -> Any:
        """The latents of an input, `last_hidden_state` Float[B L D]; a call takes them as
        `latents_outputs`, so that they can be asked more than once."""
        given = {} if inputs is None else {"inputs": inputs}
        return self.call("latents_forward", **given, **arguments)

    @by_name
    def latents_forward(self, **arguments: Any) -> Output:
        """The latents that attend to the input."""
        return self.tower_output("latents", **arguments)

    def further_fields(self, outputs, arguments):
        """The states and weights of the latents; those of cross-attention of the queries as well,
        at the end."""
        latents, queries = outputs["latents"], outputs.get("queries")
        record = latents.record() if queries is None else latents
        crossing = record.get("cross_attentions") or ()
        crossing += () if queries is None else queries.ran.cross_weights
        return {
            "hidden_states": self.by_block(record.get("hidden_states") or ()) or None,
            "attentions": record.get("attentions"),
            "cross_attentions": crossing or None,
        }

    def by_block(self, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
        """The states in front of the first layer and behind each layer of every block, so that
        those between two blocks are there twice, as in the reference."""
        config: Any = self.plan.config
        count, blocks = config.num_self_attends_per_block, range(config.num_blocks)
        return tuple(x for n in blocks for x in hidden[1 + n * count : 2 + (n + 1) * count])
