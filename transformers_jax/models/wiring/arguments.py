"""The arguments of a call of a network, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from transformers_jax.models.wiring.tower import Tower, have_routers
from transformers_jax.nn.head import Head

POSITIONAL = (
    *("attention_mask", "decoder_input_ids", "decoder_attention_mask", "encoder_outputs"),
    *("token_type_ids", "position_ids", "inputs_embeds", "decoder_inputs_embeds"),
    *("key", "tags", "decoder_tags", "pairs", "cache"),
    *("output_hidden_states", "output_attentions"),
)
"""The order of arguments without a name, behind the raw input; others come behind these."""


def arguments_of(towers: Sequence[Tower], head: Head | None, *, whole: bool) -> tuple[str, ...]:
    """Those of some towers, and, where they are a `whole` network, of its head and its caches. The
    raw input comes first, ids before images."""
    names = ["key", *(name for tower in towers for name in tower.arguments)]
    if whole:
        sources = dict.fromkeys(tower.source for tower in towers if tower.source is not None)
        names += ["pairs", "cache", *(f"{source}_outputs" for source in sources)]
        names += () if head is None else head.labels
    names += ["output_hidden_states", "output_attentions"]
    names += ["output_router_logits"] if have_routers(towers) else []
    raw = [tower.embed.raw[0] for tower in towers if tower.embed.raw and not tower.prefix]
    raw.sort(key=lambda name: name != "input_ids")
    first = [*raw, *(name for name in POSITIONAL if name in names)]
    return tuple(dict.fromkeys((*first, *names)))
