"""Metrics of tasks: functions of predictions and references that are arrays or lists of texts."""

from transformers_jax.metrics.answers import squad, squad_v2
from transformers_jax.metrics.classes import classification, confusion, multi_label
from transformers_jax.metrics.contacts import contact_precision
from transformers_jax.metrics.ranking import reranking, retrieval
from transformers_jax.metrics.tags import Span, entities, scheme_of, spans, tags_of
from transformers_jax.metrics.texts import (
    character_error_rate,
    exact_match,
    rouge,
    translation,
    translation_signatures,
    word_error_rate,
)
from transformers_jax.metrics.values import mean_and_deviation, regression, sentence_similarity

__all__ = [
    "Span",
    "character_error_rate",
    "classification",
    "confusion",
    "contact_precision",
    "entities",
    "exact_match",
    "mean_and_deviation",
    "multi_label",
    "regression",
    "reranking",
    "retrieval",
    "rouge",
    "scheme_of",
    "sentence_similarity",
    "spans",
    "squad",
    "squad_v2",
    "tags_of",
    "translation",
    "translation_signatures",
    "word_error_rate",
]
