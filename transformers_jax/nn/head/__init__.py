"""Heads: what turns tokens into an answer, and the answer and labels into a loss.

A head is called with the stream, the nodes and the labels that it names in `labels`; it returns
the fields of the output under Hugging Face's names, the loss and what it is a mean over first.
"""

from __future__ import annotations

from transformers_jax.nn.head.base import (
    Activated,
    Dense,
    Head,
    HeadInputs,
    Pooler,
    Square,
    TokenPooler,
    loss_of,
    no_head,
)
from transformers_jax.nn.head.classify import (
    MultipleChoice,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
)
from transformers_jax.nn.head.contrastive import Contrastive, Projected
from transformers_jax.nn.head.words import (
    LanguageModel,
    NextSentence,
    Pretraining,
    ReplacedTokens,
    binary_cross_entropy,
)

__all__ = [
    "Activated",
    "Contrastive",
    "Dense",
    "Head",
    "HeadInputs",
    "LanguageModel",
    "MultipleChoice",
    "NextSentence",
    "Pooler",
    "Pretraining",
    "Projected",
    "QuestionAnswering",
    "ReplacedTokens",
    "SequenceClassification",
    "Square",
    "TokenClassification",
    "TokenPooler",
    "binary_cross_entropy",
    "loss_of",
    "no_head",
]
