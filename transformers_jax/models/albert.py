"""ALBERT (Lan et al. 2019). Hugging Face model_type "albert".

BERT's network with narrow embeddings (section 3.1, factorised) and layers that share parameters: a
*group* of layers is applied many times in a row. It is asked whether two segments are in order
instead of whether the second follows (section 3.1, inter-sentence coherence).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.hub.table import Tying, slots
from transformers_jax.models.bert import BertConfig, lm_rows
from transformers_jax.models.weight_rows import S, attention, dense, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.spec import StackSpec


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(BertConfig):
    """The fields of an ALBERT config.json; defaults are albert-xxlarge-v2 (223M)."""

    model_type = "albert"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset(
        "down_scale_factor gap_size net_structure_type num_memory_blocks layers_to_keep".split()
    )
    TIES = (
        Tying("albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"),
        Tying("predictions.bias", "predictions.decoder.bias"),
    )
    POOLED = ("none", "pretraining", "sequence_classification", "multiple_choice")
    POOLER = "pooler"
    HEADS = {
        "AlbertModel": "none",
        "AlbertForMaskedLM": "masked_lm",
        "AlbertForPreTraining": "pretraining",
        "AlbertForSequenceClassification": "sequence_classification",
        "AlbertForTokenClassification": "token_classification",
        "AlbertForMultipleChoice": "multiple_choice",
        "AlbertForQuestionAnswering": "question_answering",
    }
    # no fields here
    classifier_dropout: ClassVar[None] = None
    is_decoder: ClassVar[bool] = False
    add_cross_attention: ClassVar[bool] = False

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_groups: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    inner_group_num: int = 1
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float | None = 0.1
    bos_token_id: int | None = 2
    eos_token_id: int | tuple[int, ...] | None = 3

    @property
    def classifier_rate(self) -> float:
        rate = self.classifier_dropout_prob
        return self.hidden_dropout_prob if rate is None else rate

    def spec(self, mask=None, cross=None) -> StackSpec:
        """`inner_group_num` layers in each of `num_hidden_groups` groups; step n of L applies group
        floor(n / (L / groups)) whole."""
        once, inner = super().spec(mask, cross), self.inner_group_num
        share = self.num_hidden_layers / self.num_hidden_groups
        order = (
            int(n / share) * inner + k for n in range(self.num_hidden_layers) for k in range(inner)
        )
        return replace(
            once, blocks=once.blocks[:1] * (self.num_hidden_groups * inner), order=tuple(order)
        )

    def embed(self) -> EmbedSpec:
        return replace(super().embed(), width=self.embedding_size, project=self.hidden_size)

    def head(self, head):
        if head != "pretraining":
            return super().head(head)
        sentence = heads.NextSentence(
            self.hidden_size, self.initial, self.num_labels, self.classifier_rate
        )
        names = dict(asked="sentence_order_label", answered="sop_logits")
        return heads.Pretraining(self.words(self.hidden_act), sentence, **names)

    def backbone(self, prefix):
        return slots(BACKBONE.replace("{inner}", str(self.inner_group_num)))

    def head_rows(self, head, tied):
        if head not in ("masked_lm", "pretraining"):
            return super().head_rows(head, tied)
        words = "head.words" if head == "pretraining" else "head"
        text = layer("predictions.dense", f"{words}.transform")
        text += norm("predictions.LayerNorm", f"{words}.transform.norm")
        text += lm_rows("predictions", words, tied)
        if head == "pretraining":
            text += layer("sop_classifier.classifier", "head.sentence.classify")
        return text


L = "albert.encoder.albert_layer_groups.{i//{inner}}.albert_layers.{i%{inner}}"
BACKBONE = f"""
albert.embeddings.word_embeddings.weight       | embed.table
albert.embeddings.position_embeddings.weight   | embed.position
albert.embeddings.token_type_embeddings.weight | embed.type
{norm("albert.embeddings.LayerNorm", "embed.norm")}
{layer("albert.encoder.embedding_hidden_mapping_in", "embed.project")}
{attention(f"{L}.attention", f"{S}.self", "query key value dense")}
{norm(f"{L}.attention.LayerNorm", f"{S}.self_norm")}
{dense(f"{L}.ffn", f"{S}.ffn.up")}
{dense(f"{L}.ffn_output", f"{S}.ffn.down", "d f -> f d")}
{norm(f"{L}.full_layer_layer_norm", f"{S}.ffn_norm")}
"""
