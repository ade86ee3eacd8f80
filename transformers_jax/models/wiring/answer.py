"""The fields of an output that are of the towers: states, attention weights, routers, caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers_jax.models.wiring.tower import TowerOutput
from transformers_jax.models.wiring.wire import Wire
from transformers_jax.nn.router_losses import BalanceLoss, RouterLosses


def fields_of_stack(
    own: TowerOutput, terms: Any, routing: BalanceLoss | None, asked: bool | None
) -> dict[str, Any]:
    """Those of one stack; `terms` are those of the loss, to which routers add theirs. Whether the
    scores of routers are `asked` for, the family says where a call does not."""
    ran = own.ran
    routers = routing is not None and routing.always if asked is None else asked
    scores = ran.routers if routers else ()
    fields: dict[str, Any] = {}
    if scores and routing is not None and ran.cache is None:
        fields |= routing.fields(scores, own.valid, terms)
    return fields | {
        "cache": ran.cache,
        "hidden_states": ran.hidden or None,
        "attentions": ran.weights or None,
        "router_logits": tuple(x.reshape(-1, x.shape[-1]) for x in scores) or None,
    }


def fields_of_sides(
    wire: Wire,
    own: TowerOutput,
    outputs: Mapping[str, Any],
    terms: Any,
    routing: RouterLosses | None,
    routers: bool | None,
) -> dict[str, Any]:
    """Those of a decoder, which `wire` connects, and of the encoder to which it attends; `terms`
    are those of the loss, to which routers add theirs."""
    ran, name, source = own.ran, wire.name, str(wire.source)
    before = outputs.get(source, {})
    fields: dict[str, Any] = {}
    scores = {source: before.get("router_logits", ()), name: ran.routers}
    if routers and routing is not None:
        fields |= routing.fields(scores, len(own.x), terms)
    fields["cache"] = ran.cache
    fields[f"{name}_hidden_states"] = ran.hidden or None
    fields[f"{name}_attentions"] = ran.weights or None
    fields["cross_attentions"] = ran.cross_weights or None
    for field in ("last_hidden_state", "hidden_states", "attentions"):
        fields[f"{source}_{field}"] = before.get(field)
    return fields | {f"{n}_router_logits": x or None for n, x in scores.items() if routers}


def collected(output_hidden_states: bool, output_attentions: bool) -> frozenset[str]:
    """What a stack collects of every layer."""
    fields = (("hidden", output_hidden_states), ("weights", output_attentions))
    return frozenset(name for name, collect in fields if collect)
