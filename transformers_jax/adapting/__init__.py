"""Models with adapters: made, merged, read and written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from transformers_jax import shard
from transformers_jax.adapting.virtual import beginning
from transformers_jax.arrays import Key, Params, check_key
from transformers_jax.models.adapters.install import Parts, laid_out, scales, within_ranks
from transformers_jax.models.adapters.records import Adapter
from transformers_jax.models.adapters.resolve import Resolved, resolved
from transformers_jax.models.adapters.virtual import Virtual
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.plan import Plan
from transformers_jax.nn.adapted import Adapted, LowRank
from transformers_jax.nn.param import (
    ADAPTER,
    axes,
    bind,
    draw,
    flatten,
    is_constant,
    merge,
    params,
    split,
    unflatten,
)

DTYPE = "float32"  # of what an adapter adds, whatever its model is stored in


def adapt(model: Model, adapter: Adapter, *, key: Key | None = None) -> Model:
    """The model with an adapter, which computes what it did before: factors begin at a product of
    zero, scales at one; but not with virtual tokens. It has the arrays of the model, not copies.

    Only the adapter is then trained and saved, and what it says is trained as a whole
    (`tj.partition`).

    Args:
        key: from which factors, or virtual tokens, are drawn.

    Raises:
        ValueError: targets that fit nothing, with the nearest names; no key where something is
            drawn; a model that has an adapter already, or no place for virtual tokens.
    """
    check_model(model, "adapt")
    if not isinstance(adapter, Adapter):
        raise TypeError(f"adapt(model, adapter): expected one such as tj.LoRA(rank=8); {adapter!r}")
    check_bare(model)
    if key is not None:
        check_key(key)
    plan = dataclasses.replace(model.plan, adapter=adapter)
    known, uniform = resolved(plan, adapter), stacked(plan)
    added = [path for path in flatten(params(uniform)) if ADAPTER in path]
    first = beginning(model, adapter, key)
    random = [path for path in added if path not in first and not is_constant(uniform, path)]
    if key is None and random:
        raise ValueError(
            f"the values of {', '.join(random[:3])}{', ...' if len(random) > 3 else ''} are drawn: "
            "give key=jax.random.key(seed)"
        )
    key = jax.random.key(0) if key is None else key  # of constants
    shapes = {path: leaf.shape for path, leaf in flatten(params(uniform)).items()}
    parts: Parts = {p: draw(uniform, p, key, None, DTYPE) for p in added if p not in first}
    parts = within_ranks(known, parts) | scales(known, shapes) | first
    return started(with_parts(model, plan, known, parts))


def check_bare(model: Model) -> None:
    """Raises ValueError for a model that has an adapter."""
    if model.plan.adapter is not None:
        raise ValueError(
            f"this model has an adapter, {type(model.plan.adapter).__name__}; merge it "
            "(tj.merge_adapter) or leave it out (tj.without_adapter) first"
        )


def stacked(plan: Plan) -> Model:
    """The abstract model of a plan, its layers stacked as weight tables name them."""
    execution = dataclasses.replace(plan.execution, layers="stacked")
    model: Model = dataclasses.replace(plan.uniform, execution=execution).build()
    return model


def with_parts(
    model: Model,
    plan: Plan,
    known: Resolved,
    parts: Mapping[str, Any],
    whole: Mapping[str, Any] | None = None,
) -> Model:
    """The model as a plan with an adapter builds it, its parameters with what the adapter adds.

    Args:
        parts: what is added, and `whole` other values of parameters, as stacked layers have them.
    """
    target, base = plan.build(), flatten(params(model))
    values = laid_out(known, {**parts, **(whole or {})}, target)
    like: Any = next(iter(base.values())).sharding
    if isinstance(like, NamedSharding):
        named = {path: flatten(axes(target))[path] for path in values}
        mesh: Any = like.mesh
        at = flatten(shard.shardings(unflatten(named), unflatten(values), mesh))
        values = {path: jax.device_put(x, at[path]) for path, x in values.items()}
    else:
        values = {path: jnp.asarray(x) for path, x in values.items()}
    return bind(target, unflatten({**base, **values}))


def started(model: Model) -> Model:
    """The model, its magnitudes those of its weights (Liu et al. 2024, DoRA, section 4.1)."""
    values = flatten(params(model))
    if not any(path.endswith(f"{ADAPTER}.magnitude") for path in values):
        return model
    definition, tree = split(model)
    for path, norms in _norms(definition, tree).items():
        where = f"{path}{ADAPTER}.magnitude"
        values[where] = jax.device_put(norms, values[where].sharding)
    return bind(model, unflatten(values))


@functools.partial(jax.jit, static_argnums=0)
def _norms(definition: Any, values: Params) -> dict[str, Any]:
    """The norms of adapted weights, by their paths."""
    modules = adapted(merge(definition, values)).items()
    norms = {path: each.norms() for path, each in modules if isinstance(each, LowRank)}
    return {path: each.astype(DTYPE) for path, each in norms.items()}


def adapted(model: Model) -> dict[str, Adapted]:
    """What stands in the place of parameters, by their paths."""
    places: dict[str, Adapted] = {}
    for path in flatten(params(model)):
        if path.endswith(f"{ADAPTER}.scale"):
            own = path.removesuffix(f"{ADAPTER}.scale")
            module: Any = model
            for part in own.split("."):
                module = module[int(part)] if part.isdigit() else getattr(module, part)
            places[own] = module
    return places


def merge_adapter(model: Model) -> Model:
    """The model without its adapter, whose weights hold what it added: for `save_pretrained`, and
    for generation at full speed.

    Raises:
        ValueError: a model without an adapter, or with virtual tokens; adapted embeddings that are
            the output embedding as well, which stays as it was.
    """
    check_model(model, "merge_adapter")
    if isinstance(model.plan.adapter, Virtual):
        raise ValueError(
            f"{type(model.plan.adapter).__name__} is no change of weights, so that no weights can "
            "hold it: save it with tj.save_adapter, or leave it out with tj.without_adapter"
        )
    plan = _bare_plan(model, "merge")
    definition, tree = split(model)
    values = {p: x for p, x in flatten(tree).items() if ADAPTER not in p}
    modules = adapted(model)
    if any(module is model.output_words for module in modules.values()) and _is_tied(model):
        raise ValueError(
            "the token embeddings are adapted, and the output embedding is the same table without "
            "the adapter: merged it would change. Keep the adapter, or tie no embeddings "
            "(tie_word_embeddings=False)"
        )
    for path, merged in _merged(definition, tree).items():
        values[path] = jax.device_put(merged, values[path].sharding)
    return bind(plan.build(), unflatten(values))


@functools.partial(jax.jit, static_argnums=0)
def _merged(definition: Any, values: Params) -> dict[str, Any]:
    """The merged weights by their paths."""
    return {p: each.merged() for p, each in adapted(merge(definition, values)).items()}


def _is_tied(model: Model) -> bool:
    """Whether the output embedding is the table of the token embeddings."""
    head: Any = getattr(model, "head", None)
    return hasattr(head, "table") and head.table is None


def without_adapter(model: Model) -> Model:
    """The model without its adapter, with the same arrays. Parameters that were trained as a whole
    (`modules_to_save`, biases) are as they were trained.

    Raises:
        ValueError: a model without an adapter.
    """
    check_model(model, "without_adapter")
    values = {p: x for p, x in flatten(params(model)).items() if ADAPTER not in p}
    return bind(_bare_plan(model, "leave out").build(), unflatten(values))


def _bare_plan(model: Model, what: str) -> Plan:
    if model.plan.adapter is None:
        raise ValueError(f"this model has no adapter to {what}: tj.adapt gives it one")
    return dataclasses.replace(model.plan, adapter=None)
