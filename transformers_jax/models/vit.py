"""ViT, the Vision Transformer (Dosovitskiy et al. 2020). Hugging Face model_type "vit"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.shared.standard import ImageTower
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.vit_rows import IN_MEMORY, PATCHES, PROJECTIONS, L, hidden_rows
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import PatchEmbedder
from transformers_jax.spec import Initial


@dataclass(frozen=True, kw_only=True)
class ViTConfig(ImageTower):
    """The fields of a ViT config.json; defaults are ViT-B/16 (86M). An image of another size than
    `image_size` is taken with `interpolate_pos_encoding=True`."""

    model_type = "vit"
    PREFIX = "vit."
    POOLER = "pooler.dense"
    ALIASES = IN_MEMORY
    IGNORE = ("decoder.mask_token", "decoder.decoder_*")  # of an MAE, whose encoder is a ViT
    ROWS = f"""
{PATCHES}
{norm("layernorm", "stack.norm")}
{block_rows(L, S, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""
    HEADS = heads_of("ViT", *IMAGE)

    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def patches(self):
        return replace(super().patches(), dropout=self.hidden_dropout_prob)

    def embedder(self, head):
        return PatchEmbedder(replace(self.patches(), mask=head == "masked_image_modeling"))

    def attend(self, mask):
        own = super().attend(mask)
        return own if self.qkv_bias else replace(own, bias=("out",))

    def spec(self, mask=None):
        return replace(super().spec(mask), final_norm=self.layer_norm)

    def pooler(self, head):
        width, out = self.hidden_size, self.pooler_output_size
        return heads.Pooler(width, self.initial, self.pooler_act, out) if head == "none" else None

    def head_rows(self, head, tied):
        if head == "image_classification":
            return layer("classifier", "head.classify")
        return hidden_rows(self.PREFIX) if head == "masked_image_modeling" else ""

    def head(self, head):
        width, initial = self.hidden_size, self.initial
        if head == "masked_image_modeling":
            patches, stride = self.patches(), self.encoder_stride
            return heads.MaskedImage(
                width, self.num_channels, patches.patch, stride, patches.in_front, initial
            )
        return task_head(self, "sequence_classification", width, initial, pooling="first")
