"""The heads that encoder-decoders share: words, a class of a row, labels of tokens, and answers to
questions. A family says the dropout, and what the logits of words are scaled by or have added."""

from __future__ import annotations

from typing import Literal

from transformers_jax.models.shared.task_heads import classifier_rows, task_head
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.models.wiring import EncoderDecoderFamily
from transformers_jax.nn import head as heads
from transformers_jax.nn.pooling import LastOf

TASK_ROWS = {
    "sequence_classification": classifier_rows("classification_head"),
    "question_answering": layer("qa_outputs", "head.classify"),
}
LABELLING_ROWS = {**TASK_ROWS, "token_classification": layer("classifier", "head.classify")}


def encoder_decoder_head(
    config: EncoderDecoderFamily,
    head: str,
    rate: float = 0.0,
    *,
    bias: bool | Literal["fixed"] = False,
    scale: float = 1.0,
) -> heads.Head | None:
    """The head of this name; `rate` is the dropout in front of labels, `bias` and `scale` are those
    of the logits of words. A row's class is read at its last token that ends a sentence.

    Raises:
        ValueError: several such tokens, or none.
    """
    width, initial = config.d_model, config.initial
    if head in ("seq2seq_lm", "causal_lm"):
        tied = config.tie_word_embeddings and config.shared_row(head) != "head.table"
        size = config.target_vocab
        # labels are never shifted here: decoder inputs are, also of a decoder alone
        return heads.LanguageModel(
            size, width, initial, tied=tied, shift=False, bias=bias, scale=scale
        )
    if head == "sequence_classification":
        if not isinstance(config.eos_token_id, int):
            raise ValueError(
                f"{type(config).__name__}: eos_token_id={config.eos_token_id!r}, but "
                "sequence_classification reads its answer at the last such token; give one id"
            )
        inner = heads.Square(width, "tanh", initial)
        last = LastOf(config.eos_token_id)
        return task_head(config, head, width, initial, rate=rate, pooling=last, inner=inner)
    if head == "token_classification":
        return task_head(config, head, width, initial, rate=rate)
    return task_head(config, head, width, initial) if head == "question_answering" else None
