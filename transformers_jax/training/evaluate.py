"""The loss on held-out text: always on the same batches, and at the end perhaps on more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import processes, shard
from transformers_jax.arrays import Array, Params
from transformers_jax.nn.param import bind, merge, split
from transformers_jax.objectives import CausalLM, MaskedDiffusion
from transformers_jax.tasks import Task
from transformers_jax.tasks.base import in_order
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.tasks.figures import Figure
from transformers_jax.training.evaluation_sets import held_out_name, is_final
from transformers_jax.training.prepare import Run
from transformers_jax.training.stop import Stop

Evaluate = Callable[[Params, bool, Stop, Callable[[str], None]], "Measured"]

FIGURE = "figure.json"
"""In the folder of a run: the picture of the best evaluation, or of the last."""


@dataclass(frozen=True)
class Measured:
    """What an evaluation found: its figures by name, and the picture of a task."""

    values: dict[str, float] = field(default_factory=dict)
    figure: Figure | None = None


def evaluator(run: Run) -> Evaluate:
    """A function of (parameters, whether it is the end, stop, show) that evaluates all held-out
    sets, but what is measured only at the end.

    It gives eval_loss, and eval_NAME for whatever else the objective reports, and eval_batches,
    on how many; those of a further set end in /SET. Bits per byte are given where every token of a
    text is predicted; of masked diffusion they are a bound. An evaluation that is stopped gives
    nothing. `show` gets how far it is.
    """
    mesh, model, rows = run.mesh, run.model, run.config.data.batch
    if run.config.compute_dtype is not None:
        model = model.abstract(compute=run.config.compute_dtype)
    definition, loss, task = split(model)[0], run.loss, run.config.objective
    second, reference_of = run.step.frozen[1], run.step.reference_of

    @jax.jit
    def measure(params: Params, second: Params, batch: Any) -> tuple[Any, dict[str, Array]]:
        """(sums and weights, answers of a task)."""
        with shard.use(mesh):
            model, beside = merge(definition, params), reference_of(second)
            if isinstance(task, Task):
                return task.measure(model, batch, *beside)
            return loss(model, batch, None, *beside)[1], {}

    add = jax.jit(lambda one, other: jax.tree.map(jnp.add, one, other))

    def evaluate(params: Params, last: bool, stop: Stop, show: Callable[[str], None]) -> Measured:
        values: dict[str, float] = {}
        figure: Figure | None = None
        sets = {name: some for name, some in run.evaluation.items() if last or not is_final(name)}
        done, total = 0, sum(map(len, sets.values()))
        for name, batches in sets.items():
            sums: Any = None
            answers: list[dict[str, np.ndarray]] = []
            for batch in batches:
                if stop.by:
                    return Measured()
                show(f"evaluating: batch {(done := done + 1)} of {total}")
                placed = processes.to_devices(batch, mesh, rows)
                measured, answered = measure(params, second, placed)
                # One batch at a time is on the devices. And on a CPU a small program that waits for
                # a collective would hold a thread that the collective needs.
                jax.block_until_ready(measured)
                sums = measured if sums is None else add(sums, measured)
                if isinstance(task, Task) and task.writes:
                    answers.append(task.write(bind(model, params), batch))
                else:
                    answers.append({key: processes.on_host(x) for key, x in answered.items()})
            values |= _means(run, sums, name)
            if isinstance(run.corpus, TaskCorpus) and isinstance(task, Task) and task.scored:
                rows_of = run.corpus.evaluation[held_out_name(name)]
                answered_rows = (*in_order(answers, rows_of), run.corpus.form)
                figures = task.metrics(*answered_rows)
                figure = task.figure(*answered_rows) if not name else figure
                values |= {f"eval_{key}{f'/{name}' * bool(name)}": x for key, x in figures.items()}
            values[f"eval_batches/{name}".rstrip("/")] = len(batches)
        return Measured(values, figure)

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
    density = run.corpus.bytes_per_token.get(held_out_name(name))
    whole = run.config.data.rows in ("stream", "crops") and type(run.config.objective) is CausalLM
    whole = whole or isinstance(run.config.objective, MaskedDiffusion)
    if density and whole:
        of_words = means.get(f"eval_word_loss{end}", means[f"eval_loss{end}"])  # without routers'
        means[f"bits_per_byte{end}"] = of_words / math.log(2) / density
    return means
