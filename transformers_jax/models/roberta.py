"""RoBERTa (Liu et al. 2019). Hugging Face model_type "roberta".

BERT's network with another tokenizer and other training; positions are counted over the tokens that
are no padding, and the first is row `pad_token_id` + 1 of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.hub.table import Tying
from transformers_jax.models.bert import BertConfig, lm_rows
from transformers_jax.models.weight_rows import layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """The fields of a RoBERTa config.json; defaults are those of the class in Hugging Face, with
    which RoBERTa-base (125M) has 50265 words, 514 positions, 1 type and eps 1e-5."""

    model_type = "roberta"
    UNUSED = frozenset()
    TIES = (
        Tying("roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
        Tying("lm_head.bias", "lm_head.decoder.bias"),
    )
    POOLED = ("none", "multiple_choice")
    HEADS = {
        "RobertaModel": "none",
        "RobertaForMaskedLM": "masked_lm",
        "RobertaForCausalLM": "causal_lm",
        "RobertaForSequenceClassification": "sequence_classification",
        "RobertaForTokenClassification": "token_classification",
        "RobertaForMultipleChoice": "multiple_choice",
        "RobertaForQuestionAnswering": "question_answering",
    }

    vocab_size: int = 50265
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = 1

    def embed(self) -> EmbedSpec:
        if self.pad_token_id is None:
            raise ValueError("RobertaConfig: pad_token_id is None, but positions are counted by it")
        pad = self.pad_token_id
        return replace(super().embed(), offset=pad + 1, padding=pad)

    def head(self, head):
        D, N, initial, rate = self.hidden_size, self.num_labels, self.initial, self.classifier_rate
        if head in ("masked_lm", "causal_lm"):
            return self.words("gelu", shift=head == "causal_lm")  # whatever hidden_act says
        if head == "sequence_classification":
            inner = heads.Square(D, "tanh", initial)
            kind = dict(pooling="first", inner=inner, problem=self.problem_type, rate=rate)
            return heads.SequenceClassification(D, N, initial, **kind)
        if head == "multiple_choice":
            return heads.MultipleChoice(D, initial, self.hidden_dropout_prob)
        return super().head(head)

    def head_rows(self, head, tied):
        if head in ("masked_lm", "causal_lm"):
            text = layer("lm_head.dense", "head.transform")
            text += norm("lm_head.layer_norm", "head.transform.norm")
            return text + lm_rows("lm_head", "head", tied)
        if head == "sequence_classification":
            inner = layer("classifier.dense", "head.inner")
            return inner + layer("classifier.out_proj", "head.classify")
        return super().head_rows(head, tied)
