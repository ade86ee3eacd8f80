"""The running statistics of batch norms in a step of training.

A norm that gathers leaves the mean and variance of its micro-batch as the gradient of the stored
ones (`nn/image/batch_norm.py`). Here they are taken out of the gradients, before anything reads
these, and the stored ones follow as in PyTorch, one micro-batch after the other:

    running <- running + momentum * (found - running)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Params
from transformers_jax.models.base import Model
from transformers_jax.nn.image.batch_norm import STATISTICS, gathering, norms_of
from transformers_jax.nn.param import flatten, unflatten

MOMENTUM = 0.1  # of torch.nn.BatchNorm2d

Kind = Literal["batch", "stored"]
"""What batch norms normalise with in training."""

Running = dict[str, Array]
"""Statistics by the paths of their parameters."""


@dataclass(frozen=True)
class Statistics:
    """The norms of a model, by their paths, whose statistics follow the batches."""

    norms: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all their statistics."""
        return tuple(f"{norm}.{name}" for norm in self.norms for name in STATISTICS)

    def begin(self, params: Params) -> Running:
        """The statistics that are stored."""
        flat = flatten(params) if self.norms else {}
        return {path: flat[path] for path in self.paths}

    def after(self, running: Running, grads: Params) -> Running:
        """The statistics behind one more micro-batch, of which these are the gradients. A norm that
        nothing was computed with, or whose result no loss reads, keeps its own."""
        found, moved = flatten(grads) if self.norms else {}, dict(running)
        for norm in self.norms:
            count = found[f"{norm}.count"]  # how often it was called
            for name in ("mean", "variance"):
                path = f"{norm}.{name}"
                old, rank = running[path], running[path].ndim - count.ndim
                calls = count.reshape(*count.shape, *[1] * rank)  # of the layers of a stack
                new = old + MOMENTUM * (found[path] / jnp.maximum(calls, 1) - old)
                moved[path] = jnp.where(calls > 0, new, old).astype(old.dtype)
            path = f"{norm}.count"
            moved[path] = running[path] + count
        return moved

    def without(self, grads: Params) -> Params:
        """The gradients, zero where what was found stood."""
        return self._with(grads, {p: jnp.zeros_like(g) for p, g in self.begin(grads).items()})

    def updated(self, params: Params, running: Running) -> Params:
        """The parameters, with these statistics."""
        return self._with(params, running)

    def _with(self, tree: Params, values: Mapping[str, Any]) -> Params:
        return unflatten({**flatten(tree), **values}) if self.norms else tree


def followed(model: Any, kind: Kind, params: Params, frozen: Any) -> Statistics:
    """The norms whose statistics follow the batches of training: all whose scale and shift are
    trained (`params`), and not frozen by the optimizer (`Optimizer.frozen`). What is frozen keeps
    its statistics, and normalises with them.

    Raises:
        ValueError: no such kind; norms of a stack of which only some layers are frozen.
    """
    if kind not in ("batch", "stored"):
        raise ValueError(f"statistics={kind!r}: expected 'batch' or 'stored'")
    if kind == "stored" or not isinstance(model, Model):
        return Statistics()
    trained, fixed = flatten(params), {} if frozen is None else flatten(frozen)
    norms = []
    for norm in norms_of(model):
        parts = [f"{norm}.{name}" for name in ("scale", "shift")]
        if not all(path in trained for path in (*parts, f"{norm}.mean")):
            continue
        stays = [fixed.get(path, False) for path in parts]
        if some := [p for p, f in zip(parts, stays) if isinstance(f, np.ndarray)]:
            raise ValueError(
                f"freeze: some layers of {some[0]} are frozen and others are not, and their batch "
                "norms run in one program; freeze all layers of the stage, or none, or train with "
                "statistics='stored', with which no norm changes its statistics"
            )
        if not all(f is True for f in stays):
            norms.append(norm)
    return Statistics(tuple(norms))


def with_statistics(model: Model, statistics: Statistics) -> Model:
    """The model as a step of training runs it."""
    return gathering(model, statistics.norms) if statistics.norms else model
