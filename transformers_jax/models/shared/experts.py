"""Decoders with experts: the rows of their tensors, and what their routers add to the loss."""

from __future__ import annotations

from typing import Any

from transformers_jax.models.shared.weight_rows import S, dense, feed_forward, norm
from transformers_jax.nn.router_losses import BalanceLoss

EXPERTS = f"{S}.experts"
FUSED = f"{EXPERTS}.gate {EXPERTS}.up | e (n f) d -> n e d f"
"""Gates and what they multiply of all experts of a layer, as they are in memory."""
DOWN = f"{EXPERTS}.down | e d f -> e f d"


def expert_rows(
    theirs: str, names: str = "gate_proj up_proj down_proj", fused: bool = False
) -> str:
    """A router and its experts in the layer called `theirs`, behind a norm of its own: a tensor for
    each expert, or, `fused`, for all of a layer."""
    mlp = theirs.rpartition(".")[0]
    text = norm(f"{mlp}.post_attention_layernorm", f"{EXPERTS}_norm", bias=False)
    text += dense(f"{theirs}.gate", f"{EXPERTS}.router", "e d -> d e", bias=None)
    if not fused:
        return text + feed_forward(f"{theirs}.experts.{{e}}", EXPERTS, names, bias=False)
    return f"{text}\n{theirs}.experts.gate_up_proj | {FUSED}\n{theirs}.experts.down_proj | {DOWN}"


def balance(config: Any, head: str, weight: float | None) -> BalanceLoss:
    """What routers add to the loss of a model that writes, if a call or the config asks for it."""
    writes, scored = head == "causal_lm", head in ("causal_lm", "none")
    always = config.output_router_logits and scored
    return BalanceLoss(weight if writes else None, config.num_experts_per_tok, always)
