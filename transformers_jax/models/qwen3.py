"""Qwen3 (Yang et al. 2025): queries and keys are normalised. Hugging Face model_type "qwen3"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.llama import L, LlamaConfig
from transformers_jax.models.qwen2 import Qwen2Config
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.weight_rows import S, norm

NORMS = "".join(
    norm(f"{L}.self_attn.{name}_norm", f"{S}.self.{role}_norm", bias=False)
    for name, role in (("q", "query"), ("k", "key"))
)


@dataclass(frozen=True, kw_only=True)
class Qwen3Config(Qwen2Config):
    """The fields of a Qwen3 config.json; defaults are those of the reference. Differs from Qwen2:
    each head of queries and keys is normalised, and attention has biases only where
    `attention_bias` says so."""

    model_type = "qwen3"
    ROWS = LlamaConfig.ROWS + NORMS
    HEADS = heads_of("Qwen3", "none", "causal_lm", *LABELLING)

    head_dim: int | None = 128
    attention_bias: bool = False  # type: ignore[misc]

    @property
    def biases(self):
        return BIASES if self.attention_bias else ()

    def attends(self, number, mask):
        return replace(super().attends(number, mask), norm=self.norm)
