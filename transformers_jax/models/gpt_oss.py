"""gpt-oss (Agarwal et al. 2025): experts with biases, windows in every second layer, and sinks of
attention. Hugging Face model_type "gpt_oss"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from transformers_jax.models.config import Frozen
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.mistral import MistralConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.experts import EXPERTS, balance
from transformers_jax.models.shared.layer_types import repeated
from transformers_jax.models.shared.rope import modern_rope
from transformers_jax.models.shared.weight_rows import S, dense, norm
from transformers_jax.nn.experts import ExpertsSpec
from transformers_jax.nn.feedforward import ClampedSwiglu, FeedForwardSpec
from transformers_jax.nn.routers import SoftmaxOfTop
from transformers_jax.spec import Branch

L = "layers.{i}"
BASE = 150000.0
YARN = dict(rope_type="yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False)
ROPE = Frozen({**YARN, "original_max_position_embeddings": 4096, "rope_theta": BASE})
INTO = f"{EXPERTS}.gate {EXPERTS}.up | e d (f n) -> n e d f"
BIASES = f"{EXPERTS}.gate_bias {EXPERTS}.up_bias | e (f n) -> n e f"


@dataclass(frozen=True, kw_only=True)
class GptOssConfig(MistralConfig):
    """The fields of a gpt-oss config.json; defaults are gpt-oss-120b. Of the layers, one of two
    attends to a window; `hidden_act` is written by files, and experts have a gate of their own.
    Experts in MXFP4, as they were released, are read as bfloat16 (`hub/mxfp4.py`)."""

    model_type = "gpt_oss"
    SPELLINGS = {"num_experts": "num_local_experts", "experts_per_token": "num_experts_per_tok"}
    UNUSED = frozenset({"hidden_act", "initial_context_length"})
    ROWS = f"""{LlamaConfig.ROWS}
{L}.self_attn.sinks | {S}.self.sinks
{norm(f"{L}.post_attention_layernorm", f"{EXPERTS}_norm", bias=False)}
{dense(f"{L}.mlp.router", f"{EXPERTS}.router", "e d -> d e")}
{L}.mlp.experts.gate_up_proj | {INTO}
{L}.mlp.experts.gate_up_proj_bias | {BIASES}
{L}.mlp.experts.down_proj | {EXPERTS}.down
{L}.mlp.experts.down_proj_bias | {EXPERTS}.down_bias
"""
    HEADS = heads_of(
        "GptOss", "none", "causal_lm", "sequence_classification", "token_classification"
    )

    vocab_size: int = 201088
    hidden_size: int = 2880
    intermediate_size: int = 2880
    num_hidden_layers: int = 36
    num_attention_heads: int = 64
    head_dim: int | None = 64
    rms_norm_eps: float = 1e-5
    rope_parameters: Frozen = ROPE
    sliding_window: int | None = 128
    layer_types: tuple[str, ...] | None = None
    attention_bias: bool = True  # type: ignore[misc]
    num_local_experts: int = 128
    num_experts_per_tok: int = 4
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.001
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None

    @classmethod
    def modernise(cls, values):
        quantised = values.get("quantization_config")
        if isinstance(quantised, Mapping) and quantised.get("quant_method") == "mxfp4":
            values.pop("quantization_config")  # what is read are numbers in bfloat16
        said = values.get("rope_scaling") or values.get("rope_parameters")
        base = values.pop("rope_theta", None)
        rope = {**(said or ROPE)} | ({} if base is None else {"rope_theta": base})
        values = {**values, "rope_scaling": None, "rope_parameters": rope}
        return super().modernise(modern_rope(values, BASE))

    @property
    def types(self):
        return self.layer_types or repeated(self.num_hidden_layers, 2)

    def attends(self, number, mask):
        return replace(super().attends(number, mask), sinks=True)

    def computes(self, number):
        gate = ClampedSwiglu(self.swiglu_alpha, self.swiglu_limit)
        ffn = FeedForwardSpec(self.intermediate_size, gated=gate)
        count, top = self.num_local_experts, self.num_experts_per_tok
        return Branch("experts", ExpertsSpec(count, top, ffn, SoftmaxOfTop(bias=True)))

    def routing(self, head):
        return balance(self, head, self.router_aux_loss_coef)
