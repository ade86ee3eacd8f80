"""The loss on held-out text: of some of its batches during training, of all at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax import processes, shard
from transformers_jax.arrays import Params
from transformers_jax.nn.param import merge, split
from transformers_jax.objectives import CausalLM
from transformers_jax.training.prepare import Run
from transformers_jax.training.stop import Stop

Evaluate = Callable[[Params, bool, Stop], dict[str, float]]


def evaluator(run: Run) -> Evaluate:
    """A function of (parameters, all batches or some, stop) that evaluates every held-out set.

    It gives eval_loss, and eval_NAME for whatever else the objective reports; those of a further
    set end in /SET. Bits per byte are given where every token of a text is predicted. An
    evaluation that is stopped gives nothing.
    """
    mesh, model, count = run.mesh, run.model, run.config.evaluation.batches
    rows = run.config.data.batch
    if run.config.compute_dtype is not None:
        model = model.abstract(compute=run.config.compute_dtype)
    definition = split(model)[0]

    @jax.jit
    def measure(params: Params, batch: Any) -> Any:
        with shard.use(mesh):
            return run.loss(merge(definition, params), batch, None)[1]

    add = jax.jit(lambda one, other: jax.tree.map(jnp.add, one, other))

    def evaluate(params: Params, whole: bool, stop: Stop) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, batches in run.evaluation.items():
            stride = max(1, len(batches) // max(count, 1))
            sums: Any = None
            for batch in batches if whole else batches[::stride][:count]:
                if stop.by:
                    return {}
                measured = measure(params, processes.to_devices(batch, mesh, rows))
                sums = measured if sums is None else add(sums, measured)
            values |= _means(run, sums, name)
        return values

    return evaluate


def _means(run: Run, sums: Any, name: str) -> dict[str, float]:
    end = f"/{name}" if name else ""
    means: dict[str, float] = {}
    for key, value in jax.device_get(sums).items():
        terms = value if isinstance(value, Mapping) else {key: value}
        each = {term: float(total) / float(n) for term, (total, n) in terms.items() if n > 0}
        if each:  # a loss of several terms is their sum, and each is reported as well
            each[key] = sum(each.values())
        means |= {f"eval_{term}{end}": mean for term, mean in each.items()}
    density = run.corpus.bytes_per_token.get(name)
    whole = run.config.data.rows in ("stream", "crops") and type(run.config.objective) is CausalLM
    if density and whole:
        means[f"bits_per_byte{end}"] = means[f"eval_loss{end}"] / math.log(2) / density
    return means
