"""BERT (Devlin et al. 2018). Hugging Face model_type "bert"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transformers_jax.graph import CAUSAL, FULL, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.shared.class_names import CHOOSING, OF_ROWS, heads_of
from transformers_jax.models.shared.encoder_heads import words_head, words_rows
from transformers_jax.models.shared.standard import TextTower
from transformers_jax.models.shared.task_heads import (
    TaskOptions,
    classifier_rows,
    first_of,
    task_head,
)
from transformers_jax.models.shared.weight_rows import OLDER, S, block_rows, embeddings, layer
from transformers_jax.nn import head as heads

NORMS = "attention.output.LayerNorm crossattention.output.LayerNorm output.LayerNorm"
PROJECTIONS = "self.query self.key self.value output.dense"
MLP = "intermediate.dense output.dense"
L = "encoder.layer.{i}"


@dataclass(frozen=True, kw_only=True)
class BertConfig(TextTower):
    """The fields of a BERT config.json; defaults are BERT-base (110M).

    `is_decoder` makes attention causal, `add_cross_attention` adds a branch that attends to an
    encoder. Neither is set by the head "causal_lm": as in Hugging Face the config alone says it.

    Class attributes:
        POOLED: the heads in front of which there is a pooler, called `POOLER` in files.
        WORDS: the layer, the norm and the output of the head of masked words in files.
        WORDS_ACT: the activation of that layer, where it is not `hidden_act`.
        UNUSED_BIAS: whether files of untied words hold a second bias, which nothing reads.
        SENTENCE: the classifier of pairs of sentences in files.
        SENTENCE_FIELDS: the label and logits of such a pair, and the labels that the loss needs.
    """

    model_type = "bert"
    FIXED = {"position_embedding_type": "absolute", "directionality": "bidi"}
    UNUSED = frozenset(
        """pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
        pooler_type
        """.split()
    )
    PREFIX = "bert."
    ALIASES = OLDER
    IGNORE = ("*.position_ids",)
    POOLER = "pooler.dense"
    POOLED: ClassVar[tuple[str, ...]] = ("none", "pretraining", "next_sentence", *OF_ROWS)
    TRANSFORM: ClassVar[str] = "cls.predictions.transform"
    WORDS: ClassVar[str] = f"{TRANSFORM}.dense {TRANSFORM}.LayerNorm cls.predictions"
    WORDS_ACT: ClassVar[str | None] = None
    UNUSED_BIAS: ClassVar[bool] = True
    SENTENCE: ClassVar[str] = "cls.seq_relationship"
    SENTENCE_FIELDS: ClassVar[tuple[Any, ...]] = ("next_sentence_label", "seq_relationship_logits")
    ROWS = f"""
{embeddings("embeddings", "type")}
{block_rows(L, S, "attention crossattention", PROJECTIONS, MLP, NORMS)}
"""
    HEADS = heads_of(
        *("Bert", "none", "masked_lm", "pretraining", "next_sentence", *CHOOSING),
        BertLMHeadModel="causal_lm",
    )

    classifier_dropout: float | None = None
    type_vocab_size: int = 2
    is_decoder: bool = False
    add_cross_attention: bool = False
    pad_token_id: int | None = 0

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        if self.is_decoder and "causal_lm" not in self.HEADS.values():
            raise ValueError(
                f"{name}: is_decoder=True is not implemented for {self.model_type}, only False"
            )
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError(f"{name}: add_cross_attention=True needs is_decoder=True")

    # ------------------------------------------------------------ the network

    def attend(self, mask):
        return super().attend(with_own(mask, CAUSAL if self.is_decoder else FULL))

    def spec(self, mask=None, cross=None):
        """Post-norm blocks of self-attention, cross-attention if configured, and an MLP."""
        crosses = self.add_cross_attention
        other = with_own(cross, FULL) if crosses else None
        stack = self.stack(mask, "post", other)
        return replace(stack, source_optional=crosses, norm_hidden=True)

    def embed(self):
        """Words + positions + types, normalised."""
        return replace(
            super().embed(),
            padding_idx=self.pad_token_id,
            types=self.type_vocab_size,
            norm=self.layer_norm,
            dropout=self.hidden_dropout_prob,
        )

    def pooler(self, head):
        return heads.Pooler(self.hidden_size, self.initial) if head in self.POOLED else None

    # ------------------------------------------------------------ the heads

    @property
    def classifier_rate(self) -> float:
        """Dropout in front of a classifier."""
        return first_of(self.classifier_dropout, self.hidden_dropout_prob)

    @property
    def classifier_act(self) -> str | None:
        """The activation of the layer between the first token and the classes of a row; None where
        the pooler is read."""
        return None

    def language_model(self, shift: bool = False) -> heads.LanguageModel:
        """The language model head: logits of masked or next tokens."""
        transform, out = (self.WORDS_ACT or self.hidden_act, self.layer_norm), self.embed().width
        bias = self.UNUSED_BIAS
        return words_head(self, self.hidden_size, self.initial, transform, out, bias, shift)

    def task_options(self, head: str) -> TaskOptions:
        """What a head of fine-tuning has between the stream and its answer."""
        rate = 0.0 if head == "question_answering" else self.classifier_rate
        if head != "sequence_classification" or self.classifier_act is None:
            return {"rate": rate}
        inner = heads.Square(self.hidden_size, self.classifier_act, self.initial)
        return {"rate": rate, "pooling": "first", "inner": inner}

    def sentence(self, *settings: Any) -> heads.NextSentence:
        """The head that predicts whether the second sentence of a pair follows the first."""
        return heads.NextSentence(self.hidden_size, self.initial, *settings)

    def head(self, head):
        if head in ("masked_lm", "causal_lm"):
            return self.language_model(shift=head == "causal_lm")
        if head == "pretraining":
            return heads.Pretraining(self.language_model(), self.sentence(), *self.SENTENCE_FIELDS)
        if head == "next_sentence":
            return self.sentence()
        return task_head(self, head, self.hidden_size, self.initial, **self.task_options(head))

    # ------------------------------------------------------------ the table

    @property
    def ties(self):
        output = self.WORDS.split()[-1]
        decoder = f"{output}.decoder" if self.UNUSED_BIAS else output
        words = Tying(f"{self.PREFIX}embeddings.word_embeddings.weight", f"{decoder}.weight")
        bias = Tying(f"{output}.bias", f"{decoder}.bias")
        return (words, bias) if self.UNUSED_BIAS else (words,)

    def head_rows(self, head, tied):
        if head in ("masked_lm", "causal_lm"):
            return words_rows(self.WORDS, "head", tied, self.UNUSED_BIAS)
        if head == "pretraining":
            sentence = layer(self.SENTENCE, "head.sentence.classify")
            return words_rows(self.WORDS, "head.words", tied, self.UNUSED_BIAS) + sentence
        if head == "sequence_classification" and self.classifier_act is not None:
            return classifier_rows("classifier")
        names = {"next_sentence": self.SENTENCE, "question_answering": "qa_outputs"}
        return "" if head == "none" else layer(names.get(head, "classifier"), "head.classify")
