"""Swin Transformer (Liu et al. 2021): windows that are displaced in every other layer, in stages
whose grid becomes coarser. Hugging Face model_type "swin"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.backbone import STAGE_NAMES
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.shared.stages import StagesFamily
from transformers_jax.models.shared.weight_rows import block_rows, layer, norm
from transformers_jax.nn.embed import pair
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.image.masked import HIDDEN, MaskedStages
from transformers_jax.nn.image.merge import Merge
from transformers_jax.nn.image.stem import StemEmbedder, StemSpec
from transformers_jax.nn.image.windows import GridTable, WindowSpec
from transformers_jax.spec import (
    ZEROS,
    Branch,
    Initial,
    LayerNorm,
    StackSpec,
    Stage,
    StagesSpec,
    with_drop_path,
    with_ops,
)

IN_MEMORY = (  # the names of transformers v5 in memory, which some files hold
    (r"\.attention\.q_proj\.", ".attention.self.query."),
    (r"\.attention\.k_proj\.", ".attention.self.key."),
    (r"\.attention\.v_proj\.", ".attention.self.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.attention\.relative_position_bias\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
PROJECTIONS = "self.query self.key self.value output.dense"
L = "encoder.layers.{stage}.blocks.{i}"
TABLE = "attention.self.relative_position_bias_table"


@dataclass(frozen=True, kw_only=True)
class SwinConfig(StagesFamily):
    """The fields of a Swin config.json; defaults are Swin-T (28M). Images may have any size."""

    model_type = "swin"
    UNUSED = STAGE_NAMES | {"num_layers", "num_hidden_layers", "hidden_size"}  # known from others
    SPELLINGS = {"num_attention_heads": "num_heads"}
    PREFIX = "swin."
    MAP_NORM: ClassVar[LayerNorm | None] = LayerNorm()
    ALIASES: ClassVar[tuple[tuple[str, str], ...]] = IN_MEMORY
    IGNORE: ClassVar[tuple[str, ...]] = ("*.relative_position_index",)
    HEADS = heads_of("Swin", *IMAGE, "backbone")

    image_size: int | tuple[int, ...] = 224
    patch_size: int | tuple[int, ...] = 4
    num_channels: int = 3
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    drop_path_rate: float = 0.1
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    encoder_stride: int = 32

    def __post_init__(self):
        super().__post_init__()
        widths = [self.embed_dim * 2**number for number in range(len(self.depths))]
        if len(self.num_heads) != len(widths) or any(
            width % heads for width, heads in zip(widths, self.num_heads)
        ):
            raise ValueError(
                f"{type(self).__name__}: num_heads {self.num_heads} must be one number for each of "
                f"the {len(widths)} stages, which divides its width ({widths})"
            )

    @property
    def initial(self):
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def embedder(self, head):
        return StemEmbedder(
            StemSpec(
                image=pair(self.image_size),
                patch=pair(self.patch_size),
                channels=self.num_channels,
                width=self.embed_dim,
                positions=self.use_absolute_embeddings,
                draw=ZEROS,
                mask=head == "masked_image_modeling",
                norm=LayerNorm(),
                fills_up=True,
                dropout=self.hidden_dropout_prob,
                initial=self.initial,
            )
        )

    def attend(self, number: int, displaced: bool) -> WindowSpec:
        """The attention of a layer of a stage."""
        width, heads = self.embed_dim * 2**number, self.num_heads[number]
        return WindowSpec(
            heads,
            width // heads,
            bias=BIASES if self.qkv_bias else ("out",),
            score=GridTable(self.window_size),
            window=self.window_size,
            shift=self.window_size // 2 if displaced else 0,
            dropout=self.attention_probs_dropout_prob,
        )

    def block(self, number: int, displaced: bool):
        """A layer of a stage."""
        hidden = int(self.mlp_ratio * self.embed_dim * 2**number)
        ffn = FeedForwardSpec(hidden, self.hidden_act)
        usual: Any = dict(norm=LayerNorm(self.layer_norm_eps), dropout=self.hidden_dropout_prob)
        return Branch("self", self.attend(number, displaced), **usual), Branch("ffn", ffn, **usual)

    def merge(self, width: int) -> Merge:
        """What stands between two stages."""
        return Merge(2 * width, LayerNorm())

    def spec(self, mask=None):
        """Stages of pre-norm blocks, of which every other has displaced windows."""
        stages = []
        for number, depth in enumerate(self.depths):
            width = self.embed_dim * 2**number
            blocks = tuple(self.block(number, bool(layer % 2)) for layer in range(depth))
            stack = StackSpec(width, blocks, initial=self.initial)
            last = number == len(self.depths) - 1
            stages.append(Stage(stack, leave=None if last else self.merge(width)))
        last_norm = LayerNorm(self.layer_norm_eps)
        spec = StagesSpec(self.embed_dim, tuple(stages), last_norm, self.initial)
        return with_drop_path(spec, self.drop_path_rate)

    def described(self, head):
        """Windows of a backbone keep their size and place on any grid."""
        spec = super().described(head)
        if head != "backbone":
            return spec
        still = lambda op: replace(op, clamped=False) if isinstance(op, WindowSpec) else op
        return with_ops(spec, still)

    def unread(self, row):
        row = super().unread(row)
        theirs = f"{self.PREFIX}{row.theirs}"  # alone among those of a backbone
        return replace(row, theirs=theirs) if row.group == "unread" else row

    def pooler(self, head):
        return None if head == "masked_image_modeling" else super().pooler(head)

    def head(self, head):
        if head != "masked_image_modeling":
            return super().head(head)
        coarser = 2 ** (len(self.depths) - 1)
        patch = tuple(size * coarser for size in pair(self.patch_size))
        width = self.spec().width
        return MaskedStages(
            width, self.num_channels, patch, self.encoder_stride, coarser, self.initial
        )

    def head_rows(self, head, tied):
        if head == "masked_image_modeling":
            return HIDDEN.format(prefix=self.PREFIX)
        if head == "image_classification":
            return layer("classifier", "head.classify")
        return super().head_rows(head, tied)

    def backbone(self):
        text = """
embeddings.patch_embeddings.projection.weight | embed.patch | d c p q -> c p q d
embeddings.patch_embeddings.projection.bias   | embed.patch_bias
"""
        text += norm("embeddings.norm", "embed.patch_norm") + norm("layernorm", "stack.norm")
        if self.use_absolute_embeddings:
            text += "\nembeddings.position_embeddings | embed.position | 1 t d -> t d"
        for number in range(len(self.depths) - 1):
            theirs, ours = f"encoder.layers.{number}.downsample", f"stack.leave_{number}"
            text += f"\n{theirs}.reduction.weight | {ours}.weight | e d -> d e"
            text += norm(f"{theirs}.norm", f"{ours}.norm")
        return text

    def stage_rows(self, ours):
        norms = "layernorm_before layernorm_after"
        table = f"\n{L}.{TABLE} | {ours}.self.score.table"
        return block_rows(L, ours, "attention", PROJECTIONS, MLP, norms) + table
