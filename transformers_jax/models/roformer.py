"""RoFormer (Su et al. 2021). Hugging Face model_type "roformer".

BERT's network whose queries and keys (and values, if configured) are rotated by their position;
embeddings may be narrower than the stream, as ELECTRA's. Files hold the sines and cosines of all
positions.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.hub.table import Computed
from transformers_jax.models.bert import BertConfig
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.nn.sinusoidal import Sinusoids
from transformers_jax.spec import Rotary

WIDTH = ("hidden_size", "num_attention_heads")  # of a head: their quotient


@dataclass(frozen=True, kw_only=True)
class RoFormerConfig(ElectraConfig):
    """The fields of a RoFormer config.json; defaults are roformer_chinese_base (124M). Those that
    begin with `summary_` belong to multiple_choice."""

    model_type = "roformer"
    FIXED = ElectraConfig.FIXED
    UNUSED = ElectraConfig.UNUSED | {"pooler_activation"}
    PREFIX = "roformer."
    WORDS, WORDS_ACT, UNUSED_BIAS = BertConfig.WORDS, None, True
    HEADS = heads_of("RoFormer", "none", "masked_lm", "causal_lm", *CHOOSING)
    classifier_dropout: ClassVar[None] = None  # no field here

    vocab_size: int = 50000
    embedding_size: int | None = None
    hidden_size: int = 768
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 1536
    rotary_value: bool = False
    summary_type: str = "last"
    summary_use_proj: bool = False
    summary_activation: str | None = None
    summary_last_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.embedding_size is None:
            object.__setattr__(self, "embedding_size", self.hidden_size)
        if (width := self.head_width(*WIDTH)) % 2:
            raise ValueError(
                f"RoFormerConfig: hidden_size ({self.hidden_size}) / num_attention_heads "
                f"({self.num_attention_heads}) = {width} must be even: numbers are rotated in pairs"
            )

    def attend(self, mask):
        rotary = Rotary(interleaved=True, values=self.rotary_value)
        return replace(super().attend(mask), rotary=rotary)

    def embed(self):
        # Hugging Face gives it no positions
        return replace(super().embed(), positions=None, counted="columns")

    @property
    def classifier_act(self):
        return self.hidden_act

    def table(self, head):
        rows, width = self.max_position_embeddings, self.head_width(*WIDTH)
        value = functools.partial(Sinusoids(halves=True, rows=rows).table, width)
        stored = Computed("roformer.encoder.embed_positions.weight", (rows, width), value)
        return replace(super().table(head), computed=(stored,))
