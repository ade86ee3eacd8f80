"""XLM-RoBERTa (Conneau et al. 2019): RoBERTa in 100 languages. Hugging Face model_type
"xlm-roberta"; names on disk are RoBERTa's."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.shared.class_names import heads_of


@dataclass(frozen=True, kw_only=True)
class XLMRobertaConfig(RobertaConfig):
    """The fields of an XLM-RoBERTa config.json; defaults are those of the class in Hugging Face,
    with which XLM-R base (278M) has 250002 words, 514 positions, 1 type and eps 1e-5."""

    model_type = "xlm-roberta"
    HEADS = heads_of("XLMRoberta", *RobertaConfig.HEADS.values())

    vocab_size: int = 30522
