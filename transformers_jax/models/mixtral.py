"""Mixtral (Jiang et al. 2024): Mistral, each layer of which has experts, two a token. Hugging Face
model_type "mixtral"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.config import Frozen
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.mistral import MistralConfig
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.experts import balance, expert_rows
from transformers_jax.models.shared.rope import modern_rope
from transformers_jax.nn.experts import ExpertsSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.routers import Softmax
from transformers_jax.spec import Branch

L = "layers.{i}"


@dataclass(frozen=True, kw_only=True)
class MixtralConfig(MistralConfig):
    """The fields of a Mixtral config.json; defaults are Mixtral 8x7B. Files hold a tensor for each
    expert, or, as in memory, one for all of a layer."""

    model_type = "mixtral"
    SPELLINGS = {"num_experts": "num_local_experts"}
    ROWS = LlamaConfig.ROWS + expert_rows(f"{L}.block_sparse_moe", "w1 w3 w2")
    FUSED = LlamaConfig.ROWS + expert_rows(f"{L}.mlp", fused=True)
    HEADS = heads_of("Mixtral", "none", "causal_lm", *LABELLING)

    rms_norm_eps: float = 1e-5
    rope_parameters: Frozen = Frozen({"rope_type": "default", "rope_theta": 1e6})
    sliding_window: int | None = None
    num_local_experts: int = 8
    num_experts_per_tok: int = 2
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.001
    router_jitter_noise: float = 0.0

    @classmethod
    def modernise(cls, values):
        return super().modernise(modern_rope(values, 1e6))

    def computes(self, number):
        return Branch(
            "experts",
            ExpertsSpec(
                self.num_local_experts,
                self.num_experts_per_tok,
                FeedForwardSpec(self.intermediate_size, self.hidden_act, gated=True, bias=False),
                Softmax(normalise=True),
                jitter=self.router_jitter_noise,
                jittered="tokens",
            ),
        )

    def routing(self, head):
        return balance(self, head, self.router_aux_loss_coef)

    def backbones(self):
        return (self.FUSED,)
