"""An adapter in a model: modules in the place of parameters, and what is trained of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.models.adapters.records import IA3, Adapter, LoRA
from transformers_jax.models.adapters.resolve import Resolved, Target, resolved
from transformers_jax.models.adapters.virtual import Virtual, put_in_front
from transformers_jax.nn.adapted import Adapted, LowRank, Scaled
from transformers_jax.nn.layers import names_of
from transformers_jax.nn.param import ADAPTER, axes, flatten

Parts = dict[str, Any]
"""Arrays by the paths of what adapters add, such as `stack.blocks.0.self.query_adapter.a`."""


def install(model: Any, adapter: Adapter) -> Any:
    """The abstract model of a plan with an adapter, in the layout that the plan says: parameters
    that are adapted, in the place where they were, and the others frozen or trained; and virtual
    tokens in front of the rows of a tower."""
    known = resolved(model.plan, adapter)
    made, owners = dict[str, Adapted](), dict[str, Adapted]()
    for path, own in flatten(axes(model)).items():
        uniform = known.stacked[names_of(path, own)[0]][0]
        parent, name = _place(model, path)
        leaf = getattr(parent, name)
        leaf.set_metadata(frozen=uniform not in known.whole)
        if targets := known.by_path.get(uniform):
            tensor = _beside(path, targets[0].fill.row.ours[0])
            made[path] = _adapted(adapter, leaf, targets, owners.get(tensor))
            owners.setdefault(tensor, made[path])
            setattr(parent, name, made[path])
    if isinstance(adapter, Virtual):
        put_in_front(model, adapter)
    if isinstance(adapter, IA3):
        _scale_biases(model, known, made)
    return model


def _adapted(adapter: Adapter, leaf: nnx.Param, targets: list[Target], owner: Any) -> Adapted:
    """What stands in the place of a parameter. `owner` has the factor that parts of one tensor
    share, if it was made already."""
    sides = targets[0].sides
    if isinstance(adapter, LoRA):
        return LowRank(
            leaf,
            sides.inputs,
            sides.outputs,
            max(target.rank for target in targets),
            magnitude=adapter.dora,
            table=sides.table,
            first=None if owner is None else owner.a,
        )
    inner = targets[0].scaled == "inputs"
    along = sides.inputs if inner else sides.outputs
    shared = owner.vector if owner is not None and inner else None
    return Scaled(leaf, sides.inputs, sides.outputs, along, shared)


def _scale_biases(model: Any, known: Resolved, made: Mapping[str, Adapted]) -> None:
    """Scales the biases of weights whose outputs are scaled by the same vectors: PEFT scales what
    the whole layer computes."""
    bias_of = _weights_of_biases(known)
    for path, own in flatten(axes(model)).items():
        uniform = known.stacked.get(names_of(path, own)[0], ("", 0))[0]
        if weight := bias_of.get(uniform):
            parent, name = _place(model, path)
            leaf: Any = getattr(parent, name)
            vector = made[_beside(path, weight)]
            assert isinstance(vector, Scaled)
            outputs = tuple(range(-len(vector.outputs), 0))
            setattr(parent, name, Scaled(leaf, (), outputs, outputs, vector.vector))


def _weights_of_biases(known: Resolved) -> dict[str, str]:
    """{path of a bias: path of the weight whose outputs are scaled}."""
    bias_of: dict[str, str] = {}
    for target in known.targets:
        bias = known.fills.get(f"{target.module}.bias")
        if bias is not None and target.scaled == "outputs":
            bias_of |= dict(zip(bias.row.ours, target.fill.row.ours))
    return bias_of


def _beside(path: str, other: str) -> str:
    """The path, in the layout of `path`, of the parameter of the same layer whose path in the
    stacked layout is `other`."""
    mine, theirs = path.split("."), other.split(".")
    if "blocks" not in theirs:
        return other
    at = theirs.index("blocks") + 1
    return ".".join([*theirs[:at], mine[at], *theirs[at + 1 :]])


def _place(model: Any, path: str) -> tuple[Any, str]:
    """(the module that has a parameter, its name there)."""
    *front, name = path.split(".")
    for part in front:
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model, name


# ---------------------------------------------------------------- values


def scales(known: Resolved, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
    """The scale of every adapted parameter, in the stacked layout."""
    values: Parts = {}
    for path, targets in known.by_path.items():
        where = f"{path}{ADAPTER}.scale"
        values[where] = np.zeros(shapes[where], np.float32)
        for target in targets:
            values[where][target.fill.lead] = target.strength
    for bias, weight in _weights_of_biases(known).items():
        if (where := f"{bias}{ADAPTER}.scale") in shapes:  # of IA3
            values[where] = values[f"{weight}{ADAPTER}.scale"]
    return values


def within_ranks(known: Resolved, parts: Parts) -> Parts:
    """The factors, zero beyond the rank of each layer."""
    values = dict(parts)
    for path, targets in known.by_path.items():
        for name, axis in (("a", -1), ("b", None)):
            where = f"{path}{ADAPTER}.{name}"
            if where not in parts:  # another part of the tensor has it
                continue
            leaf = parts[where]
            lead = len(targets[0].fill.lead)
            ranks = np.zeros(leaf.shape[:lead], int)
            for target in targets:
                ranks[target.fill.lead] = target.rank
            at = leaf.ndim - 1 if axis == -1 else lead
            if (ranks == leaf.shape[at]).all():
                continue
            inside = np.arange(leaf.shape[at]) < ranks[..., None]
            shape = [*leaf.shape[:lead], *[1] * (leaf.ndim - lead)]
            shape[at] = leaf.shape[at]
            values[where] = leaf * inside.reshape(shape)
    return values


def laid_out(known: Resolved, parts: Mapping[str, Any], model: Any) -> Parts:
    """Values of the stacked layout in that of `model`, for each of its parameters that they are
    of."""
    values: Parts = {}

    names = {name: (path, index) for path in parts for name, index in _indices(known, path)}
    for path, own in flatten(axes(model)).items():
        layers = [names[name] for name in names_of(path, own) if name in names]
        if not layers:
            continue
        source = parts[layers[0][0]]
        if "layers" in own and [n for _, n in layers] == [*range(len(source))]:
            values[path] = source
        elif "layers" in own:
            values[path] = jnp.stack([parts[p][n] for p, n in layers])
        else:
            stacked = getattr(own, "layers", None) is not None
            values[path] = source[layers[0][1]] if stacked else source
    return values


def _indices(known: Resolved, path: str) -> list[tuple[str, int]]:
    """(name with the layer's number, index along `layers`) of a parameter, or of what an adapter
    adds to it."""
    base = path.partition(ADAPTER)[0]
    own = known.added[base] if base in known.added else known.axes[base]
    return [(name + path[len(base) :], n) for n, name in enumerate(names_of(base, own))]
