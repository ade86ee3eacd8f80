"""The text model of Gemma 3 (Kamath et al. 2025): one layer in six attends to every token, with a
rotation of its own. Hugging Face model_type "gemma3_text"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.config import Frozen
from transformers_jax.models.gemma2 import Gemma2Config
from transformers_jax.models.qwen3 import NORMS
from transformers_jax.models.shared.layer_types import EVERY, WINDOW, both_ways, causal, repeated
from transformers_jax.models.shared.rope import most_positions, rope_by_type, rotary

BASES = {EVERY: 1e6, WINDOW: 1e4}  # section 2.1
OLD_BASES = {EVERY: "rope_theta", WINDOW: "rope_local_base_freq"}


@dataclass(frozen=True, kw_only=True)
class Gemma3TextConfig(Gemma2Config):
    """The fields of a Gemma 3 config.json of the text model; defaults are those of the reference.
    Differs from Gemma 2: each head of queries and keys is normalised, layers of windows have a
    rotation of their own, and `use_bidirectional_attention` lets every token attend to those on
    both sides (of a window, to half of it on each).

    `attn_logit_softcapping` is not read, as in the reference, whose attention has no cap.
    """

    model_type = "gemma3_text"
    UNUSED = Gemma2Config.UNUSED | {"attn_logit_softcapping", "_sliding_window_pattern"}
    ROWS = Gemma2Config.ROWS + NORMS
    HEADS = {
        "Gemma3TextModel": "none",
        "Gemma3ForCausalLM": "causal_lm",
        "Gemma3TextForSequenceClassification": "sequence_classification",
    }
    EVERY_TOKEN: ClassVar[int] = 6
    TWO_SIDED: ClassVar[bool] = True
    attn_logit_softcapping: ClassVar[float | None] = None  # type: ignore[misc]

    vocab_size: int = 262208
    max_position_embeddings: int = 131072
    final_logit_softcapping: float | None = None
    use_bidirectional_attention: bool | None = False
    rope_parameters: Frozen = Frozen(
        {kind: {"rope_type": "default", "rope_theta": base} for kind, base in BASES.items()}
    )

    @classmethod
    def modernise(cls, values):
        every = values.pop("sliding_window_pattern", None)
        if every is not None and values.get("layer_types") is None:
            depth = values.get("num_hidden_layers", cls.num_hidden_layers)
            values["layer_types"] = list(repeated(depth, every))
        bases = {kind: values.pop(name, None) or BASES[kind] for kind, name in OLD_BASES.items()}
        rope = rope_by_type("Gemma3TextConfig", values, bases, scaled=(EVERY,))
        return {**super().modernise(values), "rope_parameters": rope}

    @property
    def stated_positions(self):
        return most_positions(self.rope_parameters[EVERY], self.max_position_embeddings)

    def rotates(self, number):
        return rotary(self.rope_parameters[self.types[number]], self.max_position_embeddings)

    def attends(self, number, mask):
        return replace(super().attends(number, mask), norm=self.norm)

    def sees(self, number):
        reaches = both_ways if self.use_bidirectional_attention else causal
        return reaches(self.window(number))
