"""ELECTRA (Clark et al. 2020): discriminators and generators. Hugging Face model_type "electra".

BERT's network, whose embeddings may be narrower than the stream. The pair of both that is trained
together is `models.electra_pretraining`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.hub.table import Tying, rows
from transformers_jax.models.bert import BertConfig
from transformers_jax.models.weight_rows import layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.pooling import Name
from transformers_jax.spec import LayerNorm

SUMMARIES: dict[str, Name] = {
    "last": "end",
    "first": "first",
    "mean": "mean of all",
    "cls_index": "end",  # where nobody says which token is the classifier's
}
"""What `summary_type` means for the head of multiple choice; padding is not consulted."""


@dataclass(frozen=True, kw_only=True)
class ElectraConfig(BertConfig):
    """The fields of an ELECTRA config.json; defaults are the small discriminator (14M)."""

    model_type = "electra"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset({"summary_proj_to_labels"})  # runs only where it changes nothing
    TIES = (Tying("electra.embeddings.word_embeddings.weight", "generator_lm_head.weight"),)
    POOLED = ()
    HEADS = {
        "ElectraModel": "none",
        "ElectraForPreTraining": "replaced_token",
        "ElectraForMaskedLM": "masked_lm",
        "ElectraForCausalLM": "causal_lm",
        "ElectraForSequenceClassification": "sequence_classification",
        "ElectraForTokenClassification": "token_classification",
        "ElectraForMultipleChoice": "multiple_choice",
        "ElectraForQuestionAnswering": "question_answering",
    }

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str = "gelu"
    summary_first_dropout: float = 0.0
    summary_last_dropout: float = 0.1

    @property
    def projects(self) -> bool:
        """Whether the embeddings are brought to the width of the stream."""
        return self.embedding_size != self.hidden_size

    def embed(self) -> EmbedSpec:
        stream = self.hidden_size if self.projects else None
        return replace(super().embed(), width=self.embedding_size, project=stream)

    def head(self, head):
        D, E, N, initial = self.hidden_size, self.embedding_size, self.num_labels, self.initial
        if head == "replaced_token":
            return heads.ReplacedTokens(D, self.hidden_act, initial)
        if head in ("masked_lm", "causal_lm"):
            # gelu, whatever hidden_act says
            norm = LayerNorm(self.layer_norm_eps)
            transform = heads.Square(D, "gelu", initial, norm, out=E)
            shift = head == "causal_lm"
            options = dict(tied=self.tie_word_embeddings, shift=shift, bias=True)
            return heads.LanguageModel(self.vocab_size, E, initial, transform=transform, **options)
        if head == "sequence_classification":
            inner = heads.Square(D, "gelu", initial)
            kind = dict(pooling="first", inner=inner, problem=self.problem_type)
            return heads.SequenceClassification(D, N, initial, rate=self.classifier_rate, **kind)
        if head == "multiple_choice":
            return self.choices()
        return super().head(head)

    def choices(self) -> heads.MultipleChoice:
        """The head of multiple choice, as the fields that begin with `summary_` say."""
        D, kind, act = self.hidden_size, self.summary_type, self.summary_activation
        if kind not in SUMMARIES:
            raise ValueError(
                f"{type(self).__name__}: multiple_choice with summary_type={kind!r} is not "
                f"implemented, only with {', '.join(map(repr, SUMMARIES))}"
            )
        inner: heads.Square | heads.Activated | None = heads.Activated(act) if act else None
        if self.summary_use_proj:
            inner = heads.Square(D, act or "linear", self.initial)
        rates = dict(rate=self.summary_last_dropout, pooled_rate=self.summary_first_dropout)
        return heads.MultipleChoice(D, self.initial, **rates, pooling=SUMMARIES[kind], inner=inner)

    def backbone(self, prefix):
        project = layer(f"{prefix}embeddings_project", "embed.project")
        return (*super().backbone(prefix), *(rows(project) if self.projects else ()))

    def head_rows(self, head, tied):
        if head == "replaced_token":
            text = layer("discriminator_predictions.dense", "head.transform")
            return text + layer("discriminator_predictions.dense_prediction", "head.classify")
        if head in ("masked_lm", "causal_lm"):
            text = layer("generator_predictions.dense", "head.transform")
            text += norm("generator_predictions.LayerNorm", "head.transform.norm")
            text += "\ngenerator_lm_head.bias | head.bias"
            return text + ("" if tied else "\ngenerator_lm_head.weight | head.table")
        if head == "sequence_classification":
            inner = layer("classifier.dense", "head.inner")
            return inner + layer("classifier.out_proj", "head.classify")
        if head == "multiple_choice":
            inner = layer("sequence_summary.summary", "head.inner")
            return (inner if self.summary_use_proj else "") + layer("classifier", "head.classify")
        return super().head_rows(head, tied)
