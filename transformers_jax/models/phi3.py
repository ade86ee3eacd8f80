"""Phi-3 (Abdin et al. 2024): Mistral, with projections that are stored together. Hugging Face
model_type "phi3"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.config import Frozen
from transformers_jax.models.llama import L
from transformers_jax.models.mistral import MistralConfig
from transformers_jax.models.shared.blocks import block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.rope import rotary
from transformers_jax.models.shared.weight_rows import HEADS_IN, HEADS_OUT, S, norm

QKV = f"{HEADS_OUT} + (g k) d -> d g k + (g k) d -> d g k"
LONG = ("su", "yarn")  # what the authors' first files call "longrope"


@dataclass(frozen=True, kw_only=True)
class Phi3Config(MistralConfig):
    """The fields of a Phi-3 config.json; defaults are Phi-3 mini. Differs from Mistral: a rotation
    may turn a part of each head, and one of long texts begins at `original_max_position_embeddings`
    (LongRoPE)."""

    model_type = "phi3"
    FIXED = {
        **dict.fromkeys(("attention_bias", "mlp_bias", "lm_head_bias"), False),
        **dict.fromkeys(("full_attn_mod", "interpolate_factor"), 1),
    }
    UNUSED = frozenset({"embd_pdrop"})
    ROWS = f"""
embed_tokens.weight | embed.table
{norm(f"{L}.input_layernorm", f"{S}.self_norm", bias=False)}
{L}.self_attn.qkv_proj.weight | {S}.self.query {S}.self.key {S}.self.value | {QKV}
{L}.self_attn.o_proj.weight   | {S}.self.out | {HEADS_IN}
{norm(f"{L}.post_attention_layernorm", f"{S}.ffn_norm", bias=False)}
{L}.mlp.gate_up_proj.weight | {S}.ffn.gate {S}.ffn.up | (n f) d -> n d f
{L}.mlp.down_proj.weight    | {S}.ffn.down | d f -> f d
{norm("norm", "stack.norm", bias=False)}
"""
    HEADS = heads_of("Phi3", "none", "causal_lm", "sequence_classification", "token_classification")

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    num_key_value_heads: int | None = None
    max_position_embeddings: int = 4096
    original_max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    rope_parameters: Frozen = Frozen(
        {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    )
    resid_pdrop: float = 0.0
    sliding_window: int | None = None
    eos_token_id: int | tuple[int, ...] | None = 32000
    pad_token_id: int | None = 32000

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        rope = values["rope_parameters"]
        rope["rope_type"] = "longrope" if rope["rope_type"] in LONG else rope["rope_type"]
        return values

    def rotates(self, number):
        rope = dict(self.rope_parameters)
        if rope["rope_type"] == "longrope":  # the field is what counts, as in the reference
            rope["original_max_position_embeddings"] = self.original_max_position_embeddings
        return rotary(rope, self.max_position_embeddings)

    @property
    def anew(self):
        long = self.rope_parameters["rope_type"] == "longrope"
        return self.original_max_position_embeddings if long else None

    def block(self, number, mask):
        own, ffn = self.attends(number, mask), self.computes(number)
        return block(own, ffn, self.norm, dropout=self.resid_pdrop)
