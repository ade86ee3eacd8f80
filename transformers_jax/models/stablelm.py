"""StableLM (Tow et al. 2023, StableLM 3B 4E1T; Bellagente et al. 2024, StableLM 2 1.6B): Llama with
LayerNorms, of whose heads a part is rotated. Hugging Face model_type "stablelm"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.config import Frozen
from transformers_jax.models.llama import L, LlamaConfig
from transformers_jax.models.shared.blocks import in_parallel
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.rope import rotary
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import S
from transformers_jax.spec import LayerNorm, OfHeads

ROTATED = 0.25  # of each head, where a file does not say it


@dataclass(frozen=True, kw_only=True)
class StableLmConfig(LlamaConfig):
    """The fields of a StableLM config.json; defaults are StableLM 3B. Differs from Llama: norms are
    LayerNorms, a part of each head is rotated, queries, keys and values may have biases, and each
    head of queries and keys a norm of its own; with `use_parallel_residual` both branches read
    the same norm."""

    model_type = "stablelm"
    ROWS = (
        LlamaConfig.ROWS
        + f"""
{L}.self_attn.q_layernorm.norms.{{e}}.weight | {S}.self.query_norm.scale
{L}.self_attn.k_layernorm.norms.{{e}}.weight | {S}.self.key_norm.scale
"""
    )
    HEADS = heads_of(
        "StableLm", "none", "causal_lm", "sequence_classification", "token_classification"
    )
    head_dim: ClassVar[int | None] = None  # type: ignore[misc]
    rms_norm_eps: ClassVar[float] = 0.0  # type: ignore[misc]
    attention_bias: ClassVar[bool] = False  # type: ignore[misc]
    mlp_bias: ClassVar[bool] = False  # type: ignore[misc]

    vocab_size: int = 50304
    hidden_size: int = 2560
    intermediate_size: int = 6912
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 4096
    layer_norm_eps: float = 1e-5
    rope_parameters: Frozen = Frozen(
        {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": ROTATED}
    )
    use_qkv_bias: bool = False
    qk_layernorm: bool = False
    use_parallel_residual: bool = False
    hidden_dropout: float = 0.0
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 0

    @classmethod
    def modernise(cls, values):
        values.setdefault("partial_rotary_factor", ROTATED)
        return super().modernise(values)

    @property
    def norm(self):
        """Every norm of the stream."""
        return LayerNorm(self.layer_norm_eps)

    @property
    def biases(self):
        return ("query", "key", "value") if self.use_qkv_bias else ()

    @property
    def classifier_rate(self):
        return first_of(self.classifier_dropout, self.hidden_dropout)

    def block(self, number, mask):
        attends, computes = super().block(number, mask)
        one = (attends, replace(computes, dropout=self.hidden_dropout))
        return in_parallel(one, norms=1) if self.use_parallel_residual else one

    def attends(self, number, mask):
        own = super().attends(number, mask)
        of_heads = OfHeads(LayerNorm(self.layer_norm_eps, shift=False), together=False)
        return replace(own, norm=of_heads) if self.qk_layernorm else own

    def rotates(self, number):
        return rotary(self.rope_parameters, self.max_position_embeddings)
