"""mBART (Liu et al. 2020) and mBART-50 (Tang et al. 2020). Hugging Face model_type "mbart".

BART with pre-norm blocks and a norm after each stack, over many languages. A row ends with the code
of its language, with which the decoder begins; `forced_bos_token_id` chooses the target's.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.bart import BartConfig
from transformers_jax.models.shared.class_names import heads_of


@dataclass(frozen=True, kw_only=True)
class MBartConfig(BartConfig):
    """The fields of an mBART config.json; with 250027 words and `scale_embedding` the defaults are
    mbart-large-cc25 (611M)."""

    model_type = "mbart"
    PLACEMENT = "pre"
    START = "last"
    LABELS = 2
    FIXED = {**BartConfig.FIXED, "add_final_layer_norm": True, "normalize_before": True}
    HEADS = heads_of("MBart", *BartConfig.EVERY)

    decoder_start_token_id: int | None = None
