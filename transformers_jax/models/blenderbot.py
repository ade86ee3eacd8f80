"""BlenderBot (Roller et al. 2020). Hugging Face model_type "blenderbot".

A small encoder and a deep decoder of pre-norm blocks, with learned positions and no norm of the
embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bart import BARE_PRE_NORM, BartConfig
from transformers_jax.models.shared.class_names import WRITING, heads_of


@dataclass(frozen=True, kw_only=True)
class BlenderbotConfig(BartConfig):
    """The fields of a BlenderBot config.json; defaults are BlenderBot-3B."""

    model_type = "blenderbot"
    PLACEMENT = "pre"
    INPUT_IDS_SHIFTED = False
    LABELS = 2
    FIXED = {
        **BartConfig.FIXED,
        **BARE_PRE_NORM,
        "extra_pos_embeddings": 0,
        "layernorm_variant": "prelayernorm",
    }
    HEADS = heads_of("Blenderbot", *WRITING)

    vocab_size: int = 8008
    max_position_embeddings: int = 128
    d_model: int = 2560
    encoder_layers: int = 2
    encoder_ffn_dim: int = 10240
    encoder_attention_heads: int = 32
    decoder_layers: int = 24
    decoder_ffn_dim: int = 10240
    decoder_attention_heads: int = 32
    bos_token_id: int | None = 1
    pad_token_id: int | None = 0
    decoder_start_token_id: int | None = 1
    encoder_no_repeat_ngram_size: int = 3

    def embed(self, decoder):
        positions = self.max_position_embeddings
        return replace(super().embed(decoder), positions=positions, offset=0, norm=None)
