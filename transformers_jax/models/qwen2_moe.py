"""Qwen2-MoE and Qwen1.5-MoE (Yang et al. 2024, section 2.2.2): Qwen2 with many small experts and
one that serves every token. Hugging Face model_type "qwen2_moe"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.qwen2 import Qwen2Config
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.experts import EXPERTS, balance, expert_rows
from transformers_jax.models.shared.layer_types import EVERY, WINDOW
from transformers_jax.models.shared.weight_rows import feed_forward
from transformers_jax.nn.experts import ExpertsSpec, Shared
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.routers import Softmax
from transformers_jax.spec import Branch

L = "layers.{i}.mlp"
BESIDE = f"{L}.shared_expert_gate.weight | {EXPERTS}.shared_gate | 1 d -> d" + feed_forward(
    f"{L}.shared_expert", f"{EXPERTS}.shared", "gate_proj up_proj down_proj", bias=False
)


@dataclass(frozen=True, kw_only=True)
class Qwen2MoeConfig(Qwen2Config):
    """The fields of a Qwen2-MoE config.json; defaults are those of the reference. Layers have
    experts, every `decoder_sparse_step`-th of them, but those in `mlp_only_layers`."""

    model_type = "qwen2_moe"
    FIXED = {}
    PREFIXES = {}
    SPELLINGS = {"num_local_experts": "num_experts"}
    ROWS = f"{LlamaConfig.ROWS}{expert_rows(L)}\n{BESIDE}"
    FUSED = f"{LlamaConfig.ROWS}{expert_rows(L, fused=True)}\n{BESIDE}"
    HEADS = heads_of("Qwen2Moe", "none", "causal_lm", *LABELLING)

    hidden_size: int = 2048
    intermediate_size: int = 5632
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 16
    qkv_bias: bool = True
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] | None = ()
    num_experts: int = 60
    num_experts_per_tok: int = 4
    moe_intermediate_size: int = 1408
    shared_expert_intermediate_size: int = 5632
    norm_topk_prob: bool = False
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.001

    @property
    def types(self):
        if self.layer_types is not None:
            return self.layer_types
        last = self.max_window_layers if self.use_sliding_window else 0
        numbers = range(self.num_hidden_layers)
        return tuple(EVERY if n % 2 or n >= last else WINDOW for n in numbers)

    def attends(self, number, mask):
        attention = super().attends(number, mask)
        return attention if self.qkv_bias else replace(attention, bias=())

    def sparse(self, number: int) -> bool:
        """Whether a layer has experts."""
        dense = number in (self.mlp_only_layers or ())
        return not dense and (number + 1) % self.decoder_sparse_step == 0

    @property
    def shared(self) -> Shared | None:
        """What serves every token."""
        return Shared(self.gated(self.shared_expert_intermediate_size), gated=True)

    def gated(self, hidden: int) -> FeedForwardSpec:
        """A feed-forward network of so many hidden units."""
        return FeedForwardSpec(hidden, self.hidden_act, gated=True, bias=False)

    def computes(self, number):
        if not self.sparse(number):
            return super().computes(number)
        count, top, router = self.num_experts, self.num_experts_per_tok, self.norm_topk_prob
        ffn = self.gated(self.moe_intermediate_size)
        return Branch(
            "experts", ExpertsSpec(count, top, ffn, Softmax(normalise=router), self.shared)
        )

    def routing(self, head):
        return balance(self, head, self.router_aux_loss_coef)

    def backbones(self):
        return (self.FUSED,)
