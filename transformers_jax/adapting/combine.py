"""A weighted sum of low-rank adapters, as one adapter."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformers_jax.adapting import stacked, with_parts, without_adapter
from transformers_jax.adapting.files import tensors_of
from transformers_jax.adapting.tensors import cells
from transformers_jax.models.adapters.install import scales
from transformers_jax.models.adapters.records import LoRA
from transformers_jax.models.adapters.resolve import resolved
from transformers_jax.models.base import Model, check_model
from transformers_jax.nn.param import ADAPTER, flatten, params


def combine_adapters(models: Sequence[Model], weights: Sequence[float]) -> Model:
    """The base of the models with one adapter, which adds the weighted sum of what theirs add.

    Its factors are theirs side by side (`combination_type="cat"` of PEFT), of the sum of the ranks.
    The base is that of the first model.

    Raises:
        ValueError: adapters that are no plain LoRA, models of different plans, or another number of
            weights than of models.
    """
    if not models or len(models) != len(weights):
        raise ValueError(
            f"{len(models)} models and {len(weights)} weights: give one for each model"
        )
    factors: dict[str, list[np.ndarray]] = {}
    ranks: dict[str, int] = {}
    for model, weight in zip(models, weights):
        check_model(model, "combine_adapters")
        _check(model, models[0])
        own: Any = model.plan.adapter
        known, tensors = resolved(model.plan, own), tensors_of(model)
        strengths = {target.module: target.strength for target in known.targets}
        for target in known.targets:
            ranks[target.module] = ranks.get(target.module, 0) + target.rank
        for name, read in tensors.items():
            module, _, factor = name.removeprefix("base_model.model.").partition(".lora_")
            of_b = factor.startswith(("B", "embedding_B"))
            factors.setdefault(name, []).append(
                read * np.float32(weight * strengths[module]) if of_b else read
            )
    pairs = tuple((re.escape(module), rank) for module, rank in ranks.items())
    adapter = LoRA(
        rank=max(ranks.values()),
        targets=tuple(sorted(ranks)),
        rank_pattern=pairs,
        alpha_pattern=pairs,
    )
    base = without_adapter(models[0])
    plan = dataclasses.replace(base.plan, adapter=adapter)
    known, shapes = resolved(plan, adapter), flatten(params(stacked(plan)))
    parts: dict[str, Any] = {
        path: np.zeros(x.shape, np.float32) for path, x in shapes.items() if ADAPTER in path
    }
    for name, each in cells(adapter, known, {*shapes}).items():
        axis = 0 if name.partition(".lora_")[2].startswith(("A", "embedding_A")) else 1
        for cell in each:
            cell.read(np.concatenate(factors[name], axis), parts)
    return with_parts(
        base, plan, known, {**parts, **scales(known, {p: x.shape for p, x in shapes.items()})}
    )


def _check(model: Model, first: Model) -> None:
    adapter = model.plan.adapter
    if not isinstance(adapter, LoRA) or adapter.dora or adapter.modules_to_save:
        raise ValueError(f"combined are adapters of LoRA alone; {adapter} came")
    if adapter.bias != "none":
        raise ValueError(f"bias={adapter.bias!r}: biases that were trained have no sum; use 'none'")
    bare = [dataclasses.replace(each.plan, adapter=None) for each in (model, first)]
    if bare[0] != bare[1]:
        raise ValueError("the models are of different plans; load the adapters over one base")
