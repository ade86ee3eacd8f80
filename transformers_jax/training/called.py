"""What an objective is called with in a step: a model of the parameters of the state, and perhaps a
second one, which stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from transformers_jax.arrays import Params
from transformers_jax.models.base import Model, check_model
from transformers_jax.nn.param import combine, merge, split
from transformers_jax.training.state import placed
from transformers_jax.training.statistics import Statistics, with_statistics


def model_called(
    model: Any, compute_dtype: str | None, statistics: Statistics = Statistics()
) -> Callable[[Params, Params], Callable[..., Any]]:
    """From parameters, trained and frozen, to what an objective calls, without parameters of its
    own."""
    if isinstance(model, Model):
        model = model if compute_dtype is None else model.abstract(compute=compute_dtype)
        definition = split(with_statistics(model, statistics))[0]
        return lambda params, frozen: merge(definition, combine(params, frozen))
    if not callable(model):
        check_model(model, "make_step")
    if compute_dtype is not None:
        raise ValueError("compute_dtype needs the Model itself; a function has its own")
    return lambda params, frozen: functools.partial(model, params)


def second_model(
    reference: Model | None, compute_dtype: str | None, mesh: Mesh | None
) -> tuple[Params, Callable[[Params], tuple[Any, ...]]]:
    """The parameters of a second model, and from them what an objective is called with."""
    if reference is None:
        return {}, lambda params: ()
    values, model_of = split(reference)[1], model_called(reference, compute_dtype)
    values = values if mesh is None else placed(values, reference, mesh)
    return values, lambda params: (model_of(params, {}),)
