"""CamemBERT (Martin et al. 2019): RoBERTa in French. Hugging Face model_type "camembert"; names on
disk are RoBERTa's."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.shared.class_names import heads_of


@dataclass(frozen=True, kw_only=True)
class CamembertConfig(RobertaConfig):
    """The fields of a CamemBERT config.json; defaults are those of the class in Hugging Face, with
    which CamemBERT-base (111M) has 32005 words, 514 positions, 1 type and eps 1e-5."""

    model_type = "camembert"
    HEADS = heads_of("Camembert", *RobertaConfig.HEADS.values())

    vocab_size: int = 30522
