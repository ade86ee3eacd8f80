"""XLM-RoBERTa-XL (Goyal et al. 2021). Hugging Face model_type "xlm-roberta-xl".

XLM-RoBERTa with its norms in front of the branches and behind the last layer, and none behind the
embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.hub.table import rows, slots
from transformers_jax.models.bert import BACKBONE
from transformers_jax.models.class_names import heads_of
from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.weight_rows import norm
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.spec import LayerNorm, StackSpec


@dataclass(frozen=True, kw_only=True)
class XLMRobertaXLConfig(RobertaConfig):
    """The fields of an XLM-RoBERTa-XL config.json; defaults are facebook/xlm-roberta-xl (3.5B)."""

    model_type = "xlm-roberta-xl"
    HEADS = heads_of("XLMRobertaXL", *RobertaConfig.HEADS.values())

    vocab_size: int = 250880
    hidden_size: int = 2560
    num_hidden_layers: int = 36
    num_attention_heads: int = 32
    intermediate_size: int = 10240
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5

    def spec(self, mask=None, cross=None) -> StackSpec:
        """Pre-norm blocks; nothing of what the feed-forward networks say is dropped."""
        post = super().spec(mask, cross)
        block = tuple(
            replace(
                branch, placement="pre", dropout=0.0 if branch.name == "ffn" else branch.dropout
            )
            for branch in post.blocks[0]
        )
        blocks = (block,) * self.num_hidden_layers
        return replace(post, blocks=blocks, final_norm=LayerNorm(self.layer_norm_eps))

    def embed(self) -> EmbedSpec:
        return replace(super().embed(), norm=None)

    def backbone(self, prefix):
        text = BACKBONE.replace("bert.", prefix)
        text = text.replace("attention.output.LayerNorm", "attention.self_attn_layer_norm")
        text = text.replace(".output.LayerNorm", ".LayerNorm")
        return (*slots(text), *rows(norm(f"{prefix}encoder.LayerNorm", "stack.norm")))
