"""XGLM (Lin et al. 2021), a decoder of many languages. Hugging Face model_type "xglm"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.graph import FULL, with_own
from transformers_jax.models.shared.blocks import block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.decoders import LayerNormDecoder
from transformers_jax.models.shared.weight_rows import PROJECTIONS, S, block_rows, norm
from transformers_jax.nn.sinusoidal import Sinusoids
from transformers_jax.spec import Initial, LayerNorm

BRANCHES = "self_attn encoder_attn"
NORMS = "self_attn_layer_norm encoder_attn_layer_norm final_layer_norm"


@dataclass(frozen=True, kw_only=True)
class XGLMConfig(LayerNormDecoder):
    """The fields of an XGLM config.json; defaults are XGLM-564M. Sinusoidal positions of any number
    of tokens. With `add_cross_attention` it can be the decoder of an encoder-decoder."""

    model_type = "xglm"
    SIZES = "d_model attention_heads num_layers"
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "attention_heads",
        "num_hidden_layers": "num_layers",
    }
    INNER = "ffn_dim activation_function"
    RATES = ("dropout", "attention_dropout", "dropout")
    PREFIX = "model."
    TABLE = "embed_tokens layers.{i} layer_norm"
    IGNORE = ("*.embed_positions.weights",)  # early files hold the sinusoids
    HEADS = heads_of("XGLM", "none", "causal_lm")
    initializer_range: ClassVar[float] = 0.02  # type: ignore[misc]
    classifier_dropout: ClassVar[None] = None  # type: ignore[misc]

    vocab_size: int = 256008
    max_position_embeddings: int = 2048
    d_model: int = 1024
    ffn_dim: int = 4096
    num_layers: int = 24
    attention_heads: int = 16
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    layerdrop: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = True
    is_decoder: bool = False
    add_cross_attention: bool = False
    decoder_start_token_id: int | None = 2
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2

    @property
    def initial(self):
        return Initial(self.init_std)

    @property
    def layer_norm(self):
        return LayerNorm()

    def spec(self, mask=None, cross=None):
        """Layers of causal attention, cross-attention if configured, and an MLP."""
        crosses = self.add_cross_attention
        other = with_own(cross, FULL) if crosses else None
        ffn = replace(self.feed_forward(), dropout=self.activation_dropout)
        one = block(self.attend(mask), ffn, self.layer_norm, "pre", self.dropout, other)
        stack = self.stack((one,) * self.num_layers)
        return replace(stack, layerdrop=self.layerdrop, source_optional=crosses)

    def embed(self):
        """Words + sinusoids, of which two come before that of the first token."""
        return replace(
            super().embed(),
            padding_idx=self.pad_token_id,
            positions=Sinusoids(halves=True, closed=True, zero=self.pad_token_id),
            rows_before=2,
            scale=self.d_model**0.5 if self.scale_embedding else 1.0,
        )

    def backbone(self):
        rows = block_rows("layers.{i}", S, BRANCHES, PROJECTIONS, "fc1 fc2", NORMS)
        return "\nembed_tokens.weight | embed.table" + norm("layer_norm", "stack.norm") + rows
