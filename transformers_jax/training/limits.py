"""Parameters that an update of training does not take beyond a limit, as the head says it: CLIP's
scale of the cosines, the parameters otherwise being free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Params
from transformers_jax.models.base import Model
from transformers_jax.nn.param import flatten, unflatten

Limits = Mapping[str, float]
"""The greatest value of parameters, by their paths."""


def limits_of(model: Any, params: Params, frozen: Any) -> Limits:
    """The limits of what is trained (`params`); what the optimizer freezes has none."""
    head = getattr(model, "head", None) if isinstance(model, Model) else None
    own = getattr(head, "limits", {})
    trained, fixed = flatten(params), {} if frozen is None else flatten(frozen)
    paths = {f"head.{name}": limit for name, limit in own.items()}
    return {p: x for p, x in paths.items() if p in trained and fixed.get(p) is not True}


def limited(params: Params, limits: Limits) -> Params:
    """The parameters, none above its limit."""
    if not limits:
        return params
    flat = flatten(params)
    return unflatten({**flat, **{p: jnp.minimum(flat[p], x) for p, x in limits.items()}})
