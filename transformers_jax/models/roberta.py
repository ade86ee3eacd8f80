"""RoBERTa (Liu et al. 2019). Hugging Face model_type "roberta".

BERT's network with another tokenizer and other training; positions are counted over the tokens that
are no padding, and the first is row `pad_token_id` + 1 of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import BertConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """The fields of a RoBERTa config.json; defaults are those of the class in Hugging Face, with
    which RoBERTa-base (125M) has 50265 words, 514 positions, 1 type and eps 1e-5."""

    model_type = "roberta"
    UNUSED = frozenset()
    PREFIX = "roberta."
    POOLED = ("none", "multiple_choice")
    WORDS = "lm_head.dense lm_head.layer_norm lm_head"
    WORDS_ACT = "gelu"  # whatever hidden_act says
    HEADS = heads_of("Roberta", "none", "masked_lm", "causal_lm", *CHOOSING)

    vocab_size: int = 50265
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = 1

    def embed(self):
        if self.pad_token_id is None:
            raise ValueError("RobertaConfig: pad_token_id is None, but positions are counted by it")
        pad = self.pad_token_id
        return replace(super().embed(), offset=pad + 1, padding=pad)

    @property
    def classifier_act(self):
        return "tanh"

    def task_options(self, head):
        if head == "multiple_choice":
            return {"rate": self.hidden_dropout_prob}
        return super().task_options(head)
