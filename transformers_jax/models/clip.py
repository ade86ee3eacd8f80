"""CLIP (Radford et al. 2021): a tower for texts and one for images. Hugging Face model_type "clip";
each tower apart is "clip_text_model" and "clip_vision_model"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from transformers_jax.graph import CAUSAL, FULL, Mask, given
from transformers_jax.hub.table import BACKBONE, Table, rows
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.weight_rows import (
    S,
    attention,
    backbone,
    dense,
    nested,
    norm,
    of_heads,
)
from transformers_jax.models.wiring import DualEncoder, OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, PatchEmbedder, PatchSpec, pair
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Draw, Initial, LayerNorm, StackSpec


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
class CLIPTower(OneTower):
    """What both towers share.

    Class attributes:
        SIDE: the names of the tower, of its projection and of the head's field in files.
        OTHERS: what a file of both towers holds beside this one.
        EMBEDDINGS: the rows that the other tower does not have.
    """

    SIDE: ClassVar[tuple[str, str, str]]
    OTHERS: ClassVar[tuple[str, ...]]
    EMBEDDINGS: ClassVar[str]
    FIXED = {"dropout": 0.0}

    hidden_size: int = 512
    intermediate_size: int = 2048
    projection_dim: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0

    @property
    def initial(self) -> InitialCLIP:
        """The rule of first weights."""
        std, depth = self.initializer_range, self.num_hidden_layers
        return InitialCLIP(std, depth=depth, factor=self.initializer_factor)

    def stack(self, mask: Mask, last: LayerNorm | None) -> StackSpec:
        """Pre-norm blocks."""
        width, layer_norm = self.hidden_size, LayerNorm(self.layer_norm_eps)
        attend = AttentionSpec(
            heads=self.num_attention_heads,
            kv=self.head_width("hidden_size", "num_attention_heads"),
            mask=mask,
            bias=("query", "key", "value", "out"),
            dropout=self.attention_dropout,
        )
        ffn = FeedForwardSpec(self.intermediate_size, self.hidden_act)
        block = (Branch("self", attend, layer_norm), Branch("ffn", ffn, layer_norm))
        blocks = (block,) * self.num_hidden_layers
        return StackSpec(width, blocks, last, norm_hidden=False, initial=self.initial)

    def head(self, head):
        size, field = self.projection_dim, self.SIDE[2]
        projected = heads.Projected(self.hidden_size, size, self.initial, field)
        return None if head == "none" else projected

    def table(self, head) -> Table:
        tower, projection, _ = self.SIDE
        row = f"{projection}.weight | head.projection.weight | e d -> d e"
        text = (BLOCKS + self.EMBEDDINGS).replace("tower.", f"{tower}.")
        return Table(
            (*backbone(text), *of_heads({"projection": row}, head)),
            prefix=f"{tower}.",
            ignore=("*.position_ids", *self.OTHERS),
        )


@dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(CLIPTower):
    """The fields of a CLIP text config.json; defaults are those of ViT-B/32 (63M)."""

    model_type = "clip_text_model"
    SIDE = ("text_model", "text_projection", "text_embeds")
    OTHERS = ("vision_model.*", "visual_projection.weight", "logit_scale")
    HEADS = {"CLIPTextModel": "none", "CLIPTextModelWithProjection": "projection"}
    EMBEDDINGS: ClassVar[str] = """
tower.embeddings.token_embedding.weight    | embed.table
tower.embeddings.position_embedding.weight | embed.position
""" + norm("tower.final_layer_norm", "stack.norm")

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int | tuple[int, ...] | None = 49407

    def embed(self) -> EmbedSpec:
        """Words + positions."""
        positions = self.max_position_embeddings
        return EmbedSpec(
            self.vocab_size, self.hidden_size, positions=positions, initial=self.initial
        )

    def spec(self, mask=None) -> StackSpec:
        """Each token attends to those before it."""
        return self.stack(given(mask, CAUSAL), LayerNorm(self.layer_norm_eps))

    def pooler(self, head):
        # the first files say 2, which is not the token that ends their texts
        end: Any = "largest" if self.eos_token_id == 2 else self.eos_token_id
        return heads.TokenPooler(self.hidden_size, end=end)


@dataclass(frozen=True, kw_only=True)
class CLIPVisionConfig(CLIPTower):
    """The fields of a CLIP vision config.json; defaults are those of ViT-B/32 (88M)."""

    model_type = "clip_vision_model"
    SIDE = ("vision_model", "visual_projection", "image_embeds")
    OTHERS = ("text_model.*", "text_projection.weight", "logit_scale")
    HEADS = {"CLIPVisionModel": "none", "CLIPVisionModelWithProjection": "projection"}
    EMBEDDINGS: ClassVar[str] = (
        """
