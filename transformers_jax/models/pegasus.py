"""Pegasus (Zhang et al. 2019). Hugging Face model_type "pegasus".

Pre-norm blocks without a norm of the embeddings; positions are the 2017 Transformer's, all sines
before all cosines, and files hold them.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.bart import BARE_PRE_NORM, BartConfig
from transformers_jax.models.shared.class_names import WRITING, heads_of
from transformers_jax.models.shared.sinusoidal import SinusoidalConfig


@dataclass(frozen=True, kw_only=True)
class PegasusConfig(SinusoidalConfig):
    """The fields of a Pegasus config.json; defaults are those of the class in Hugging Face, with
    which pegasus-large (571M) has 96103 words, 16 layers on each side, relu and a scaled
    embedding."""

    model_type = "pegasus"
    PLACEMENT = "pre"
    INPUT_IDS_SHIFTED = False
    LABELS = 2
    FIXED = {**BARE_PRE_NORM, "static_position_embeddings": True}
    UNUSED = BartConfig.UNUSED | {"extra_pos_embeddings"}
    HEADS = heads_of("Pegasus", *WRITING)

    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = 1
    pad_token_id: int | None = 0
    decoder_start_token_id: int | None = 0
    forced_eos_token_id: int | tuple[int, ...] | None = 1
