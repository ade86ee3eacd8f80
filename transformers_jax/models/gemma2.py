"""Gemma 2 (Riviere et al. 2024): windows in every other layer, norms on both sides. Hugging Face
model_type "gemma2"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.gemma import GemmaConfig
from transformers_jax.models.llama import L
from transformers_jax.models.shared.blocks import block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.layer_types import Windowed, causal, repeated
from transformers_jax.models.shared.weight_rows import S, attention, feed_forward, norm


@dataclass(frozen=True, kw_only=True)
class Gemma2Config(Windowed, GemmaConfig):
    """The fields of a Gemma 2 config.json; defaults are Gemma 2 2B. Differs from Gemma: norms in
    front of and behind each branch, windows by `layer_types`, scores of attention and logits of
    words that lie between two caps, and scores divided by the root of `query_pre_attn_scalar`.

    `use_bidirectional_attention` is of PaliGemma, whose masks are its own: by itself such a model
    is refused, because the reference documents masks that it does not make.
    """

    model_type = "gemma2"
    UNUSED = frozenset({"hidden_act", "cache_implementation"})
    ROWS = f"""
embed_tokens.weight | embed.table
{norm(f"{L}.input_layernorm", f"{S}.self_norm", bias=False)}
{attention(f"{L}.self_attn", f"{S}.self", "q_proj k_proj v_proj o_proj")}
{norm(f"{L}.post_attention_layernorm", f"{S}.self_norm_behind", bias=False)}
{norm(f"{L}.pre_feedforward_layernorm", f"{S}.ffn_norm", bias=False)}
{feed_forward(f"{L}.mlp", f"{S}.ffn", "gate_proj up_proj down_proj")}
{norm(f"{L}.post_feedforward_layernorm", f"{S}.ffn_norm_behind", bias=False)}
{norm("norm", "stack.norm", bias=False)}
"""
    HEADS = heads_of(
        "Gemma2", "none", "causal_lm", "sequence_classification", "token_classification"
    )
    EVERY_TOKEN: ClassVar[int] = 2  # in each so many layers
    hidden_act: ClassVar[str] = ""  # type: ignore[misc]
    TWO_SIDED: ClassVar[bool] = False  # whether there are such masks

    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int | None = 4
    hidden_activation: str = "gelu_pytorch_tanh"
    query_pre_attn_scalar: int = 256
    sliding_window: int | None = 4096
    layer_types: tuple[str, ...] | None = None
    final_logit_softcapping: float | None = 30.0
    attn_logit_softcapping: float | None = 50.0

    @classmethod
    def modernise(cls, values):
        return super(GemmaConfig, cls).modernise(values)  # hidden_activation is a field

    def build(self, head, execution, mask=None):
        if mask is None and self.use_bidirectional_attention and not self.TWO_SIDED:
            raise ValueError(
                f"{type(self).__name__}: use_bidirectional_attention=True: the reference documents "
                "that tokens attend to both sides, and its masks of this family stay causal; pass "
                "mask=tj.OWN for those, or mask=tj.FULL"
            )
        return super().build(head, execution, mask)

    @property
    def usual_types(self):
        return repeated(self.num_hidden_layers, self.EVERY_TOKEN)

    @property
    def activation(self):
        return self.hidden_activation

    def block(self, number, mask):
        return block(self.attends(number, mask), self.computes(number), self.norm, "both")

    def attends(self, number, mask):
        scale, cap = self.query_pre_attn_scalar**-0.5, self.attn_logit_softcapping
        return replace(super().attends(number, mask), scale=scale, softcap=cap)

    def sees(self, number):
        return causal(self.window(number))

    @property
    def words(self):
        return {"softcap": self.final_logit_softcapping}
