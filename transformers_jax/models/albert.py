"""ALBERT (Lan et al. 2019). Hugging Face model_type "albert".

BERT's network with narrow embeddings (section 3.1, factorised) and layers that share parameters: a
*group* of layers is applied many times in a row. Its second task is whether two segments are in
order instead of whether the second follows (section 3.1, inter-sentence coherence).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.bert import BertConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import S, block_rows, embeddings, layer


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(BertConfig):
    """The fields of an ALBERT config.json; defaults are albert-xxlarge-v2 (223M)."""

    model_type = "albert"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset(
        "down_scale_factor gap_size net_structure_type num_memory_blocks layers_to_keep".split()
    )
    PREFIX = "albert."
    POOLED = ("none", "pretraining", "sequence_classification", "multiple_choice")
    POOLER = "pooler"
    WORDS = "predictions.dense predictions.LayerNorm predictions"
    SENTENCE = "sop_classifier.classifier"
    SENTENCE_FIELDS = ("sentence_order_label", "sop_logits")
    HEADS = heads_of("Albert", "none", "masked_lm", "pretraining", *CHOOSING)
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
    def classifier_rate(self):
        return first_of(self.classifier_dropout_prob, self.hidden_dropout_prob)

    def spec(self, mask=None, cross=None):
        """`inner_group_num` layers in each of `num_hidden_groups` groups; step n of L applies group
        floor(n / (L / groups)) whole."""
        once, inner = super().spec(mask, cross), self.inner_group_num
        share = self.num_hidden_layers / self.num_hidden_groups
        groups = (int(n / share) for n in range(self.num_hidden_layers))
        order = tuple(group * inner + k for group in groups for k in range(inner))
        blocks = once.blocks[:1] * (self.num_hidden_groups * inner)
        return replace(once, blocks=blocks, order=order)

    def embed(self):
        return replace(super().embed(), width=self.embedding_size, project=self.hidden_size)

    def sentence(self):
        return super().sentence(self.num_labels, self.classifier_rate)

    def backbone(self):
        return BACKBONE.replace("{inner}", str(self.inner_group_num))


NORMS = "attention.LayerNorm full_layer_layer_norm"
L = "encoder.albert_layer_groups.{i//{inner}}.albert_layers.{i%{inner}}"
BACKBONE = f"""
{embeddings("embeddings", "type")}
{layer("encoder.embedding_hidden_mapping_in", "embed.project")}
{block_rows(L, S, "attention", "query key value dense", "ffn ffn_output", NORMS)}
"""
