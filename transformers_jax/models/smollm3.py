"""SmolLM3 (Bakouch et al. 2025): Llama, of whose layers each fourth has no rotation (Yang et al.
2025, "RoPE to NoPE and back again"). Hugging Face model_type "smollm3"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from transformers_jax.models.config import Frozen
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.layer_types import EVERY, WINDOW, Windowed


@dataclass(frozen=True, kw_only=True)
class SmolLM3Config(Windowed, LlamaConfig):
    """The fields of a SmolLM3 config.json; defaults are SmolLM3 3B. Differs from Llama: layers
    where `no_rope_layers` has a 0 have no rotation, or each `no_rope_layer_interval`-th; those have
    windows where `use_sliding_window` is on, unless `layer_types` says which do."""

    model_type = "smollm3"
    UNUSED = frozenset({"max_window_layers"})
    HEADS = heads_of("SmolLM3", "none", "causal_lm", *LABELLING)
    BASE: ClassVar[float] = 2e6

    vocab_size: int = 128256
    hidden_size: int = 2048
    num_hidden_layers: int = 36
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 4
    max_position_embeddings: int = 32768
    rope_parameters: Frozen = Frozen({"rope_type": "default", "rope_theta": BASE})
    no_rope_layers: tuple[int, ...] | None = None
    no_rope_layer_interval: int = 4
    use_sliding_window: bool = False
    sliding_window: int | None = None
    layer_types: tuple[str, ...] | None = None
    bos_token_id: int | None = 128000
    eos_token_id: int | tuple[int, ...] | None = 128001
    pad_token_id: int | None = 128004
    tie_word_embeddings: bool = True

    def __post_init__(self):
        super().__post_init__()
        listed, depth = self.no_rope_layers, self.num_hidden_layers
        if listed is not None and (len(listed) < depth or {*listed} - {0, 1}):
            raise ValueError(
                f"SmolLM3Config: no_rope_layers {list(listed)}: expected 1 (a rotation) or 0 "
                f"(none) for each of the {depth} layers (num_hidden_layers)"
            )

    def turns(self, number: int) -> bool:
        """Whether a layer has a rotation."""
        if self.no_rope_layers is not None:
            return self.no_rope_layers[number : number + 1] != (0,)
        return (number + 1) % self.no_rope_layer_interval > 0

    @property
    def usual_types(self):
        windows = self.use_sliding_window and self.sliding_window is not None
        depth = range(self.num_hidden_layers)
        return tuple(WINDOW if windows and not self.turns(n) else EVERY for n in depth)

    def rotates(self, number):
        return super().rotates(number) if self.turns(number) else None
