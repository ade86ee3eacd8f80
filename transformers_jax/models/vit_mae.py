"""MAE (He et al. 2021): a ViT that sees a few patches of an image, and a decoder that makes the
pixels of the others. Hugging Face model_type "vit_mae"."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.blocks import BIASES, block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.standard import ImageTower
from transformers_jax.models.shared.vit_rows import IN_MEMORY, PROJECTIONS
from transformers_jax.models.shared.weight_rows import backbone, block_rows, layer, norm
from transformers_jax.models.vit import ViTConfig
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import GridPositions
from transformers_jax.nn.embed.seen import SeenPatches
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.head.pixels import Pixels
from transformers_jax.spec import Draw, InitialXavier, StackSpec

D, B = "decoder.decoder_encoder.layer.{i}", "head.stack.blocks.{slot}"


@dataclass(frozen=True)
class InitialMAE(InitialXavier):
    """Glorot and Bengio 2010, of patches as of a matrix; the class token and the vector of hidden
    patches are normal(0.02) (the released code)."""

    def draw(self, role, sizes):
        if role in ("cls", "mask"):
            return Draw("normal", self.std)
        if role == "patch":
            area = sizes["channels"] * sizes["patch_height"] * sizes["patch_width"]
            return Draw("uniform", math.sqrt(6.0 / (area + sizes["embed"])))
        if role == "head":
            return Draw("uniform", math.sqrt(6.0 / sum(sizes.values())))
        return super().draw(role, sizes)


@dataclass(frozen=True, kw_only=True)
class ViTMAEConfig(ImageTower):
    """The fields of an MAE config.json; defaults are ViT-B/16 (86M, with the decoder 112M). Which
    patches are seen is drawn from `key`, or said by `noise`."""

    model_type = "vit_mae"
    PREFIX = "vit."
    ALIASES = (*IN_MEMORY, (r"^decoder\.decoder_layers\.", "decoder.decoder_encoder.layer."))
    ROWS = ViTConfig.ROWS
    HEADS = heads_of("ViTMAE", "none", "pretraining")
    HEAD_TEXT = f"""
decoder.mask_token        | head.mask     | 1 1 d -> d
decoder.decoder_pos_embed | head.position | 1 t d -> t d
{layer("decoder.decoder_embed", "head.enter")}
{layer("decoder.decoder_pred", "head.predict")}
{norm("decoder.decoder_norm", "head.stack.norm")}
{block_rows(D, B, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""

    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    qkv_bias: bool = True
    decoder_num_attention_heads: int = 16
    decoder_hidden_size: int = 512
    decoder_num_hidden_layers: int = 8
    decoder_intermediate_size: int = 2048
    mask_ratio: float = 0.75
    norm_pix_loss: bool = False

    def part(self, head):
        """The ViT that the encoder is, for its classes and for image_classification (section 3)."""
        if head not in (ViTConfig, "image_classification", *ViTConfig.HEADS):
            return self
        known = {field.name for field in fields(ViTConfig)} - {"architectures"}
        return ViTConfig(**{name: value for name, value in vars(self).items() if name in known})

    @property
    def initial(self) -> InitialMAE:
        """The rule of first weights."""
        return InitialMAE(self.initializer_range)

    def positions(self) -> GridPositions:
        """Sinusoids of the grid, which files hold and nothing learns."""
        return GridPositions(learned=False, draw=Draw("grid", 1.0, grid=super().patches().grid))

    def patches(self):
        return replace(super().patches(), positions=self.positions())

    def embedder(self, head):
        return SeenPatches(self.patches(), self.mask_ratio)

    def attend(self, mask):
        return replace(super().attend(mask), bias=self.biases)

    @property
    def biases(self) -> tuple[str, ...]:
        """The projections of attention that have a bias."""
        return BIASES if self.qkv_bias else ("out",)

    def spec(self, mask=None):
        return replace(super().spec(mask), final_norm=self.layer_norm)

    def decoder(self) -> StackSpec:
        """The blocks that make the pixels."""
        width, count = self.decoder_hidden_size, self.decoder_num_attention_heads
        kv = self.head_width("decoder_hidden_size", "decoder_num_attention_heads")
        attend = AttentionSpec(
            count, kv, bias=self.biases, dropout=self.attention_probs_dropout_prob
        )
        ffn = FeedForwardSpec(self.decoder_intermediate_size, self.hidden_act)
        one = block(attend, ffn, self.layer_norm, dropout=self.hidden_dropout_prob)
        blocks = (one,) * self.decoder_num_hidden_layers
        return StackSpec(width, blocks, self.layer_norm, norm_hidden=False, initial=self.initial)

    def head_run_by(self, head, execution):
        if head == "none":
            return None
        return Pixels(self.patches(), self.decoder(), execution, normalised=self.norm_pix_loss)

    def head_rows_of(self, head):
        """The rows of the decoder."""
        return backbone(self.HEAD_TEXT, self.decoder().slots)

    def table(self, head):
        table, chosen = super().table(head), head == "pretraining"
        rows = tuple(replace(row, group="pretraining") for row in self.head_rows_of(head))
        away = lambda row: replace(row, ours=tuple(f"pretraining:{path}" for path in row.ours))
        return table.with_rows(rows if chosen else map(away, rows))
