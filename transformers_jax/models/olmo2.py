"""OLMo 2 (Walsh et al. 2024): norms behind the branches, and over all heads of queries and keys.
Hugging Face model_type "olmo2"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.llama import L, LlamaConfig
from transformers_jax.models.shared.blocks import block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import S, attention, feed_forward, norm
from transformers_jax.spec import OfHeads


@dataclass(frozen=True, kw_only=True)
class Olmo2Config(LlamaConfig):
    """The fields of an OLMo 2 config.json; defaults are those of the reference. Differs from Llama:
    each branch is normalised behind its operation and not in front, queries and keys are normalised
    over all heads at once (section 3.2)."""

    model_type = "olmo2"
    ROWS = f"""
embed_tokens.weight | embed.table
{attention(f"{L}.self_attn", f"{S}.self", "q_proj k_proj v_proj o_proj")}
{L}.self_attn.q_norm.weight | {S}.self.query_norm.scale | (h k) -> h k
{L}.self_attn.k_norm.weight | {S}.self.key_norm.scale   | (h k) -> h k
{norm(f"{L}.post_attention_layernorm", f"{S}.self_norm", bias=False)}
{feed_forward(f"{L}.mlp", f"{S}.ffn", "gate_proj up_proj down_proj")}
{norm(f"{L}.post_feedforward_layernorm", f"{S}.ffn_norm", bias=False)}
{norm("norm", "stack.norm", bias=False)}
"""
    HEADS = heads_of("Olmo2", "none", "causal_lm", "sequence_classification")
    mlp_bias: ClassVar[bool] = False  # type: ignore[misc]

    vocab_size: int = 50304
    rms_norm_eps: float = 1e-5
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = 50279
    pad_token_id: int | None = 1

    def block(self, number, mask):
        return block(self.attends(number, mask), self.computes(number), self.norm, "behind")

    def attends(self, number, mask):
        return replace(super().attends(number, mask), norm=OfHeads(self.norm, together=True))
