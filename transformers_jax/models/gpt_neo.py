"""GPT-Neo (Black et al. 2021). Hugging Face model_type "gpt_neo"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from transformers_jax.graph import CAUSAL, Near, with_own
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoders import SUMMARY, LayerNormDecoder

Kinds = tuple[Literal["global", "local"], ...]


@dataclass(frozen=True, kw_only=True)
class GPTNeoConfig(LayerNormDecoder):
    """The fields of a GPT-Neo config.json; defaults are GPT-Neo 1.3B. Scores are not scaled; every
    other layer attends to the last `window_size` tokens only, or as `attention_types` says."""

    model_type = "gpt_neo"
    UNUSED = SUMMARY
    SPELLINGS = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    SIZES = "hidden_size num_heads num_layers"
    INNER = "intermediate_size activation_function"
    RATES = ("embed_dropout", "attention_dropout", "resid_dropout")
    BIAS = ("out",)
    PREFIX = "transformer."
    NORMS = "ln_1 ln_2"
    ATTENTION = "attn.attention q_proj k_proj v_proj out_proj"
    MLP = "mlp.c_fc mlp.c_proj"
    HEADS = heads_of("GPTNeo", "none", "causal_lm", *LABELLING)

    vocab_size: int = 50257
    max_position_embeddings: int = 2048
    hidden_size: int = 2048
    num_layers: int = 24
    attention_types: tuple[tuple[Kinds, int], ...] = ((("global", "local"), 12),)
    attention_layers: Kinds = ()
    num_heads: int = 16
    intermediate_size: int | None = None
    window_size: int = 256
    activation_function: str = "gelu_new"
    resid_dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float | None = 0.1
    layer_norm_epsilon: float = 1e-5
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256

    def __post_init__(self):
        super().__post_init__()
        kinds = tuple(kind for pattern, times in self.attention_types for kind in pattern * times)
        if len(kinds) != self.num_layers or self.attention_layers not in ((), kinds):
            raise ValueError(
                f"GPTNeoConfig: attention_types={self.attention_types} says what {len(kinds)} "
                f"layers are, and there are {self.num_layers} (num_layers), of which "
                f"attention_layers says {self.attention_layers}; give [[[kind, ...], times], ...] "
                "for all of them, and no attention_layers"
            )
        object.__setattr__(self, "attention_layers", kinds)

    def spec(self, mask=None):
        """Layers of causal attention, of a window or not, and an MLP."""
        masks = {"global": CAUSAL, "local": CAUSAL & Near(left=self.window_size - 1)}
        layers = {
            kind: self.layer(replace(self.attend(with_own(mask, own)), scale=1.0))
            for kind, own in masks.items()
        }
        return self.stack(tuple(layers[kind] for kind in self.attention_layers))

    def embed(self):
        """Words + positions; types are looked up among the words."""
        return replace(super().embed(), positions=self.max_position_embeddings, types="words")

    def backbone(self):
        return super().backbone() + "\nwpe.weight | embed.position"
