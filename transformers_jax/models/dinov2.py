"""DINOv2 (Oquab et al. 2023): ViT with a scale for each channel of its branches, for images of any
size. Hugging Face model_type "dinov2"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.hub.table import Row
from transformers_jax.models.shared.backbone import BackboneTower
from transformers_jax.models.shared.blocks import scaled
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.vit_rows import IN_MEMORY, PATCHES, PROJECTIONS, L
from transformers_jax.models.shared.weight_rows import (
    S,
    attention,
    dense,
    feed_forward,
    layer,
    norm,
)
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import GridPositions
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Draw, Initial

FUSED = "mlp.weights_in"


@dataclass(frozen=True)
class InitialDINO(Initial):
    """normal(0.02), cut off at two deviations; the tokens in front nearly 0 (the released code)."""

    def draw(self, role, sizes):
        if role in ("cls", "registers"):
            return Draw("normal", 1e-6)
        return super().draw(role, sizes)


@dataclass(frozen=True, kw_only=True)
class Dinov2Config(BackboneTower):
    """The fields of a DINOv2 config.json; defaults are ViT-B/14 (86M)."""

    model_type = "dinov2"
    UNUSED = BackboneTower.UNUSED | {"intermediate_size"}
    PREFIX = "dinov2."
    ALIASES = tuple(pair for pair in IN_MEMORY if "mlp" not in pair[0])
    ROWS = f"""
{PATCHES}
embeddings.mask_token      | embed.hidden | 1 d -> d
embeddings.register_tokens | embed.registers | 1 r d -> r d
{L}.layer_scale1.lambda1   | {S}.self_residual.scale
{L}.layer_scale2.lambda1   | {S}.ffn_residual.scale
{attention(f"{L}.attention", f"{S}.self", PROJECTIONS)}
{norm(f"{L}.norm1", f"{S}.self_norm")}
{norm(f"{L}.norm2", f"{S}.ffn_norm")}
{norm("layernorm", "stack.norm")}
"""
    PLAIN = feed_forward(f"{L}.mlp", f"{S}.ffn", "fc1 fc2")
    GATED = f"""
{L}.{FUSED}.weight | {S}.ffn.gate {S}.ffn.up | (n f) d -> n d f
{L}.{FUSED}.bias   | {S}.ffn.gate_bias {S}.ffn.up_bias | (n f) -> n f
{dense(f"{L}.mlp.weights_out", f"{S}.ffn.down", "d f -> f d")}
"""
    HEAD_ROWS = {"image_classification": layer("classifier", "head.classify")}
    HEADS = heads_of("Dinov2", "none", "image_classification", "backbone")
    intermediate_size: ClassVar[int] = 0  # type: ignore[misc]  # mlp_ratio says it

    patch_size: int | tuple[int, ...] = 14
    mlp_ratio: float = 4
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    layerscale_value: float = 1.0
    drop_path_rate: float = 0.0
    use_swiglu_ffn: bool = False
    apply_layernorm: bool = True
    use_mask_token: bool = True

    @property
    def initial(self) -> InitialDINO:
        """The rule of first weights."""
        return InitialDINO(self.initializer_range, cut=2.0)

    def patches(self):
        positions = GridPositions(any_size=True)
        mask, rate = self.use_mask_token, self.hidden_dropout_prob
        return replace(super().patches(), mask=mask, positions=positions, dropout=rate)

    def attend(self, mask):
        own = super().attend(mask)
        return own if self.qkv_bias else replace(own, bias=("out",))

    def feed_forward(self):
        hidden = int(self.hidden_size * self.mlp_ratio)
        if not self.use_swiglu_ffn:
            return FeedForwardSpec(hidden, self.hidden_act)
        return FeedForwardSpec((int(hidden * 2 / 3) + 7) // 8 * 8, "silu", gated=True)

    def spec(self, mask=None):
        stack = self.stack(mask)
        return replace(
            stack,
            blocks=tuple(scaled(one, self.layerscale_value) for one in stack.blocks),
            final_norm=self.layer_norm,
            drop_path=(self.drop_path_rate,) * self.num_hidden_layers,
        )

    def stack(self, mask, *placed):
        stack = super().stack(mask, *placed)  # what leaves a branch is not dropped
        quiet = lambda one: tuple(replace(branch, dropout=0.0) for branch in one)
        return replace(stack, blocks=tuple(quiet(one) for one in stack.blocks))

    def pooler(self, head):
        return heads.TokenPooler(self.hidden_size) if head == "none" else None

    def head(self, head):
        if head == "backbone":
            return self.feature_maps(normed=self.apply_layernorm)
        width, front = self.hidden_size, self.patches().in_front
        return heads.ClassAndPatches(
            width, self.num_labels, self.initial, front=front, problem=self.problem_type
        )

    def backbone(self):
        return self.ROWS + (self.GATED if self.use_swiglu_ffn else self.PLAIN)

    def table(self, head):
        table = super().table(head)
        if not self.use_swiglu_ffn:
            return table
        running = tuple(part for row in table.rows for part in in_memory(row))
        return replace(table, variants=(replace(table, rows=running),))


def in_memory(row: Row) -> tuple[Row, ...]:
    """The rows of a fused tensor as the running model of transformers cuts it."""
    if FUSED in row.theirs:
        layout = "f d -> d f" if row.theirs.endswith("weight") else ""
        names = (row.theirs.replace(FUSED, f"mlp.{name}_proj") for name in ("gate", "up"))
        return tuple(
            replace(row, theirs=name, ours=(path,), layout=layout)
            for name, path in zip(names, row.ours)
        )
    return (replace(row, theirs=row.theirs.replace("weights_out", "down_proj")),)
