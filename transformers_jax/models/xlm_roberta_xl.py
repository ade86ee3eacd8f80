"""XLM-RoBERTa-XL (Goyal et al. 2021). Hugging Face model_type "xlm-roberta-xl".

XLM-RoBERTa with its norms in front of the branches and behind the last layer, and none behind the
embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import norm


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

    def spec(self, mask=None, cross=None):
        """Pre-norm blocks; nothing of what the feed-forward networks say is dropped."""
        post = super().spec(mask, cross)
        *attends, computes = (replace(branch, placement="pre") for branch in post.blocks[0])
        blocks = ((*attends, replace(computes, dropout=0.0)),) * self.num_hidden_layers
        return replace(post, blocks=blocks, final_norm=self.layer_norm)

    def embed(self):
        return replace(super().embed(), norm=None)

    def backbone(self):
        text = (
            super()
            .backbone()
            .replace("attention.output.LayerNorm", "attention.self_attn_layer_norm")
        )
        return text.replace(".output.LayerNorm", ".LayerNorm") + norm(
            "encoder.LayerNorm", "stack.norm"
        )
