"""MPNet (Song et al. 2020). Hugging Face model_type "mpnet".

RoBERTa's network without token types, whose layers share a learned bias per bucket of the distance
(T5's). Padding is id 1 for positions and distances fall into 32 buckets, whatever the config says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.bert import MLP, BertConfig
from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.weight_rows import S, block_rows, embeddings
from transformers_jax.spec import Buckets

PADDING = 1
BUCKETS = 32


L = "encoder.layer.{i}"


@dataclass(frozen=True, kw_only=True)
class MPNetConfig(RobertaConfig):
    """The fields of an MPNet config.json; defaults are MPNet-base (110M), which has 514 positions
    and eps 1e-5."""

    model_type = "mpnet"
    PREFIX = "mpnet."
    ROWS = f"""
{embeddings("embeddings")}
encoder.relative_attention_bias.weight | stack.score.table
{block_rows(L, S, "attention.attn", "q k v o", MLP, "attention.LayerNorm output.LayerNorm")}
"""
    HEADS = heads_of("MPNet", "none", "masked_lm", *CHOOSING)
    # no fields here
    type_vocab_size: ClassVar[None] = None
    classifier_dropout: ClassVar[None] = None
    is_decoder: ClassVar[bool] = False
    add_cross_attention: ClassVar[bool] = False

    vocab_size: int = 30527
    relative_attention_num_buckets: int = 32

    def spec(self, mask=None, cross=None):
        rows = self.relative_attention_num_buckets
        if rows < BUCKETS:
            raise ValueError(
                f"MPNetConfig: relative_attention_num_buckets ({rows}) must be at least {BUCKETS}: "
                "distances fall into so many buckets, however many rows the table has"
            )
        score = Buckets(buckets=BUCKETS, far=128, rows=rows)
        return replace(super().spec(mask, cross), score=score)

    def embed(self):
        counted = dict(offset=PADDING + 1, padding=PADDING, padding_idx=PADDING)
        return replace(BertConfig.embed(self), types=None, **counted)
