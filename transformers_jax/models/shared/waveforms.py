"""Encoders of waveforms, wav2vec 2.0 and what has its layers: fields, tower, heads and rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transformers_jax.models.shared.augmented import SpecAugmented
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.standard import StandardTower
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import WaveEmbedder, WaveSpec
from transformers_jax.spec import LayerNorm

POSITIONS = "encoder.pos_conv_embed.conv"
WEIGHT_NORM = (  # torch's names of a weight of normalised length, before 2.1
    (r"\.conv\.weight_g$", ".conv.parametrizations.weight.original0"),
    (r"\.conv\.weight_v$", ".conv.parametrizations.weight.original1"),
)


@dataclass(frozen=True, kw_only=True)
class WaveTower(SpecAugmented, StandardTower):
    """The fields of such a config.json; defaults are of a base model (95M).

    Frames of padding attend to nothing, where a call has an `attention_mask` of samples. With
    feat_extract_norm="group" the first convolution normalises over padding all the same, so that a
    row in a padded batch is not what it is alone; the authors of such models trained them without a
    mask, on rows filled up with zeros.

    Class attributes:
        FEATURES: whether the normalised frames of the stem are a field of the output.
    """

    ALIASES = WEIGHT_NORM
    FEATURES: ClassVar[bool] = False
    UNUSED = frozenset(  # of the authors' training, or said by the sizes of the stem
        """num_feat_extract_layers feat_extract_dropout hidden_dropout_prob
        attention_probs_dropout_prob freeze_feat_extract_train mask_channel_length
        mask_channel_min_space mask_channel_other mask_channel_prob mask_channel_selection
        mask_time_min_space mask_time_other mask_time_selection no_mask_channel_overlap
        no_mask_time_overlap
        """.split()
    )

    hidden_dropout_prob: ClassVar[float] = 0.0
    attention_probs_dropout_prob: ClassVar[float] = 0.0
    vocab_size: int = 32
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    final_dropout: float = 0.1
    layerdrop: float = 0.1
    layer_norm_eps: float = 1e-5
    feat_extract_norm: Literal["group", "layer"] = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    ctc_loss_reduction: Literal["sum", "mean"] = "sum"
    ctc_zero_infinity: bool = False
    use_weighted_layer_sum: bool = False
    classifier_proj_size: int = 256
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2

    def __post_init__(self):
        super().__post_init__()
        sizes = {n: len(getattr(self, n)) for n in ("conv_dim", "conv_stride", "conv_kernel")}
        if len({*sizes.values()}) != 1 or 0 in sizes.values():
            lengths = ", ".join(f"{name} has {count}" for name, count in sizes.items())
            raise ValueError(
                f"{type(self).__name__}: {lengths} entries; give each convolution of the stem one "
                "in each"
            )

    @property
    def project_norm(self) -> LayerNorm | None:
        """The norm in front of the projection of frames."""
        return self.layer_norm

    @property
    def output_width(self) -> int:
        """D of what heads read."""
        return self.hidden_size

    def seconds_per_frame(self, sampling_rate: int) -> float:
        """How much audio of a sampling rate a frame stands for."""
        return math.prod(self.conv_stride) / sampling_rate

    def embedder(self, head):
        return WaveEmbedder(
            WaveSpec(
                self.conv_dim,
                self.conv_kernel,
                self.conv_stride,
                self.hidden_size,
                self.num_conv_pos_embeddings,
                self.num_conv_pos_embedding_groups,
                bias=self.conv_bias,
                stem_norm=self.feat_extract_norm,
                activation=self.feat_extract_activation,
                project_norm=self.project_norm,
                norm=None if self.do_stable_layer_norm else self.layer_norm,
                project_dropout=self.feat_proj_dropout,
                dropout=self.hidden_dropout,
                augment=self.augment(),
                masked=self.masked,
                hides=self.apply_spec_augment,
                features=self.FEATURES,
                initial=self.initial,
            )
        )

    def attend(self, mask):
        return replace(super().attend(mask), bias=BIASES, dropout=self.attention_dropout)

    def feed_forward(self):
        return replace(super().feed_forward(), dropout=self.activation_dropout)

    def spec(self, mask=None):
        """Post-norm blocks, or pre-norm ones and a norm behind all ("stable")."""
        stable = self.do_stable_layer_norm
        own = self.stack(mask, "pre" if stable else "post")
        last = self.layer_norm if stable else None
        return replace(own, final_norm=last, layerdrop=self.layerdrop)

    def stack(self, mask, placement="pre", cross=None):
        own = super().stack(mask, placement, cross)
        block = tuple(replace(b, dropout=self.hidden_dropout) for b in own.blocks[0])
        return replace(own, blocks=(block,) * self.num_hidden_layers)

    # ------------------------------------------------------------ heads

    def head(self, head):
        if head == "ctc":
            return self.ctc()
        made = self.of_states(head)
        states = self.num_hidden_layers + 1
        return heads.OfEveryLayer(made, states) if self.use_weighted_layer_sum else made

    def ctc(self) -> heads.Head:
        """Text by connectionist temporal classification; the blank is `pad_token_id`.

        Raises:
            ValueError: no `pad_token_id`.
        """
        if self.pad_token_id is None:
            raise ValueError(
                "pad_token_id is None, but it is the blank of connectionist temporal "
                "classification; give its id, such as pad_token_id=0"
            )
        return heads.CTC(
            self.vocab_size,
            self.output_width,
            self.initial,
            blank=self.pad_token_id,
            reduction=self.ctc_loss_reduction,
            zero_infinity=self.ctc_zero_infinity,
            rate=self.final_dropout,
        )

    def of_states(self, head: str) -> heads.Head:
        """A head that may read the states of all layers."""
        inner = heads.Dense(self.hidden_size, self.classifier_proj_size, "inner", self.initial)
        return heads.SequenceClassification(
            self.classifier_proj_size,
            self.num_labels,
            self.initial,
            pooling="mean",
            inner=inner,
            problem="single_label_classification",  # whatever the config says (the reference)
        )

    # ------------------------------------------------------------ the table

    def backbone(self):
        grouped = self.feat_extract_norm == "group"
        rows = f"\nmasked_spec_embed | {'embed.masked' if self.masked else ''}"
        for number in range(len(self.conv_dim)):
            theirs, ours = f"feature_extractor.conv_layers.{number}", f"embed.convs.{number}"
            rows += f"\n{theirs}.conv.weight | {ours}.weight | d c k -> k c d"
            rows += f"\n{theirs}.conv.bias | {ours}.bias" if self.conv_bias else ""
            rows += norm(f"{theirs}.layer_norm", f"{ours}.norm") if not (grouped and number) else ""
        if self.project_norm is not None:
            rows += norm("feature_projection.layer_norm", "embed.project_norm")
        rows += layer("feature_projection.projection", "embed.project")
        rows += f"\n{POSITIONS}.bias | embed.positional.bias"
        weight = f"{POSITIONS}.parametrizations.weight"
        rows += f"\n{weight}.original0 | embed.positional.length | 1 1 k -> k"
        rows += f"\n{weight}.original1 | embed.positional.direction | (g e) c k -> k g c e"
        rows += norm(
            "encoder.layer_norm", "stack.norm" if self.do_stable_layer_norm else "embed.norm"
        )
        names = "feed_forward.intermediate_dense feed_forward.output_dense"
        block = ("encoder.layers.{i}", S, "attention", "q_proj k_proj v_proj out_proj", names)
        return rows + block_rows(*block, "layer_norm final_layer_norm")

    def head_rows(self, head, tied):
        if head == "ctc":
            return layer("lm_head", "head.classify")
        of = "head.of" if self.use_weighted_layer_sum else "head"
        rows = "layer_weights | head.weights" if self.use_weighted_layer_sum else ""
        return rows + self.state_rows(head, of)

    def state_rows(self, head: str, ours: str) -> str:
        """The rows of a head that may read the states of all layers."""
        if head == "sequence_classification":
            return layer("projector", f"{ours}.inner") + layer("classifier", f"{ours}.classify")
        return ""
