"""Wav2Vec2 (Baevski et al. 2020, wav2vec 2.0): an encoder of waveforms, trained to recognise what
was hidden from it. Hugging Face model_type "wav2vec2"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.waveforms import WaveTower
from transformers_jax.models.shared.weight_rows import S, feed_forward, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.wave_convolutions import ConvolutionalAdapter
from transformers_jax.spec import Branch, LayerNorm

OF_ADAPTERS = ("none", "ctc")  # the heads that there are behind an adapter


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Config(WaveTower):
    """The fields of a Wav2Vec2 config.json; defaults are wav2vec2-base (95M). With `add_adapter`
    convolutions behind the encoder make its states fewer; `adapter_attn_dim` is the width of a
    further branch of each stable layer, which MMS learns for each language."""

    model_type = "wav2vec2"
    PREFIX, FEATURES = "wav2vec2.", True
    HEADS = heads_of(
        "Wav2Vec2",
        *("none", "ctc", "pretraining", "sequence_classification"),
        *("audio_frame_classification", "xvector"),
    )

    feat_quantizer_dropout: float = 0.0
    num_codevectors_per_group: int = 320
    num_codevector_groups: int = 2
    contrastive_logits_temperature: float = 0.1
    num_negatives: int = 100
    codevector_dim: int = 256
    proj_codevector_dim: int = 256
    diversity_loss_weight: float = 0.1
    tdnn_dim: tuple[int, ...] = (512, 512, 512, 512, 1500)
    tdnn_kernel: tuple[int, ...] = (5, 3, 3, 1, 1)
    tdnn_dilation: tuple[int, ...] = (1, 2, 3, 1, 1)
    xvector_output_dim: int = 512
    add_adapter: bool = False
    adapter_kernel_size: int = 3
    adapter_stride: int = 2
    num_adapter_layers: int = 3
    output_hidden_size: int | None = None
    adapter_attn_dim: int | None = None

    @property
    def output_width(self):
        return (
            (self.output_hidden_size or self.hidden_size) if self.add_adapter else self.hidden_size
        )

    def stack(self, mask, placement="pre", cross=None):
        own = super().stack(mask, placement, cross)
        if self.adapter_attn_dim is None or not self.do_stable_layer_norm:
            return own
        adapt = FeedForwardSpec(self.adapter_attn_dim, "relu")
        block = (*own.blocks[0], Branch("adapt", adapt, LayerNorm()))
        return replace(own, blocks=(block,) * self.num_hidden_layers)

    def build(self, head, execution, mask=None):
        if self.add_adapter and head not in OF_ADAPTERS:
            raise ValueError(
                f"add_adapter=True, but the head {head!r} reads every frame: an adapter stands "
                f"behind the heads {' and '.join(map(repr, OF_ADAPTERS))}; give add_adapter=False"
            )
        return super().build(head, execution, mask)

    def reduce(self):
        sizes = (self.hidden_size, self.output_width, self.num_adapter_layers)
        steps = (self.adapter_kernel_size, self.adapter_stride)
        return ConvolutionalAdapter(*sizes, *steps, self.initial) if self.add_adapter else None

    def of_states(self, head):
        sizes: tuple[Any, ...] = (self.hidden_size, self.num_labels, self.initial)
        if head == "audio_frame_classification":
            return heads.FrameClassification(*sizes)
        if head == "xvector":
            layers = (self.tdnn_dim, self.tdnn_kernel, self.tdnn_dilation)
            return heads.XVector(
                self.hidden_size, *layers, self.xvector_output_dim, self.num_labels, self.initial
            )
        return super().of_states(head)

    def head(self, head):
        if head != "pretraining":
            return super().head(head)
        return heads.QuantizedPretraining(
            self.hidden_size,
            self.conv_dim[-1],
            groups=self.num_codevector_groups,
            words=self.num_codevectors_per_group,
            code=self.codevector_dim,
            out=self.proj_codevector_dim,
            temperature=self.contrastive_logits_temperature,
            weight=self.diversity_loss_weight,
            rate=self.feat_quantizer_dropout,
        )

    def backbone(self):
        theirs, ours = "encoder.layers.{i}.adapter_layer", f"{S}.adapt"
        rows = super().backbone()
        if self.adapter_attn_dim is not None and self.do_stable_layer_norm:
            rows += norm(f"{theirs}.norm", f"{ours}_norm")
            rows += feed_forward(theirs, ours, "linear_1 linear_2")
        if self.output_width != self.hidden_size:
            rows += layer("adapter.proj", "reduce.project")
            rows += norm("adapter.proj_layer_norm", "reduce.project_norm")
        for number in range(self.num_adapter_layers if self.add_adapter else 0):
            theirs, ours = f"adapter.layers.{number}.conv", f"reduce.convs.{number}"
            rows += f"\n{theirs}.weight | {ours}.weight | d c k -> k c d"
            rows += f"\n{theirs}.bias | {ours}.bias"
        return rows

    def head_rows(self, head, tied):
        return QUANTIZER if head == "pretraining" else super().head_rows(head, tied)

    def state_rows(self, head, ours):
        if head == "audio_frame_classification":
            return layer("classifier", f"{ours}.classify")
        if head != "xvector":
            return super().state_rows(head, ours)
        rows = f"\nobjective.weight | {ours}.speakers"
        for number in range(len(self.tdnn_dim)):
            theirs = f"tdnn.{number}.kernel"
            rows += f"\n{theirs}.weight | {ours}.layers.{number}.weight | d (k c) -> k c d"
            rows += f"\n{theirs}.bias | {ours}.layers.{number}.bias"
        names = {"projector": "project", "feature_extractor": "embed", "classifier": "classify"}
        return rows + "".join(layer(name, f"{ours}.{part}") for name, part in names.items())


QUANTIZER = f"""
quantizer.codevectors        | head.quantizer.codebook | 1 (g w) e -> g w e
quantizer.weight_proj.weight | head.quantizer.weight   | (g w) c -> c g w
quantizer.weight_proj.bias   | head.quantizer.bias     | (g w) -> g w
{layer("project_hid", "head.hidden")}
{layer("project_q", "head.quantised")}
"""
