"""Plan: what a model was built from, and from which it can be built in another layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from transformers_jax.hub.table import Table
from transformers_jax.models.adapters.install import install
from transformers_jax.models.adapters.records import Adapter
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.frozen import Frozen
from transformers_jax.models.masks import Masks, by_layer, over, stored, without
from transformers_jax.nn.param import bind, mixed, params
from transformers_jax.spec import Execution


@dataclass(frozen=True)
class Plan:
    """Everything a model was built from, so that it can be built again in another layout."""

    config: FamilyConfig
    head: str = "none"
    execution: Execution = Execution()
    mask: Masks = None
    generation: Frozen = field(default_factory=Frozen)
    adapter: Adapter | None = None

    def __post_init__(self):
        names = self.config.mask_names(self.head)
        by_name = self.mask if isinstance(self.mask, Mapping) else {}
        if wrong := [name for name in by_name if name not in names]:
            has = f"masks {', '.join(names)}" if names else "one stack: give one mask, not a dict"
            raise ValueError(
                f"mask has {', '.join(wrong)}, but {self.config.model_type} ({self.head}) has {has}"
            )

    @property
    def table(self) -> Table:
        """The two-way weight table of the model."""
        return self.config.table(self.head)

    def build(self) -> Any:
        """The abstract model (`models.base.Model`)."""
        return self.prepared(self.config.build(self.head, self.execution, self.masks))

    @property
    def masks(self) -> Masks:
        """The caller's masks over those that the config stores."""
        return over(self.mask, stored(self.config, self.head))

    @property
    def uniform(self) -> Self:
        """The plan without masks per layer: its layers share arrays as the weight table says."""
        if not by_layer(self.masks):
            return self
        return dataclasses.replace(self, config=without(self.config), mask=None)

    def prepared(self, model: Any) -> Any:
        """A model that knows its plan, and computes as it says."""
        model.plan = self
        model = mixed(model) if self.execution.compute == "mixed" else model
        return model if self.adapter is None else install(model, self.adapter)


def rebuilt(model: Any, plan: Plan) -> Any:
    """The model as another plan with the same layers builds it: under other masks, other layers may
    share arrays."""
    if plan.uniform is plan and model.plan.uniform is model.plan:
        return bind(plan.build(), params(model.with_layers(plan.execution.layers)))
    execution = dataclasses.replace(plan.execution, layers="list")
    target = dataclasses.replace(plan, execution=execution).build()
    return bind(target, params(model.with_layers("list"))).with_layers(plan.execution.layers)
