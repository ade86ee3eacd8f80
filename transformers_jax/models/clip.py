"""CLIP (Radford et al. 2021): a tower for texts and one for images. Hugging Face model_type "clip";
each tower apart is "clip_text_model" and "clip_vision_model"."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from transformers_jax.graph import CAUSAL, with_own
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.dual import SIDES, DualTower, ProjectedDualConfig
from transformers_jax.models.shared.standard import ImageTower, TextTower
from transformers_jax.models.shared.weight_rows import PROJECTIONS, S, block_rows, norm
from transformers_jax.nn.head import Projected, TokenPooler
from transformers_jax.nn.pooling import Behind, FirstOf
from transformers_jax.spec import Draw, Initial


@dataclass(frozen=True)
class InitialCLIP(Initial):
    """normal, by the width D and the depth L: D^-0.5 (2 L)^-0.5 for queries, keys, values and what
    leaves the MLP, (2 D)^-0.5 for what enters it, else D^-0.5 (the released code)."""

    depth: int = 12
    factor: float = 1.0

    def draw(self, role, sizes):
        width = sizes["embed"] ** -0.5
        std = dict.fromkeys(("table", "position", "patch"), self.std)
        std |= dict.fromkeys(("query", "key", "value", "down"), width * (2 * self.depth) ** -0.5)
        return Draw("normal", self.factor * (std | {"up": width * 2**-0.5}).get(role, width))


@dataclass(frozen=True, kw_only=True)
class CLIPTower(DualTower):
    """What both towers share."""

    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    initializer_factor: float = 1.0

    @property
    def initial(self) -> InitialCLIP:
        """The rule of first weights."""
        std, depth = self.initializer_range, self.num_hidden_layers
        return InitialCLIP(std, depth=depth, factor=self.initializer_factor)

    def head(self, head):
        size, initial = self.projection_dim, self.initial
        return Projected(self.hidden_size, size, initial, SIDES[self.modality].field)

    def head_rows(self, head, tied):
        row = f"{SIDES[self.modality].projection} | head.projection.weight | e d -> d e"
        return row if head == "projection" else ""


L = "encoder.layers.{i}"
BLOCKS = block_rows(L, S, "self_attn", PROJECTIONS, "mlp.fc1 mlp.fc2", "layer_norm1 layer_norm2")


@dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(CLIPTower, TextTower):
    """The fields of a CLIP text config.json; defaults are those of ViT-B/32 (63M)."""

    model_type = "clip_text_model"
    HEADS = heads_of("CLIPText", "none", "projection")
    ROWS = f"""
embeddings.token_embedding.weight    | embed.table
embeddings.position_embedding.weight | embed.position
{BLOCKS}
{norm("final_layer_norm", "stack.norm")}
"""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int | tuple[int, ...] | None = 49407

    def spec(self, mask=None):
        """Each token attends to those before it."""
        return replace(self.stack(with_own(mask, CAUSAL)), final_norm=self.layer_norm)

    def pooler(self, head):
        end = self.eos_token_id  # the first files say 2, which does not end their texts
        return TokenPooler(self.hidden_size, pooling=FirstOf("largest" if end == 2 else end))


@dataclass(frozen=True, kw_only=True)
class CLIPVisionConfig(CLIPTower, ImageTower):
    """The fields of a CLIP vision config.json; defaults are those of ViT-B/32 (88M)."""

    model_type = "clip_vision_model"
    HEADS = heads_of("CLIPVision", "none", "projection")
    ROWS = f"""
embeddings.class_embedding           | embed.cls
embeddings.patch_embedding.weight    | embed.patch | d c p q -> c p q d
embeddings.position_embedding.weight | embed.position
{norm("pre_layrnorm", "embed.norm")}
{BLOCKS}
{norm("post_layernorm", "pooler.norm")}
"""

    patch_size: int | tuple[int, ...] = 32

    def patches(self):
        return replace(super().patches(), bias=False, norm=self.layer_norm)

    def pooler(self, head):
        return TokenPooler(self.hidden_size, self.layer_norm)


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(ProjectedDualConfig):
    """The configs of the towers, and what compares them."""

    model_type = "clip"
    HEADS = {"CLIPModel": "contrastive", **heads_of("CLIP", "image_classification")}
    POOLED = Behind(1)

    text_config: FamilyConfig = field(default_factory=CLIPTextConfig)
    vision_config: FamilyConfig = field(default_factory=CLIPVisionConfig)
    initializer_factor: float = 1.0

    @property
    def initial(self):
        return InitialCLIP(factor=self.initializer_factor)
