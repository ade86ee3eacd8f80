"""Mistral 7B (Jiang et al. 2023): Llama, whose tokens attend to a window. Hugging Face model_type
"mistral"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.layer_types import Windowed


@dataclass(frozen=True, kw_only=True)
class MistralConfig(Windowed, LlamaConfig):
    """The fields of a Mistral config.json; defaults are Mistral 7B. Differs from Llama: each token
    attends to the last `sliding_window` tokens, itself included, and there are no biases."""

    model_type = "mistral"
    PREFIXES = {}
    HEADS = heads_of("Mistral", "none", "causal_lm", *LABELLING)
    attention_bias: ClassVar[bool] = False  # type: ignore[misc]
    mlp_bias: ClassVar[bool] = False  # type: ignore[misc]

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096
