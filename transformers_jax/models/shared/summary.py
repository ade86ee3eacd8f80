"""Summaries of a text, as the fields of a config that begin with `summary_` say."""

from __future__ import annotations

from typing import Any

from transformers_jax.models.shared.task_heads import TaskOptions
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn import head as heads
from transformers_jax.nn.pooling import Name

SUMMARIES: dict[str, Name] = {
    "last": "end",
    "first": "first",
    "mean": "mean of all",
    "cls_index": "end",  # where nobody says which token is the classifier's
}
"""What `summary_type` means; padding is not consulted."""


def summary(config: Any) -> TaskOptions:
    """What is in front of a head that reads a summary.

    Raises:
        ValueError: its type is none of `SUMMARIES`.
    """
    kind, act = config.summary_type, config.summary_activation
    if kind not in SUMMARIES:
        raise ValueError(
            f"{type(config).__name__}: multiple_choice with summary_type={kind!r} is not "
            f"implemented, only with {', '.join(map(repr, SUMMARIES))}"
        )
    inner: heads.Square | heads.Activated | None = heads.Activated(act) if act else None
    if config.summary_use_proj:
        inner = heads.Square(config.hidden_size, act or "linear", config.initial)
    return TaskOptions(
        rate=config.summary_last_dropout,
        pooled_rate=config.summary_first_dropout,
        pooling=SUMMARIES[kind],
        inner=inner,
    )


def double_heads(config: Any, width: int) -> heads.DoubleHeads:
    """The head of next words, and of a choice of candidates that are read at one token each."""
    initial, tied, rate = config.initial, config.tie_word_embeddings, config.summary_first_dropout
    words = heads.LanguageModel(config.vocab_size, width, initial, tied=tied, shift=True)
    choice = heads.MultipleChoice(width, initial, rate, pooling=SUMMARIES["cls_index"])
    return heads.DoubleHeads(words, choice, config.summary_activation or "linear")


def double_rows(tied: bool) -> str:
    """The rows of that head."""
    words = "" if tied else "lm_head.weight | head.words.table"
    return words + layer("multiple_choice_head.summary", "head.choice.classify")
