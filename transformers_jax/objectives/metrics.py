"""What every objective returns: its loss, and sums and weights of what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Key

Metrics = dict[str, Any]
"""{name: (sum, weight)}; under "loss" also {part: (sum, weight)}, whose means add up to it."""
Batch = Mapping[str, Any]
LossAndMetrics = tuple[Float[Array, ""], Metrics]
Objective = Callable[[Any, Batch, Key | None], LossAndMetrics]
"""(model, batch, key) -> (loss to differentiate, what is reported)."""


def means(sums: Metrics) -> dict[str, Array]:
    """The figures of which these are sums and weights; a loss of several parts is their sum."""
    figures: dict[str, Array] = {}
    for name, value in sums.items():
        parts = value if isinstance(value, Mapping) else {name: value}
        each = {part: total / jnp.maximum(n, 1e-9) for part, (total, n) in parts.items()}
        figures |= {name: sum(each.values()), **each} if isinstance(value, Mapping) else each
    return figures


def require(batch: Batch, *names: str, expected: str = "") -> None:
    """Raises ValueError for what a batch lacks, with what is `expected` of it."""
    if missing := [name for name in names if name not in batch]:
        came = ", ".join(batch) or "nothing"
        raise ValueError(f"the batch has {came}, but no {' and no '.join(missing)}{expected}")
