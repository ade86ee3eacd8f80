"""Gemma (Gemma Team 2024): a decoder like Llama. Hugging Face model_type "gemma"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.graph import CAUSAL, FULL
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.spec import RMSNorm


@dataclass(frozen=True, kw_only=True)
class GemmaConfig(LlamaConfig):
    """The fields of a Gemma config.json; defaults are Gemma 7B. Differs from Llama: the embeddings
    are multiplied by sqrt(D), norms multiply by 1 + scale, heads do not divide the width, and
    "gelu" means its approximation by tanh, as the released weights were trained."""

    model_type = "gemma"
    HEADS = heads_of(
        "Gemma", "none", "causal_lm", "sequence_classification", "token_classification"
    )
    mlp_bias: ClassVar[bool] = False  # type: ignore[misc]

    vocab_size: int = 256000
    hidden_size: int = 3072
    intermediate_size: int = 24576
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 16
    head_dim: int | None = 256
    hidden_act: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 8192
    use_bidirectional_attention: bool | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | tuple[int, ...] | None = 1
    tie_word_embeddings: bool = True

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        if (activation := values.pop("hidden_activation", None)) is not None:  # of v4
            values["hidden_act"] = activation
        return values

    def __post_init__(self):
        super().__post_init__()
        if self.hidden_act == "gelu":
            object.__setattr__(self, "hidden_act", "gelu_pytorch_tanh")

    @property
    def norm(self):
        """Every norm of the model."""
        return RMSNorm(self.rms_norm_eps, offset=1.0)

    def sees(self, number):
        return FULL if self.use_bidirectional_attention else CAUSAL

    def embed(self):
        """Words times sqrt(D), without positions."""
        return replace(super().embed(), scale=self.hidden_size**0.5)
