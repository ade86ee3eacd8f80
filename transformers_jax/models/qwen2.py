"""Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases of queries, keys and values. Hugging Face
model_type "qwen2"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.mistral import MistralConfig
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.layer_types import EVERY, WINDOW


@dataclass(frozen=True, kw_only=True)
class Qwen2Config(MistralConfig):
    """The fields of a Qwen2 config.json; defaults are those of the reference. Differs from Mistral:
    queries, keys and values have biases, and windows are those of the layers that `layer_types`
    names, or of all from `max_window_layers` on where `use_sliding_window` is on."""

    model_type = "qwen2"
    FIXED = {"use_mrope": False}
    PREFIXES = LlamaConfig.PREFIXES
    HEADS = heads_of("Qwen2", "none", "causal_lm", *LABELLING)

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    use_sliding_window: bool = False
    max_window_layers: int = 28
    layer_types: tuple[str, ...] | None = None
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None

    def to_dict(self):
        # the reference takes the key, where it is there, and None is no width
        width = self.head_dim or self.head_width("hidden_size", "num_attention_heads")
        return {**super().to_dict(), "head_dim": width}

    @property
    def usual_types(self):
        depth, windows = self.num_hidden_layers, self.sliding_window is not None
        first = self.max_window_layers if self.use_sliding_window and windows else depth
        return tuple(EVERY if number < first else WINDOW for number in range(depth))

    @property
    def biases(self):
        return ("query", "key", "value")
