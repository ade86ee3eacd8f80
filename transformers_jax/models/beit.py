"""BEiT (Bao et al. 2021): ViT with a learned bias for the offset between patches, trained to
predict the visual tokens of hidden patches. Hugging Face model_type "beit"."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.backbone import BackboneTower
from transformers_jax.models.shared.blocks import scaled
from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.vit_rows import IN_MEMORY, PATCHES, PROJECTIONS, L
from transformers_jax.models.shared.weight_rows import (
    S,
    batch_norm,
    block_rows,
    convolved,
    layer,
    norm,
)
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import GridPositions, PatchEmbedder
from transformers_jax.nn.image.pyramid import LEVELS, Neck
from transformers_jax.spec import GridBias, Initial

BIAS = "relative_position_bias"
POOLED = ("none", "image_classification")
NECK = batch_norm("fpn1.1", "head.neck.norm") + "".join(
    f"""
{theirs}.weight | head.neck.{ours}.weight | c d p q -> p q c d
{theirs}.bias   | head.neck.{ours}.bias
"""
    for theirs, ours in (("fpn1.0", "first"), ("fpn1.3", "second"), ("fpn2.0", "once"))
)
OF_HEADS = (  # the names in memory of what follows the stack
    (r"^fpn\.fpn1\.conv_transpose1\.", "fpn1.0."),
    (r"^fpn\.fpn1\.normalization\.", "fpn1.1."),
    (r"^fpn\.fpn1\.conv_transpose2\.", "fpn1.3."),
    (r"^fpn\.fpn2\.", "fpn2.0."),
    (r"\.psp_bottleneck\.", ".bottleneck."),
    (r"\.psp_modules\.blocks\.(\d+)\.conv\.", r".psp_modules.\1.1."),
    (r"^((?:decode|auxiliary)_head\..*)\.convolution\.", r"\1.conv."),
    (r"^((?:decode|auxiliary)_head\..*)\.normalization\.", r"\1.bn."),
)


def classifier(theirs: str, ours: str) -> str:
    """A classifier of pixels."""
    return f"\n{theirs}.weight | {ours}.weight | e d 1 1 -> d e\n{theirs}.bias | {ours}.bias"


@dataclass(frozen=True, kw_only=True)
class BeitConfig(BackboneTower):
    """The fields of a BEiT config.json; defaults are BEiT-B/16 (86M). Images of any size are taken:
    what is learned of the places of patches is interpolated."""

    model_type = "beit"
    PREFIX = "beit."
    POOLER = "pooler.layernorm"
    IGNORE = ("*relative_position_index",)
    ALIASES = (
        *IN_MEMORY,
        (rf"(layer\.\d+)\.{BIAS}\.", rf"\1.attention.attention.{BIAS}."),
        (r"^((?:\w+\.)?)shared_position_bias\.", rf"\1encoder.{BIAS}."),
        *OF_HEADS,
    )
    ROWS = f"""
{PATCHES}
embeddings.mask_token        | embed.hidden        | 1 1 d -> d
encoder.{BIAS}.{BIAS}_table  | stack.score.table
{L}.attention.attention.{BIAS}.{BIAS}_table | {S}.self.score.table
{L}.lambda_1                 | {S}.self_residual.scale
{L}.lambda_2                 | {S}.ffn_residual.scale
{norm("layernorm", "stack.norm")}
{block_rows(L, S, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""
    HEAD_ROWS = {
        "image_classification": layer("classifier", "head.classify"),
        "masked_image_modeling": norm("layernorm", "head.norm") + layer("lm_head", "head.words"),
    }
    HEADS = heads_of("Beit", *IMAGE, "semantic_segmentation", "backbone")

    vocab_size: int = 8192
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    use_mask_token: bool = False
    use_absolute_position_embeddings: bool = False
    use_relative_position_bias: bool = False
    use_shared_relative_position_bias: bool = False
    layer_scale_init_value: float = 0.1
    drop_path_rate: float = 0.1
    use_mean_pooling: bool = True
    add_fpn: bool = False
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    use_auxiliary_head: bool = True
    auxiliary_loss_weight: float = 0.4
    auxiliary_channels: int = 256
    auxiliary_num_convs: int = 1
    auxiliary_concat_input: bool = False
    semantic_loss_ignore_index: int = 255

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        stages = values.pop("segmentation_indices", None)  # until 2023
        if values.get("out_indices") is None and stages is not None:
            values["out_indices"] = stages
        return values

    def __post_init__(self):
        super().__post_init__()
        if self.add_fpn and (len(self.stages()) != LEVELS or not self.reshape_hidden_states):
            raise ValueError(
                f"BeitConfig: add_fpn=True makes a pyramid of {LEVELS} maps; give {LEVELS} "
                "out_indices, such as (3, 5, 7, 11), and reshape_hidden_states=True"
            )

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def patches(self):
        has_table = self.use_absolute_position_embeddings
        return replace(
            super().patches(),
            mask=self.use_mask_token,
            positions=GridPositions(any_size=True) if has_table else None,
            dropout=self.hidden_dropout_prob,
        )

    def embedder(self, head):
        return PatchEmbedder(self.patches())

    def attend(self, mask):
        score = self.bias() if self.use_relative_position_bias else None
        return replace(super().attend(mask), bias=("query", "value", "out"), score=score)

    def bias(self) -> GridBias:
        """What the offset between two patches adds to their scores."""
        return GridBias(self.patches().grid, self.num_attention_heads)

    def spec(self, mask=None):
        stack, depth = self.stack(mask), self.num_hidden_layers
        blocks, value = stack.blocks, self.layer_scale_init_value
        return replace(
            stack,
            blocks=tuple(scaled(one, value) for one in blocks) if value > 0 else blocks,
            score=self.bias() if self.use_shared_relative_position_bias else None,
            final_norm=None if self.use_mean_pooling else self.layer_norm,
            drop_path=tuple(self.drop_path_rate * n / max(depth - 1, 1) for n in range(depth)),
        )

    def pooler(self, head):
        """The mean of the patches, normalised, or the class token."""
        if head not in POOLED or not self.use_mean_pooling:
            return heads.TokenPooler(self.hidden_size) if head in POOLED else None
        return heads.TokenPooler(self.hidden_size, self.layer_norm, "mean of all", skip=1)

    def pooler_rows(self, theirs):
        return norm(theirs, "pooler.norm") if self.use_mean_pooling else ""

    def auxiliary(self) -> heads.Auxiliary | None:
        """The second classifier of pixels.

        Raises:
            ValueError: no convolution, which could change the width.
        """
        width, count = self.auxiliary_channels, self.auxiliary_num_convs
        if not self.use_auxiliary_head:
            return None
        if count == 0 and width != self.hidden_size:
            raise ValueError(
                f"BeitConfig: auxiliary_num_convs=0 leaves the width {self.hidden_size} of the "
                f"states, and auxiliary_channels is {width}; make them equal, or give convolutions"
            )
        weight = self.auxiliary_loss_weight
        return heads.Auxiliary(width, count, self.auxiliary_concat_input, weight)

    def segmentation(self) -> heads.Segmentation:
        """The head of segmentation, which counts layers from 1: stage 3 is what enters layer 3.

        Raises:
            ValueError: other than four stages.
        """
        if len(self.stages()) != LEVELS:
            raise ValueError(
                f"BeitConfig: segmentation reads {LEVELS} stages, and out_indices (out_features) "
                f"name {len(self.stages())}; give {LEVELS}, such as (3, 5, 7, 11) of a base model"
            )
        patches, count = self.patches(), len(self.stage_names)
        return heads.Segmentation(
            [(number - 1) % count for number in self.stages()],
            patches.in_front,
            patches.patch,
            self.hidden_size,
            self.num_labels,
            self.pool_scales,
            self.auxiliary(),
            self.semantic_loss_ignore_index,
            self.initial,
        )

    def table(self, head):
        table = super().table(head)
        if head != "backbone":
            return table
        # PyTorch writes and reads this row of a backbone alone with the prefix; v4 had none
        older, today = f"encoder.{BIAS}.", f"{self.PREFIX}encoder.{BIAS}."
        rows = (replace(row, theirs=row.theirs.replace(older, today)) for row in table.rows)
        aliases = (*table.aliases, (f"^{re.escape(older)}", today))
        return replace(table, rows=tuple(rows), aliases=aliases)

    def head_rows(self, head, tied):
        if head == "backbone":
            return NECK if self.add_fpn else ""
        if head != "semantic_segmentation":
            return super().head_rows(head, tied)
        convolutions = {"bottleneck": "pooling.bottleneck", "fpn_bottleneck": "bottleneck"}
        for number in range(len(self.pool_scales)):
            convolutions[f"psp_modules.{number}.1"] = f"pooling.branches.{number}"
        for number in range(LEVELS - 1):
            convolutions[f"lateral_convs.{number}"] = f"laterals.{number}"
            convolutions[f"fpn_convs.{number}"] = f"smooths.{number}"
        names = {f"decode_head.{n}": f"head.decode.{own}" for n, own in convolutions.items()}
        for number in range(self.auxiliary_num_convs):
            names[f"auxiliary_head.convs.{number}"] = f"head.second.convolve.layers.{number}"
        names["auxiliary_head.conv_cat"] = "head.second.convolve.both"
        rows = "".join(convolved(theirs, ours, "conv bn") for theirs, ours in names.items())
        rows += classifier("decode_head.classifier", "head.classify")
        return NECK + rows + classifier("auxiliary_head.classifier", "head.second.classify")

    def head(self, head):
        width, initial = self.hidden_size, self.initial
        if head == "semantic_segmentation":
            return self.segmentation()
        if head == "backbone":
            return self.feature_maps(neck=Neck(width, initial) if self.add_fpn else None)
        if head == "masked_image_modeling":
            return heads.VisualTokens(width, self.vocab_size, self.layer_norm, initial)
        return task_head(self, "sequence_classification", width, initial)
