"""DeiT (Touvron et al. 2020): ViT with a second token, which learns from a teacher. Hugging Face
model_type "deit"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.models.vit import ViTConfig
from transformers_jax.nn import head as heads

TAUGHT = "image_classification_with_teacher"


@dataclass(frozen=True, kw_only=True)
class DeiTConfig(ViTConfig):
    """The fields of a DeiT config.json; defaults are DeiT-B/16 with a distillation token (87M)."""

    model_type = "deit"
    PREFIX = "deit."
    ROWS = f"""
embeddings.distillation_token | embed.distillation | 1 1 d -> d
{ViTConfig.ROWS}
"""
    HEADS = heads_of("DeiT", *IMAGE, DeiTForImageClassificationWithTeacher=TAUGHT)

    def patches(self):
        return replace(super().patches(), front=("cls", "distillation"))

    def head_rows(self, head, tied):
        if head != TAUGHT:
            return super().head_rows(head, tied)
        own = layer("cls_classifier", "head.classify")
        return own + layer("distillation_classifier", "head.distilled")

    def head(self, head):
        if head == TAUGHT:
            return heads.Distilled(self.hidden_size, self.num_labels, self.initial)
        return super().head(head)
