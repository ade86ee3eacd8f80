"""BlenderBot-small (Roller et al. 2020, 90M). Hugging Face model_type "blenderbot-small".

BART's post-norm network with positions from row 0 on. The decoder normalises the words, unscaled,
before their positions are added; the encoder normalises the sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bart import BartConfig
from transformers_jax.models.shared.class_names import WRITING, heads_of


@dataclass(frozen=True, kw_only=True)
class BlenderbotSmallConfig(BartConfig):
    """The fields of a BlenderBot-small config.json; with 54944 words and `scale_embedding` the
    defaults are blenderbot_small-90M (88M)."""

    model_type = "blenderbot-small"
    INPUT_IDS_SHIFTED = False
    LABELS = 2
    FIXED = {
        **BartConfig.FIXED,
        "do_blenderbot_90_layernorm": True,
        "extra_pos_embeddings": 0,
        "layernorm_variant": "xlm",
    }
    HEADS = heads_of("BlenderbotSmall", *WRITING)

    max_position_embeddings: int = 512
    d_model: int = 512
    encoder_layers: int = 8
    encoder_ffn_dim: int = 2048
    decoder_layers: int = 8
    decoder_ffn_dim: int = 2048
    bos_token_id: int | None = 1
    pad_token_id: int | None = 0
    decoder_start_token_id: int | None = 1

    def embed(self, decoder):
        embed = replace(super().embed(decoder), positions=self.max_position_embeddings, offset=0)
        return replace(embed, normed="words", scale=1.0) if decoder else embed
