"""GPT-J (Wang and Komatsuzaki 2021). Hugging Face model_type "gptj"."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.decoders import AS_GPT2, SUMMARY, LayerNormDecoder
from transformers_jax.spec import Rotary


@dataclass(frozen=True, kw_only=True)
class GPTJConfig(LayerNormDecoder):
    """The fields of a GPT-J config.json; defaults are GPT-J 6B. Attention and MLP are in parallel
    behind one norm; neighbouring numbers of a head are rotated, `rotary_dim` of them."""

    model_type = "gptj"
    FIXED = {"rotary": True, "scale_attn_weights": True}
    UNUSED = SUMMARY
    SPELLINGS = AS_GPT2
    SIZES = "n_embd n_head n_layer"
    INNER = "n_inner activation_function"
    BIAS = ()
    PREFIX = "transformer."
    WORDS_BIAS = True
    HEADS = heads_of("GPTJ", "none", "causal_lm", "sequence_classification", "question_answering")

    vocab_size: int = 50400
    n_positions: int = 2048
    n_embd: int = 4096
    n_layer: int = 28
    n_head: int = 16
    rotary_dim: int = 64
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256
    tie_word_embeddings: bool = False

    @property
    def stated_positions(self):
        return self.n_positions

    @property
    def rotation(self):
        kv = self.head_width("n_embd", "n_head")
        if self.rotary_dim > kv:
            raise ValueError(
                f"{type(self).__name__}: rotary_dim ({self.rotary_dim}) numbers of each head are "
                f"rotated, which has n_embd / n_head = {kv}; lower rotary_dim"
            )
        # above the quotient, of which the product with the width may be below the whole number
        return Rotary(1e4, math.nextafter(self.rotary_dim / kv, 2), interleaved=True)

    def embed(self):
        """Words without positions; types are looked up among the words."""
        return replace(super().embed(), types="words")
