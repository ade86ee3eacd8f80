"""Granite 3 (Shen et al. 2024, Power Scheduler): Llama with four multipliers. Hugging Face
model_type "granite"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.nn.residual import Factor


@dataclass(frozen=True, kw_only=True)
class GraniteConfig(LlamaConfig):
    """The fields of a Granite config.json; defaults are those of the reference. Differs from Llama:
    embeddings, scores of attention and what joins the stream are multiplied, and logits divided, by
    numbers of the config."""

    model_type = "granite"
    HEADS = heads_of("Granite", "none", "causal_lm")

    embedding_multiplier: float = 1.0
    attention_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not self.logits_scaling:
            raise ValueError(
                "GraniteConfig: logits_scaling=0: logits are divided by it; expected another number"
            )

    def attends(self, number, mask):
        return replace(super().attends(number, mask), scale=self.attention_multiplier)

    def block(self, number, mask):
        factor = Factor(self.residual_multiplier)
        return tuple(replace(each, residual=factor) for each in super().block(number, mask))

    def embed(self):
        return replace(super().embed(), scale=self.embedding_multiplier, scales="all")

    @property
    def words(self):
        return {"scale": 1 / self.logits_scaling}
