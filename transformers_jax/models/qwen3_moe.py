"""Qwen3-MoE (Yang et al. 2025): Qwen3 with experts. Hugging Face model_type "qwen3_moe"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.qwen2_moe import Qwen2MoeConfig
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.layer_types import EVERY, WINDOW
from transformers_jax.models.shared.weight_rows import S, norm

L = "layers.{i}.self_attn"
NORMS = norm(f"{L}.q_norm", f"{S}.self.query_norm", bias=False)
NORMS += norm(f"{L}.k_norm", f"{S}.self.key_norm", bias=False)


@dataclass(frozen=True, kw_only=True)
class Qwen3MoeConfig(Qwen2MoeConfig):
    """The fields of a Qwen3-MoE config.json; defaults are those of the reference. Differs from
    Qwen2-MoE: queries and keys are normalised per head and have no biases, no expert serves every
    token, and windows are those of all layers."""

    model_type = "qwen3_moe"
    PREFIXES = LlamaConfig.PREFIXES
    SPELLINGS = {"num_local_experts": "num_experts"}
    UNUSED = frozenset({"max_window_layers"})
    ROWS = Qwen2MoeConfig.ROWS + NORMS
    FUSED = Qwen2MoeConfig.FUSED + NORMS
    HEADS = heads_of("Qwen3Moe", "none", "causal_lm", *LABELLING)
    layer_types: ClassVar[tuple[str, ...] | None] = None  # type: ignore[misc]  # no fields here
    max_window_layers: ClassVar[int] = 0  # type: ignore[misc]
    qkv_bias: ClassVar[bool] = False  # type: ignore[misc]
    shared_expert_intermediate_size: ClassVar[int] = 0  # type: ignore[misc]
    shared: ClassVar[None] = None

    intermediate_size: int = 6144
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 4
    attention_bias: bool = False  # type: ignore[misc]
    num_experts: int = 128
    num_experts_per_tok: int = 8
    moe_intermediate_size: int = 768

    @property
    def types(self):
        kind = WINDOW if self.use_sliding_window and self.sliding_window is not None else EVERY
        return (kind,) * self.num_hidden_layers

    def attends(self, number, mask):
        bias = BIASES if self.attention_bias else ()
        return replace(super().attends(number, mask), norm=self.norm, bias=bias)
