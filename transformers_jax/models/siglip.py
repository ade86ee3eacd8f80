"""SigLIP (Zhai et al. 2023): a tower for texts and one for images, whose pairs are judged one by
one. Hugging Face model_type "siglip"; each tower apart is "siglip_text_model" and
"siglip_vision_model"."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.dual import DualConfig, DualTower
from transformers_jax.models.shared.standard import ImageTower, TextTower
from transformers_jax.models.shared.weight_rows import (
    HEADS_IN,
    PROJECTIONS,
    S,
    block_rows,
    dense,
    feed_forward,
    layer,
    norm,
)
from transformers_jax.nn import head as heads
from transformers_jax.spec import Draw, Initial


@dataclass(frozen=True)
class InitialSiglip(Initial):
    """Glorot and Bengio 2010, uniform, for attention, its probe and MLPs; embeddings and positions
    are normal(D^-0.5), what else is a matrix is normal(fan-in^-0.5) within two deviations (the
    released code, "big_vision")."""

    def draw(self, role, sizes):
        width = sizes["embed"]
        if role in ("table", "position"):
            return Draw("normal", width**-0.5)
        if role in ("patch", "head"):
            patch = ("channels", "patch_height", "patch_width")
            fan = width if role == "head" else math.prod(sizes[name] for name in patch)
            return Draw("normal", fan**-0.5 / CUT_DEVIATION, cut=2.0)
        fans = width + (sizes["mlp"] if role in ("up", "down") else width)
        return Draw("uniform", math.sqrt(6 / fans))


CUT_DEVIATION = 0.87962566103423978  # of a normal distribution within two deviations
L = "encoder.layers.{i}"
BLOCKS = block_rows(L, S, "self_attn", PROJECTIONS, "mlp.fc1 mlp.fc2", "layer_norm1 layer_norm2")


@dataclass(frozen=True, kw_only=True)
class SiglipTower(DualTower):
    """What both towers share."""

    initializer_range: ClassVar[float] = 0.02  # type: ignore[misc]  # no field here

    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6

    @property
    def initial(self) -> InitialSiglip:
        """The rule of first weights."""
        return InitialSiglip()

    def spec(self, mask=None):
        """Pre-norm blocks in which every token attends to every token."""
        return replace(self.stack(mask), final_norm=self.layer_norm)


@dataclass(frozen=True, kw_only=True)
class SiglipTextConfig(SiglipTower, TextTower):
    """The fields of a SigLIP text config.json; defaults are those of base-patch16 (110M). A text is
    its last token, which may be padding: texts are filled up to `max_position_embeddings`."""

    model_type = "siglip_text_model"
    HEADS = heads_of("SiglipText", "none")
    ROWS = f"""
embeddings.token_embedding.weight    | embed.table
embeddings.position_embedding.weight | embed.position
{BLOCKS}
{norm("final_layer_norm", "stack.norm")}
{layer("head", "pooler.project")}
"""

    vocab_size: int = 32000
    max_position_embeddings: int = 64
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int | tuple[int, ...] | None = 49407
    projection_size: int | None = None

    def pooler(self, head):
        width = self.hidden_size
        project = heads.Dense(width, self.projection_size or width, "inner", self.initial)
        return heads.TokenPooler(width, pooling="end", project=project)


FUSED = "pooler.attention.query{0} pooler.attention.key{0} pooler.attention.value{0}"
POOLER = f"""
head.probe                    | pooler.probe | 1 1 d -> d
head.attention.in_proj_weight | {FUSED.replace("{0}", "")} | (n h k) d -> n d h k
head.attention.in_proj_bias   | {FUSED.replace("{0}", "_bias")} | (n h k) -> n h k
{dense("head.attention.out_proj", "pooler.attention.out", HEADS_IN)}
{norm("head.layernorm", "pooler.norm")}
{feed_forward("head", "pooler.ffn", "mlp.fc1 mlp.fc2")}
"""


def attention_pooler(config: SiglipTower) -> heads.AttentionPooler:
    """The vector of an image, of the sizes of a layer of its tower."""
    parts = (config.attend(None), config.feed_forward(), config.layer_norm, config.initial)
    return heads.AttentionPooler(config.hidden_size, *parts)


@dataclass(frozen=True, kw_only=True)
class SiglipVisionConfig(SiglipTower, ImageTower):
    """The fields of a SigLIP vision config.json; defaults are those of base-patch16-224 (93M). An
    image is what one learned query reads of its patches."""

    model_type = "siglip_vision_model"
    HEADS = heads_of("SiglipVision", "none")
    ROWS = f"""
embeddings.patch_embedding.weight    | embed.patch | d c p q -> c p q d
embeddings.patch_embedding.bias      | embed.patch_bias
embeddings.position_embedding.weight | embed.position
{BLOCKS}
{norm("post_layernorm", "stack.norm")}
{POOLER}
"""

    vision_use_head: bool = True

    def patches(self):
        return replace(super().patches(), front=())

    def pooler(self, head):
        return attention_pooler(self) if self.vision_use_head else None


@dataclass(frozen=True, kw_only=True)
class SiglipConfig(DualConfig):
    """The configs of the towers. Scores begin as in section 3.2 of the paper: 10 times the cosine,
    minus 10."""

    model_type = "siglip"
    HEADS = {"SiglipModel": "contrastive", **heads_of("Siglip", "image_classification")}

    text_config: FamilyConfig = field(default_factory=SiglipTextConfig)
    vision_config: FamilyConfig = field(default_factory=SiglipVisionConfig)
    initializer_factor: float = 1.0

    @property
    def initial(self):
        vision: Any = self.vision_config
        return Initial(self.initializer_factor * vision.hidden_size**-0.5)

    def compare(self, text, vision):
        config: Any = self.text_config
        size = config.projection_size or text
        if size != vision:
            raise ValueError(
                f"{type(self).__name__}: texts have {size} numbers "
                f"(text_config.projection_size) and images {vision} (vision_config.hidden_size), "
                "which are compared; give both as many"
            )
        return heads.SigmoidContrastive(scale=math.log(10), bias=-10.0)

    def compare_rows(self):
        return "logit_scale | head.scale | 1 ->\nlogit_bias | head.bias | 1 ->"
