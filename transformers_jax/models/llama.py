"""Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024). Hugging Face model_type "llama"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers_jax.graph import CAUSAL, Mask, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.blocks import BIASES, block
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoder_heads import decoder_head, decoder_rows
from transformers_jax.models.shared.rope import modern_rope, most_positions, rotary
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import S, attention, feed_forward, norm
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Block, Initial, OpSpec, RMSNorm, Rotary, StackSpec

L = "layers.{i}"


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(OneTower):
    """The fields of a Llama config.json; defaults are Llama 1 7B."""

    model_type = "llama"
    PREFIX = "model."
    PREFIXES = {"question_answering": "transformer."}  # Hugging Face's name in this one class
    IGNORE = ("*.rotary_emb.inv_freq",)
    TIES = (Tying("model.embed_tokens.weight", "lm_head.weight"),)
    ROWS = f"""
embed_tokens.weight | embed.table
{norm(f"{L}.input_layernorm", f"{S}.self_norm")}
{attention(f"{L}.self_attn", f"{S}.self", "q_proj k_proj v_proj o_proj")}
{norm(f"{L}.post_attention_layernorm", f"{S}.ffn_norm")}
{feed_forward(f"{L}.mlp", f"{S}.ffn", "gate_proj up_proj down_proj")}
{norm("norm", "stack.norm")}
"""
    HEADS = heads_of("Llama", "none", "causal_lm", *LABELLING)
    BASE: ClassVar[float] = 10000.0  # of rotations, where a file does not say it

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_parameters: Frozen = Frozen({"rope_type": "default", "rope_theta": 10000.0})
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False
    classifier_dropout: float | None = None
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tie_word_embeddings: bool = False

    @classmethod
    def modernise(cls, values):
        return modern_rope(super().modernise(values), cls.BASE)

    @property
    def stated_positions(self):
        return most_positions(self.rope_parameters, self.max_position_embeddings)

    @property
    def initial(self) -> Initial:
        """normal(initializer_range) everywhere, as transformers initialises it."""
        return Initial(self.initializer_range)

    @property
    def norm(self) -> RMSNorm:
        """Every norm of the model."""
        return RMSNorm(self.rms_norm_eps)

    def spec(self, mask=None):
        """Pre-norm blocks of causal rotary attention (grouped heads) and a gated MLP."""
        blocks = tuple(self.block(number, mask) for number in range(self.num_hidden_layers))
        return StackSpec(self.hidden_size, blocks, self.norm, initial=self.initial)

    def block(self, number: int, mask) -> Block:
        """What a layer does."""
        return block(self.attends(number, mask), self.computes(number), self.norm)

    def attends(self, number: int, mask) -> AttentionSpec:
        """The attention of a layer."""
        return AttentionSpec(
            heads=self.num_attention_heads,
            kv=self.head_dim or self.head_width("hidden_size", "num_attention_heads"),
            kv_heads=self.num_key_value_heads,
            mask=with_own(mask, self.sees(number)),
            rotary=self.rotates(number),
            bias=self.biases,
            dropout=self.attention_dropout,
        )

    @property
    def biases(self) -> tuple[str, ...]:
        """The projections of attention that have a bias."""
        return BIASES if self.attention_bias else ()

    def sees(self, number: int) -> Mask:
        """Which tokens each token of a layer attends to."""
        return CAUSAL

    def rotates(self, number: int) -> Rotary | None:
        """The rotation of queries and keys in a layer."""
        # transformers' Llama rotates whole heads, whatever the factor says
        rope = {k: v for k, v in self.rope_parameters.items() if k != "partial_rotary_factor"}
        return rotary(rope, self.max_position_embeddings)

    def computes(self, number: int) -> OpSpec:
        """What a layer does with each token by itself."""
        return FeedForwardSpec(
            self.intermediate_size, self.activation, gated=True, bias=self.mlp_bias
        )

    @property
    def activation(self) -> str:
        """What the gate of the MLP is passed through."""
        return self.hidden_act

    def embed(self):
        """Words without positions."""
        return EmbedSpec(vocab=self.vocab_size, width=self.hidden_size, initial=self.initial)

    def head(self, head):
        rate = self.classifier_rate
        return decoder_head(self, head, self.hidden_size, self.initial, rate, **self.words)

    @property
    def classifier_rate(self) -> float:
        """Dropout in front of the labels of tokens."""
        return first_of(self.classifier_dropout, 0.1)

    @property
    def words(self) -> Mapping[str, Any]:
        """Further options of the logits of words (`nn.head.LanguageModel`)."""
        return {}

    def head_rows(self, head, tied):
        return decoder_rows("score").get(head, "")
