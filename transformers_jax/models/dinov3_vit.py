"""DINOv3's ViT (Simeoni et al. 2025): rotary positions of patches, and registers. Hugging Face
model_type "dinov3_vit"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.dinov2 import InitialDINO
from transformers_jax.models.shared.backbone import BackboneTower
from transformers_jax.models.shared.blocks import scaled
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import S, attention, feed_forward, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import PROJECTIONS
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import GridRotary

L = "layer.{i}"


@dataclass(frozen=True, kw_only=True)
class DINOv3ViTConfig(BackboneTower):
    """The fields of a DINOv3 config.json; defaults are ViT-S/16 (22M). Images of any size are
    taken."""

    model_type = "dinov3_vit"
    ALIASES = ((r"^model\.layer\.", "layer."),)
    IGNORE = ("rope_embeddings.*",)
    ROWS = f"""
embeddings.cls_token               | embed.cls       | 1 1 d -> d
embeddings.mask_token              | embed.hidden      | 1 1 d -> d
embeddings.register_tokens         | embed.registers | 1 r d -> r d
embeddings.patch_embeddings.weight | embed.patch     | d c p q -> c p q d
embeddings.patch_embeddings.bias   | embed.patch_bias
{L}.layer_scale1.lambda1           | {S}.self_residual.scale
{L}.layer_scale2.lambda1           | {S}.ffn_residual.scale
{attention(f"{L}.attention", f"{S}.self", "q_proj k_proj v_proj o_proj")}
{norm(f"{L}.norm1", f"{S}.self_norm")}
{norm(f"{L}.norm2", f"{S}.ffn_norm")}
{norm("norm", "stack.norm")}
"""
    HEADS = heads_of("DINOv3ViT", "none", "backbone")
    hidden_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]
    attention_probs_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]

    hidden_size: int = 384
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True
    layerscale_value: float = 1.0
    drop_path_rate: float = 0.0
    use_gated_mlp: bool = False
    num_register_tokens: int = 0
    pos_embed_shift: float | None = None
    pos_embed_jitter: float | None = None
    pos_embed_rescale: float | None = 2.0
    apply_layernorm: bool = True

    @property
    def initial(self) -> InitialDINO:
        """The rule of first weights."""
        return InitialDINO(self.initializer_range, cut=2.0)

    def patches(self):
        registers = self.num_register_tokens
        return replace(super().patches(), mask=True, registers=registers, positions=None)

    def attend(self, mask):
        said = (self.query_bias, self.key_bias, self.value_bias, self.proj_bias)
        own = super().attend(mask)
        return replace(
            own,
            bias=tuple(name for name, has in zip(PROJECTIONS, said) if has),
            dropout=self.attention_dropout,
            rotary=GridRotary(
                base=self.rope_theta,
                shift=self.pos_embed_shift,
                jitter=self.pos_embed_jitter,
                rescale=self.pos_embed_rescale,
            ),
        )

    def feed_forward(self):
        gated, bias = self.use_gated_mlp, self.mlp_bias
        return FeedForwardSpec(self.intermediate_size, self.hidden_act, gated=gated, bias=bias)

    def spec(self, mask=None):
        stack = self.stack(mask)
        return replace(
            stack,
            blocks=tuple(scaled(one, self.layerscale_value) for one in stack.blocks),
            final_norm=self.layer_norm,
            drop_path=(self.drop_path_rate,) * self.num_hidden_layers,
        )

    def pooler(self, head):
        return heads.TokenPooler(self.hidden_size) if head == "none" else None

    def head(self, head):
        return self.feature_maps(normed=self.apply_layernorm, last_normed=True, patches_only=True)

    def backbone(self):
        names = "gate_proj up_proj down_proj" if self.use_gated_mlp else "up_proj down_proj"
        return self.ROWS + feed_forward(f"{L}.mlp", f"{S}.ffn", names)
