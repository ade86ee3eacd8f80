"""M2M-100 (Fan et al. 2020) and NLLB-200 (NLLB Team 2022). Hugging Face model_type "m2m_100".

Pre-norm blocks, sinusoidal positions that are counted over the tokens that are no padding, and
nothing added to the logits. `forced_bos_token_id` is the code of the language to translate into.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bart import BARE_PRE_NORM, BartConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.nn.sinusoidal import Sinusoids


@dataclass(frozen=True, kw_only=True)
class M2M100Config(BartConfig):
    """The fields of an M2M-100 config.json; defaults are m2m100_418M (484M with its words)."""

    model_type = "m2m_100"
    PLACEMENT = "pre"
    BIAS = False
    INPUT_IDS_SHIFTED = False
    LABELS = 2
    FIXED = {**BARE_PRE_NORM, "static_position_embeddings": True}
    UNUSED = BartConfig.UNUSED | {"extra_pos_embeddings"}
    IGNORE = (*BartConfig.IGNORE, "*.embed_positions.weights")  # early files hold the sinusoids
    HEADS = heads_of("M2M100", "none", "seq2seq_lm")

    vocab_size: int = 128112
    activation_function: str = "relu"
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    encoder_layerdrop: float = 0.05
    decoder_layerdrop: float = 0.05
    forced_eos_token_id: int | tuple[int, ...] | None = None

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    def embed(self, decoder):
        if self.pad_token_id is None:
            raise ValueError("M2M100Config: pad_token_id is None, but positions are counted by it")
        return replace(
            super().embed(decoder),
            positions=Sinusoids(halves=True, closed=True),
            offset=self.pad_token_id + 1,
            padding=self.pad_token_id,
            norm=None,
        )
