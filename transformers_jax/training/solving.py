"""The loop of a probe that is solved: its only step computes features and solves the last layer."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import processes
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.packing import held, positions
from transformers_jax.nn.param import flatten, unflatten
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.tasks.linear import Linear, solve, usual_penalty
from transformers_jax.training.loop import Loop
from transformers_jax.training.probe import BIAS, WEIGHT, features, in_rows


class Solving(Loop):
    """The loop of a run of one step, which solves the last layer for all rows."""

    def step(self, number: int, batches: Any) -> None:
        run = self.run
        corpus, began = run.corpus, time.perf_counter()
        assert isinstance(corpus, TaskCorpus)
        part = corpus.part(corpus.train, 0, shuffle=False)
        own = evaluation_batches(part, corpus.train.records.name, run.stream.own)
        self.screen.status("computing features")
        found = features(
            run.model,
            run.averaged(self.state),
            run.config.objective,
            own,
            run.mesh,
            run.config.data.batch,
        )
        x, rows = in_rows(found, corpus.train)
        adapter: Any = run.config.adapter
        bias, count = BIAS in flatten(self.state.params), run.model.config.num_labels
        usual = usual_penalty(run.config.objective, len(x), count)
        penalty = usual if adapter.penalty is None else adapter.penalty
        self.screen.status("solving")
        solved = solve(run.config.objective, x, rows.references, count, penalty, bias)
        self.screen.say(
            f"solved {WEIGHT} for {len(x):,} rows of {x.shape[1]:,} features in "
            f"{time.perf_counter() - began:.1f} s, with a penalty of {penalty:.3g}"
        )
        self.put(solved)
        counts, sizes = zip(*map(held, own))
        inputs = {
            "places": sum(positions(batch, 0, run.config.data.length) for batch in own),
            "held": None if None in counts else sum(counts),
            "size": sum(sizes),
            "epoch": 1.0,
            "waited": 0.0,
        }
        self.pending = (number, {"loss": np.float64(solved.loss), "finite": np.True_}, inputs)

    def put(self, solved: Linear) -> None:
        """Sets the last layer, in the dtype and the sharding that it has."""
        old = flatten(self.state.params)
        new = {WEIGHT: solved.weight, BIAS: solved.bias}
        values = {
            path: jax.device_put(new[path].astype(leaf.dtype), leaf.sharding)
            for path, leaf in old.items()
        }
        tree = unflatten(values)
        opt = jax.jit(self.run.optimizer.transformation.init)(tree)
        step = self.state.step + jnp.ones((), self.state.step.dtype)
        self.state = dataclasses.replace(self.state, step=step, params=tree, opt=opt)
        processes.wait_for_all("solved")
