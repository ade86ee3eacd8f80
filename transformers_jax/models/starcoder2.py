"""StarCoder2 (Lozhkov et al. 2024): Mistral with LayerNorms, biases and a plain MLP. Hugging Face
model_type "starcoder2"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.llama import L
from transformers_jax.models.mistral import MistralConfig
from transformers_jax.models.shared.blocks import BIASES, block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import S, block_rows, norm
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import LayerNorm

PROJECTIONS = "q_proj k_proj v_proj o_proj"
NORMS = "input_layernorm post_attention_layernorm"


@dataclass(frozen=True, kw_only=True)
class Starcoder2Config(MistralConfig):
    """The fields of a StarCoder2 config.json; defaults are StarCoder2 3B. Differs from Mistral:
    norms are LayerNorms, every projection may have a bias, and the MLP has no gate."""

    model_type = "starcoder2"
    FIXED = {"mlp_type": "default", "norm_type": "layer_norm", "attention_type": "group"}
    UNUSED = frozenset(
        """activation_function attention_softmax_in_fp32 layer_norm_epsilon
        scale_attention_softmax_in_fp32 scale_attn_weights""".split()
    )
    ROWS = "".join(
        (
            "embed_tokens.weight | embed.table",
            block_rows(L, S, "self_attn", PROJECTIONS, "mlp.c_fc mlp.c_proj", NORMS),
            norm("norm", "stack.norm"),
        )
    )
    HEADS = heads_of(
        "Starcoder2", "none", "causal_lm", "sequence_classification", "token_classification"
    )
    rms_norm_eps: ClassVar[float] = 0.0  # type: ignore[misc]

    vocab_size: int = 49152
    hidden_size: int = 3072
    intermediate_size: int = 12288
    num_hidden_layers: int = 30
    num_attention_heads: int = 24
    num_key_value_heads: int | None = 2
    hidden_act: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 4096
    initializer_range: float = 0.018042
    norm_epsilon: float = 1e-5
    sliding_window: int | None = None
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    use_bias: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256
    tie_word_embeddings: bool = True

    @property
    def norm(self):
        """Every norm of the model."""
        return LayerNorm(self.norm_epsilon)

    @property
    def biases(self):
        return BIASES if self.use_bias else ()

    def block(self, number, mask):
        own, ffn = self.attends(number, mask), self.computes(number)
        return block(own, ffn, self.norm, dropout=self.residual_dropout)

    def computes(self, number):
        return FeedForwardSpec(self.intermediate_size, self.hidden_act, bias=self.use_bias)

    def embed(self):
        return replace(super().embed(), dropout=self.embedding_dropout)
