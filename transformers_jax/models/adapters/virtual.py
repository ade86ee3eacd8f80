"""Prompt and prefix tuning in a model: virtual tokens in front of the rows of one tower."""

from __future__ import annotations

from typing import Any

from flax import nnx

from transformers_jax.graph.primitives import Same
from transformers_jax.models.adapters.records import Adapter, PrefixTuning, PromptTuning
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import TokenEmbedder, VirtualTokens
from transformers_jax.nn.embed.virtual import Keys
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.param import Axes

Virtual = (PromptTuning, PrefixTuning)
"""The adapters that are virtual tokens."""


def tower_of(model: Any, adapter: Adapter) -> str:
    """The name of the tower whose rows begin with virtual tokens: the first one for a prompt, the
    one that writes for a prefix, as in PEFT."""
    name, source = model.wires[-1].name, model.wires[-1].source
    return str(source if source is not None and isinstance(adapter, PromptTuning) else name)


def path_of(model: Any, adapter: Adapter) -> str:
    """The path of the virtual tokens."""
    name = tower_of(model, adapter)
    return str(model.towers[name].paths(name)["virtual"])


def put_in_front(model: Any, adapter: PromptTuning | PrefixTuning) -> None:
    """Puts virtual tokens into an abstract model, which `check_fits` has checked.

    Raises:
        ValueError: a mask that parts rows.
    """
    name, count = tower_of(model, adapter), adapter.tokens
    _check_whole_rows(model.towers[name].stack, adapter)
    if isinstance(adapter, PromptTuning):
        shown = any(wire.source == name for wire in model.wires)
        rows = count * int(adapter.file.get("num_transformer_submodules") or 1)
        width = model.towers[name].embed.spec.width
        tokens = VirtualTokens(count, width, rows=rows, shown=shown)
    else:
        keys = keys_of(model, name)
        own = keys.heads * keys.kv if adapter.hidden is None else adapter.hidden
        computed = adapter.projection and not adapter.file  # files hold the result
        tokens = VirtualTokens(count, keys.width, keys, hidden=own if computed else None)
    setattr(model, path_of(model, adapter), nnx.data(tokens))  # in the place of None


def keys_of(model: Any, name: str) -> Keys:
    """The sizes of the keys that the layers of a tower have. In PEFT layer n of a decoder that
    attends to an encoder reads those of layer 2 n (modulo their number) of the file."""
    op, depth = attentions(model, name)[0], model.towers[name].stack.spec.depth
    twice = tuple(2 * layer % depth for layer in range(depth))
    return Keys(depth, op.groups, op.kv, twice if model.is_encoder_decoder else None)


def attentions(model: Any, name: str) -> list[Any]:
    """The attentions of a tower to its own tokens, as their specs."""
    branches = [branch for block in model.towers[name].stack.spec.blocks for branch in block]
    return [b.op for b in branches if b.source is None and isinstance(b.op, AttentionSpec)]


def added_axes(model: Any, adapter: Adapter) -> dict[str, Axes]:
    """The paths of the modules that `put_in_front` puts into a model."""
    if not isinstance(adapter, Virtual):
        return {}
    path = path_of(model, adapter)
    return {path: Axes(()), f"{path}.values": Axes(())}


def check_fits(model: Any, adapter: PromptTuning | PrefixTuning, family: str) -> None:
    """Raises ValueError for a model in which virtual tokens would be something else than tokens."""
    kind = type(adapter).__name__

    def refuse(reason: str) -> None:
        raise ValueError(f"{kind} of {family}: {reason}")

    if not hasattr(model, "wires") or model.has_separate_towers:
        refuse("virtual tokens stand in front of the one text that a model reads")
    name = tower_of(model, adapter)
    tower = model.towers[name]
    if not isinstance(tower.embed, TokenEmbedder):
        refuse(f"they stand in front of ids, and {name!r} reads {tower.embed.raw[0]}")
    if tower.embed.blocks or tower.stack.spec.layout is not None:
        refuse("its rows are cut into blocks, which the tokens in front would move")
    if isinstance(adapter, PrefixTuning):
        _check_keys(model, name, refuse)


def _check_whole_rows(stack: Any, adapter: Adapter) -> None:
    """Refuses masks that part a row into texts, of which one alone would have the tokens."""
    for mask in (*stack.masks("self"), *stack.masks("cross")):
        if any(isinstance(part, Same) for part in mask.parts()):
            raise ValueError(
                f"{type(adapter).__name__}: virtual tokens stand in front of a row, and the mask "
                f"{mask} parts a row into several texts; give each a row of its own (--data.rows "
                "padded, or bucketed)"
            )


def _check_keys(model: Any, name: str, refuse: Any) -> None:
    """Refuses layers in which keys and values of their own would not be all that virtual tokens
    are: they would take part in what else is computed of a row."""
    for block in model.towers[name].stack.spec.blocks:
        for branch in block:
            if branch.source is None and type(branch.op) not in (AttentionSpec, FeedForwardSpec):
                refuse(
                    f"the branch {branch.name!r} ({type(branch.op).__name__}) reads more of the "
                    "tokens in front than their keys and values; PromptTuning has vectors for them"
                )
            if len(branch.op.masks) > 1 or branch.op.extend is not None:
                refuse("an attention of several relations, or with keys of its own, has no prefix")
    sizes = {(op.groups, op.kv, op.value or op.kv) for op in attentions(model, name)}
    if len(sizes) != 1 or any(key != value for _, key, value in sizes):
        refuse("its keys and values are of several sizes, which a file of PEFT cannot hold")
