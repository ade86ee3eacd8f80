"""ELECTRA (Clark et al. 2020): discriminators and generators. Hugging Face model_type "electra".

BERT's network, whose embeddings may be narrower than the stream. The pair of both that is trained
together is `models.electra_pretraining`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import BertConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.summary import summary
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn import head as heads


@dataclass(frozen=True, kw_only=True)
class ElectraConfig(BertConfig):
    """The fields of an ELECTRA config.json; defaults are the small discriminator (14M)."""

    model_type = "electra"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset({"summary_proj_to_labels"})  # runs only where it changes nothing
    PREFIX = "electra."
    POOLED = ()
    WORDS = "generator_predictions.dense generator_predictions.LayerNorm generator_lm_head"
    WORDS_ACT = "gelu"  # whatever hidden_act says
    UNUSED_BIAS = False
    HEADS = heads_of(
        *("Electra", "none", "masked_lm", "causal_lm", *CHOOSING),
        ElectraForPreTraining="replaced_token",
    )

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

    def embed(self):
        stream = self.hidden_size if self.projects else None
        return replace(super().embed(), width=self.embedding_size, project=stream)

    @property
    def classifier_act(self):
        return "gelu"

    def head(self, head):
        if head == "replaced_token":
            return heads.ReplacedTokens(self.hidden_size, self.hidden_act, self.initial)
        return super().head(head)

    def task_options(self, head):
        return summary(self) if head == "multiple_choice" else super().task_options(head)

    def backbone(self):
        project = layer("embeddings_project", "embed.project") if self.projects else ""
        return super().backbone() + project

    def head_rows(self, head, tied):
        if head == "replaced_token":
            text = layer("discriminator_predictions.dense", "head.transform")
            return text + layer("discriminator_predictions.dense_prediction", "head.classify")
        if head == "multiple_choice":
            inner = layer("sequence_summary.summary", "head.inner")
            return (inner if self.summary_use_proj else "") + layer("classifier", "head.classify")
        return super().head_rows(head, tied)
