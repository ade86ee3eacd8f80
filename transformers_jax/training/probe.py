"""A linear probe that is solved: the features of all rows, computed once, and the best last layer
for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from transformers_jax import processes, shard
from transformers_jax.arrays import Float, Params
from transformers_jax.data.packing import Batch
from transformers_jax.extras import need
from transformers_jax.models.adapters.records import Probe
from transformers_jax.nn.param import flatten, merge, split, unflatten
from transformers_jax.tasks import MultiLabel, Regression, SequenceClassification, Task
from transformers_jax.tasks.base import in_order
from transformers_jax.tasks.rows import NUMBER, Rows
from transformers_jax.training.config import TrainConfig

WEIGHT, BIAS = "head.classify.weight", "head.classify.bias"
SOLVED = (SequenceClassification, MultiLabel, Regression)


def is_solved(config: TrainConfig) -> bool:
    """Whether the last layer of a run is solved, not trained by gradients."""
    return isinstance(config.adapter, Probe) and config.adapter.solver == "exact"


def check_probe(config: TrainConfig) -> None:
    """Raises ValueError for a probe that cannot be solved, or without the library that does."""
    if not is_solved(config):
        return
    if not isinstance(config.objective, SOLVED):
        names = ", ".join(one.__name__ for one in SOLVED)
        raise ValueError(
            f"a probe is solved for {names}, and the task is {type(config.objective).__name__}; "
            "train it by gradients: --adapter.solver gradient"
        )
    need("sklearn", "eval", "adapter.solver=exact")


def of_one_step(config: TrainConfig) -> TrainConfig:
    """The config of a probe that is solved, whose only step sees all rows."""
    evaluation = dataclasses.replace(config.evaluation, per_epoch=0, every=1)
    return config.replace(steps=1, epochs=None, evaluation=evaluation, save_every=1)


def features(
    model: Any, values: Params, task: Task, batches: Sequence[Batch], mesh: Any, size: int
) -> list[dict[str, np.ndarray]]:
    """What the last layer of a model reads of each row, with the numbers of the rows, of every
    batch: the logits of a model whose last layer is the identity.

    Args:
        model: abstract, with the adapter of a probe.
        values: its parameters.
        size: rows of a batch, over all processes.
    """
    flat = flatten(values)
    width = flat[WEIGHT].shape[0]
    config = model.config.replace(num_labels=width)
    plan = dataclasses.replace(model.plan, adapter=None, config=config)
    definition = split(plan.build())[0]
    dtype = flat[WEIGHT].dtype
    flat |= {WEIGHT: np.eye(width, dtype=dtype)}
    flat |= {BIAS: np.zeros(width, dtype)} if BIAS in flat else {}

    @jax.jit
    def read(values: Params, batch: Batch) -> Any:
        with shard.use(mesh):
            return merge(definition, values)(**task.inputs(batch), key=None).logits

    found, values = [], unflatten(flat)
    for batch in batches:
        placed = processes.to_devices(batch, mesh, size)
        vectors = processes.on_host(read(values, placed))
        found.append({"features": vectors, NUMBER: processes.on_host(placed[NUMBER])})
    return found


def in_rows(found: Sequence[Any], rows: Rows) -> tuple[Float[np.ndarray, "N D"], Rows]:
    """(the features of batches in the order of the rows, these rows)."""
    answers, kept = in_order(found, rows)
    return answers["features"].astype(np.float64), kept