tower.embeddings.class_embedding           | embed.cls
tower.embeddings.patch_embedding.weight    | embed.patch | d c p q -> c p q d
tower.embeddings.position_embedding.weight | embed.position
"""
        + norm("tower.pre_layrnorm", "embed.norm")
        + norm("tower.post_layernorm", "pooler.norm")
    )

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    image_size: int | tuple[int, ...] = 224
    patch_size: int | tuple[int, ...] = 32
    num_channels: int = 3

    def embedder(self, head):
        image, patch = pair(self.image_size), pair(self.patch_size)
        normed = dict(bias=False, norm=LayerNorm(self.layer_norm_eps), initial=self.initial)
        return PatchEmbedder(PatchSpec(image, patch, self.num_channels, self.hidden_size, **normed))

    def spec(self, mask=None) -> StackSpec:
        """Every patch attends to every patch."""
        return self.stack(given(mask, FULL), None)

    def pooler(self, head):
        return heads.TokenPooler(self.hidden_size, LayerNorm(self.layer_norm_eps))


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(CompositeConfig):
    """The configs of the towers, and what compares them."""

    model_type = "clip"
    PARTS = ("text_config", "vision_config")
    HEADS = {"CLIPModel": "contrastive"}

    text_config: FamilyConfig = field(default_factory=CLIPTextConfig)
    vision_config: FamilyConfig = field(default_factory=CLIPVisionConfig)
    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592
    initializer_factor: float = 1.0

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        """The older `text_config_dict` and `vision_config_dict` stand for the whole of a tower:
        what they leave out is as the family has it, as in the reference."""
        values = dict(values)
        for name in cls.PARTS:
            if (older := values.pop(f"{name}_dict", None)) is not None:
                values[name] = {"model_type": PART_TYPES[name], **older}
        return super().from_dict(values, ignore=ignore)

    def mask_names(self, head):
        return ("text", "vision")

    def build(self, head, execution, mask=None) -> DualEncoder:
        masks, towers = by_stack(mask, "text"), {}
        for name, inner in (("text", self.text_config), ("vision", self.vision_config)):
            towers[name] = inner.build("none", execution, masks.get(name)).last
        text, vision = (tower.stack.spec.width for tower in towers.values())
        scale, initial = self.logit_scale_init_value, InitialCLIP(factor=self.initializer_factor)
        compare = heads.Contrastive(text, vision, self.projection_dim, initial, scale)
        return DualEncoder(towers, compare)

    def table(self, head) -> Table:
        every = rows(SHARED)
        for name, inner in (("text", self.text_config), ("vision", self.vision_config)):
            parts = {"embed": f"{name}_embed", "stack": name, "pooler": f"{name}_pooler"}
            own = nested(inner.table("none"), "", parts).rows
            every += tuple(row for row in own if row.group == BACKBONE)
        return Table(every, ignore=("*.position_ids",))


PART_TYPES = {"text_config": "clip_text_model", "vision_config": "clip_vision_model"}
L = "tower.encoder.layers.{i}"
BLOCKS = "".join((
    norm(f"{L}.layer_norm1", f"{S}.self_norm"),
    attention(f"{L}.self_attn", f"{S}.self", "q_proj k_proj v_proj out_proj"),
    norm(f"{L}.layer_norm2", f"{S}.ffn_norm"),
    dense(f"{L}.mlp.fc1", f"{S}.ffn.up"),
    dense(f"{L}.mlp.fc2", f"{S}.ffn.down", "d f -> f d"),
))  # fmt: skip
SHARED = """
logit_scale              | head.scale
text_projection.weight   | head.text.weight   | e d -> d e
visual_projection.weight | head.vision.weight | e d -> d e
"""
