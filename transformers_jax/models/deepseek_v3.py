"""DeepSeek-V3 (Liu et al. 2024): latent attention, and experts of groups beside shared ones.
Hugging Face model_type "deepseek_v3"."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.graph import with_own
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.experts import EXPERTS, balance, expert_rows
from transformers_jax.models.shared.weight_rows import HEADS_IN, HEADS_OUT, S, dense, feed_forward
from transformers_jax.models.shared.weight_rows import norm as norm_rows
from transformers_jax.nn.experts import ExpertsSpec, Shared
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.latent_attention import LatentAttentionSpec
from transformers_jax.nn.routers import Sigmoid
from transformers_jax.spec import Branch

L = "layers.{i}"
A = f"{S}.self"
ATTENTION = f"""
{dense(f"{L}.self_attn.q_proj", f"{A}.query", HEADS_OUT, None)}
{dense(f"{L}.self_attn.q_a_proj", f"{A}.query_down", "r d -> d r")}
{norm_rows(f"{L}.self_attn.q_a_layernorm", f"{A}.query_norm", bias=False)}
{dense(f"{L}.self_attn.q_b_proj", f"{A}.query_up", HEADS_OUT, None)}
{L}.self_attn.kv_a_proj_with_mqa.weight | {A}.down {A}.key | r d -> d r + k d -> d k
{L}.self_attn.kv_a_proj_with_mqa.bias | {A}.down_bias {A}.key_bias | r -> r + k -> k
{norm_rows(f"{L}.self_attn.kv_a_layernorm", f"{A}.latent_norm", bias=False)}
{dense(f"{L}.self_attn.kv_b_proj", f"{A}.up", HEADS_OUT, None)}
{dense(f"{L}.self_attn.o_proj", f"{A}.out", HEADS_IN)}
"""
BESIDE = f"{L}.mlp.gate.e_score_correction_bias | {EXPERTS}.correction" + feed_forward(
    f"{L}.mlp.shared_experts", f"{EXPERTS}.shared", "gate_proj up_proj down_proj", bias=False
)
OTHERS = "\n".join(line for line in LlamaConfig.ROWS.splitlines() if "self_attn" not in line)


@dataclass(frozen=True, kw_only=True)
class DeepseekV3Config(LlamaConfig):
    """The fields of a DeepSeek-V3 config.json; defaults are DeepSeek-V3 671B. The layers for the
    prediction of several tokens, which files have behind the others, are left out."""

    model_type = "deepseek_v3"
    PREFIXES = {}
    SPELLINGS = {"num_local_experts": "n_routed_experts"}
    FIXED = {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1}
    UNUSED = frozenset(
        """aux_loss_alpha ep_size head_dim num_mtp_layers num_nextn_predict_layers
        qk_head_dim seq_aux""".split()
    )
    ROWS = OTHERS + ATTENTION + expert_rows(f"{L}.mlp") + f"\n{BESIDE}"
    FUSED = OTHERS + ATTENTION + expert_rows(f"{L}.mlp", fused=True) + f"\n{BESIDE}"
    HEADS = heads_of(
        "DeepseekV3", "none", "causal_lm", "sequence_classification", "token_classification"
    )
    head_dim: ClassVar[int | None] = None  # type: ignore[misc]  # no field here
    mlp_bias: ClassVar[bool] = False  # type: ignore[misc]

    vocab_size: int = 129280
    hidden_size: int = 7168
    intermediate_size: int = 18432
    moe_intermediate_size: int = 2048
    num_hidden_layers: int = 61
    num_attention_heads: int = 128
    num_key_value_heads: int | None = 128
    n_shared_experts: int = 1
    n_routed_experts: int = 256
    routed_scaling_factor: float = 2.5
    kv_lora_rank: int = 512
    q_lora_rank: int | None = 1536
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    qk_nope_head_dim: int = 128
    n_group: int = 8
    topk_group: int = 4
    num_experts_per_tok: int = 8
    first_k_dense_replace: int = 3
    norm_topk_prob: bool | None = True
    max_position_embeddings: int = 4096
    rope_interleave: bool | None = True
    output_router_logits: bool = False
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 1

    def attends(self, number, mask):
        rotation = self.rotates(number)
        assert rotation is not None  # all of Llama's layers have one
        rotation = replace(rotation, interleaved=bool(self.rope_interleave))
        return LatentAttentionSpec(
            heads=self.num_attention_heads,
            plain=self.qk_nope_head_dim,
            turned=self.qk_rope_head_dim,
            value=self.v_head_dim,
            rank=self.kv_lora_rank,
            rotary=rotation,
            query_rank=self.q_lora_rank,
            mask=with_own(mask, self.sees(number)),
            scale=self.scale,
            bias=self.attention_bias,
            dropout=self.attention_dropout,
        )

    @property
    def scale(self) -> float:
        """What multiplies scores: with YaRN, its factor for all of a head, squared."""
        rope, width = self.rope_parameters, self.qk_nope_head_dim + self.qk_rope_head_dim
        weight = rope.get("mscale_all_dim") if rope["rope_type"] != "default" else None
        factor = rope["factor"] if weight else 1.0
        mscale = 0.1 * weight * math.log(factor) + 1.0 if weight and factor > 1 else 1.0
        return width**-0.5 * mscale**2

    @property
    def router(self) -> Sigmoid:
        """How experts are chosen (section 2.1.2)."""
        return Sigmoid(
            groups=self.n_group,
            kept=self.topk_group,
            normalise=bool(self.norm_topk_prob),
            scale=self.routed_scaling_factor,
        )

    def computes(self, number):
        if number < self.first_k_dense_replace:
            return super().computes(number)
        width = self.moe_intermediate_size
        ffn = FeedForwardSpec(width, self.hidden_act, gated=True, bias=False)
        shared = Shared(replace(ffn, hidden=width * self.n_shared_experts))
        count, top = self.n_routed_experts, self.num_experts_per_tok
        return Branch("experts", ExpertsSpec(count, top, ffn, self.router, shared))

    def routing(self, head):
        return balance(self, head, None)  # experts are balanced by their corrections

    def backbones(self):
        return (self.FUSED,)

    def table(self, head):
        table, further = super().table(head), f"{self.PREFIX}layers.{self.num_hidden_layers}.*"
        ignore = (*table.ignore, further)
        variants = tuple(replace(each, ignore=ignore) for each in table.variants)
        return replace(table, ignore=ignore, variants=variants)
