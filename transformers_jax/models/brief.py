"""A model in a few lines: what `repr(model)` says."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.sharding import NamedSharding

from transformers_jax.nn.param import params

WIDTH = 96  # columns; masks of many terms are cut


def brief(model: Any) -> str:
    """Family, head and parameters; sizes; dtypes; masks; where the arrays are."""
    arrays = jax.tree.leaves(params(model))
    count = sum(math.prod(leaf.shape) for leaf in arrays)
    lines = [f"{name}: {_sizes(stack.spec)}" for name, stack in _stacks(model)]
    if vocabulary := getattr(model.config, "vocab_size", None):
        lines.append(f"vocabulary: {vocabulary:,}")
    lines += [f"dtype: {_dtypes(model, arrays)}", *_masks(model), f"arrays: {_devices(arrays)}"]
    lines = [text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..." for text in lines]
    title = f"{model.config.model_type} ({model.plan.head}), {count:,} parameters"
    if model.plan.adapter is not None:
        lines.append(f"adapter: {type(model.plan.adapter).__name__}")
    return "\n  ".join([title, *lines])


def class_and_head(model: Any) -> str:
    """The class of a model and, where it has a plan, its head."""
    name = type(model).__name__
    return f"{name} ({model.plan.head})" if "plan" in vars(model) else name


def _stacks(model: Any) -> list[tuple[str, Any]]:
    """The stacks in the order in which they run, the decoder last."""
    return sorted(model.stacks().items(), key=lambda item: (item[0] == "decoder", item[0]))


def _sizes(spec: Any) -> str:
    """ "12 layers of width 768, 12 heads of 64, hidden 3,072"."""
    branches = [branch.op for block in spec.blocks for branch in block]
    parts = [f"{spec.depth} layers of width {spec.width}"]
    if spec.order:
        parts[0] += f" with {len(spec.blocks)} sets of parameters"
    for op in branches:
        if hasattr(op, "heads"):
            shared = f" on {op.groups}" if op.groups != op.heads else ""
            parts.append(f"{op.heads} heads of {op.kv}{shared}")
        elif hasattr(op, "hidden"):
            parts.append(f"hidden {op.hidden:,}")
        elif hasattr(op, "ffn"):
            parts.append(f"{op.count} experts of hidden {op.ffn.hidden:,}")
    return ", ".join(dict.fromkeys(parts))


def _dtypes(model: Any, arrays: list[Any]) -> str:
    stored = " and ".join(sorted({leaf.dtype.name for leaf in arrays}))
    compute = model.execution.compute
    return stored if compute in (None, stored) else f"{stored}, computes in {compute}"


def _masks(model: Any) -> list[str]:
    """A line for each kind of attention of each stack, and whether the masks are the caller's."""
    lines = []
    for name, stack in _stacks(model):
        for kind in ("self", "cross"):
            if masks := stack.masks(kind):
                which = f"{name} {kind}" if len(model.stacks()) > 1 or kind == "cross" else "mask"
                lines.append(f"{which}: {'; '.join(map(str, masks))}")
    if lines and model.plan.mask is not None:
        lines[-1] += " (masks are the caller's)"
    return lines


def _devices(arrays: list[Any]) -> str:
    """The mesh or the devices on which the parameters are."""
    if not all(isinstance(leaf, jax.Array) for leaf in arrays):
        return "none: shapes only"
    if any(isinstance(leaf, jax.core.Tracer) for leaf in arrays):
        return "traced"
    meshes = {a.sharding.mesh for a in arrays if isinstance(a.sharding, NamedSharding)}
    if len(meshes) == 1:
        shape = next(iter(meshes)).shape
        axes = " x ".join(f"{name} {size}" for name, size in shape.items() if size > 1)
        whole = sum(leaf.nbytes for leaf in arrays if leaf.is_fully_replicated)
        share = whole / max(1, sum(leaf.nbytes for leaf in arrays))
        return f"on a mesh of {axes or 'one device'}, {share:.0%} of the bytes on every device"
    devices = sorted({str(device) for leaf in arrays for device in leaf.devices()})
    return "on " + ", ".join(devices)
