"""The heads that decoders of one stack share: next words, a label for a row, labels for tokens, and
answers to questions. A family says its width, the dropout and the name of the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn import head as heads
from transformers_jax.nn.pooling import Last
from transformers_jax.spec import Initial


def decoder_head(
    config: FamilyConfig, head: str, width: int, initial: Initial, rate: float = 0.0, **words: Any
) -> heads.Head:
    """The head of this name behind a decoder of this width; `rate` is the dropout in front of the
    labels of tokens, `words` are further options of the logits of words. A row's label is read at
    its last token that is no padding."""
    if head == "causal_lm":
        tied = config.tie_word_embeddings
        return heads.LanguageModel(
            config.target_vocab, width, initial, tied=tied, shift=True, **words
        )
    rate = rate if head == "token_classification" else 0.0
    last = Last(config.pad_token_id)
    return task_head(config, head, width, initial, rate=rate, pooling=last, bias=False)


def decoder_rows(tokens: str, words: str = "lm_head", bias: bool = False) -> Mapping[str, str]:
    """The rows of these heads; `tokens` is the name of the layer that labels tokens, `words` that
    of the one that predicts words, which may have a bias."""
    return {
        "causal_lm": f"{words}.weight | head.table"
        + (f"\n{words}.bias | head.bias" if bias else ""),
        "sequence_classification": "score.weight | head.classify.weight | e d -> d e",
        "token_classification": layer(tokens, "head.classify"),
        "question_answering": layer("qa_outputs", "head.classify"),
    }
