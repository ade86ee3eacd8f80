"""How the routers of a model spread the tokens of held-out text over their experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import processes, shard
from transformers_jax.arrays import Array, Float, Params
from transformers_jax.models.wiring.tower import have_routers
from transformers_jax.nn.experts import Experts, ExpertsSpec, has_room
from transformers_jax.nn.param import bind, merge, split
from transformers_jax.nn.routers import routed
from transformers_jax.nn.stack import Stack
from transformers_jax.training.prepare import Run

ROUTING = "routing.json"
"""In the folder of a run: the share of the tokens that each expert of each layer serves."""

BATCHES = 8
"""Of held-out text; at most."""


def write_routing(run: Run, values: Params, step: int) -> None:
    """Writes the shares of a run's experts after a step, on batches of its held-out text, where the
    model has experts and the run evaluates."""
    towers = getattr(run.model, "towers", {})
    batches = next(iter(run.evaluation.values()), ())[:BATCHES]
    if not batches or not have_routers(towers.values()):
        return
    place = lambda batch: processes.to_devices(batch, run.mesh, run.config.data.batch)
    with shard.use(run.mesh):
        found = shares(bind(run.model, values), [place(batch) for batch in batches])
    if run.folder.owner:
        run.folder.write_json(ROUTING, {"step": step, **found})


def shares(model: Any, batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{"layers": names, "shares": of each layer the share of its tokens' choices that went to each
    expert, "full": of each layer the share of choices whose expert had no room}."""
    definition, values = split(model)

    @jax.jit
    def count(values: Params, batch: Any) -> tuple[list[Array], list[Array]]:
        return chosen(merge(definition, values), batch)

    sums: Any = None
    for batch in batches:
        counts = jax.device_get(count(values, batch))
        sums = counts if sums is None else jax.tree.map(np.add, sums, counts)
    served, full = sums
    total = [max(float(layer.sum()), 1.0) for layer in served]
    return {
        "layers": [name for name, *_ in layers_of(model)],
        "shares": [(layer / n).tolist() for layer, n in zip(served, total)],
        "full": [float(layer / n) for layer, n in zip(full, total)],
    }


def chosen(
    model: Any, batch: Mapping[str, Any]
) -> tuple[list[Float[Array, " E"]], list[Float[Array, ""]]]:
    """Of each layer with experts how often each is chosen, and how often one had no room."""
    inputs = {name: x for name, x in batch.items() if name in model.arguments()}
    output = model(**inputs, output_router_logits=True)
    counts, full = [], []
    sides: dict[str, Iterator[Array]] = {}
    for _, tower, op, correction in layers_of(model):
        field = "router_logits" if tower == "stack" else f"{tower}_router_logits"
        scores = next(sides.setdefault(tower, iter(output[field])))
        valid = _tokens(tower, batch, output)
        rows = scores.reshape(*valid.shape, -1)
        expert = routed(op.router, rows, op.top, correction).expert
        one_hot = jax.nn.one_hot(expert, op.count) * valid[..., None, None]
        counts.append(one_hot.sum((0, 1, 2)))
        room = True if op.capacity is None else has_room(expert, op.count, op.capacity)
        full.append((~jnp.asarray(room) * valid[..., None] * jnp.ones(op.top)).sum())
    return counts, full


def layers_of(model: Any) -> Iterator[tuple[str, str, ExpertsSpec, Array | None]]:
    """(name, tower, operation, correction of the router) of each layer that has experts."""
    towers = model.towers
    for tower, each in towers.items():
        prefix = f"{tower} " if len(towers) > 1 else ""
        for number, module in _modules(each.stack):
            op, correction = module
            yield f"{prefix}layer {number + 1}", tower, op, correction


def _modules(stack: Stack) -> Iterator[tuple[int, tuple[ExpertsSpec, Array | None]]]:
    """(layer, (operation, correction)) in the order of the layers."""
    found = []
    for slot, numbers in enumerate(stack.spec.slots):
        alone = stack.execution.layers == "list"
        for place, number in enumerate(numbers):
            block = stack.blocks[number if alone else slot]
            for branch in stack.spec.blocks[number]:
                module = getattr(block, branch.name)
                if not isinstance(module, Experts):
                    continue
                correction = None if module.correction is None else module.correction[...]
                own = correction if correction is None or alone else correction[place]
                found.append((number, (module.experts, own)))
    yield from sorted(found, key=lambda one: one[0])


def _tokens(tower: str, batch: Mapping[str, Any], output: Any) -> Float[Array, "B T"]:
    """1 where a tower has tokens of a batch, and 0 where it has padding."""
    if tower == "decoder":
        return (batch["labels"] >= 0).astype(jnp.float32)
    mask = batch.get("attention_mask")
    ids = batch["input_ids"]
    return jnp.ones(ids.shape, jnp.float32) if mask is None else (mask > 0).astype(jnp.float32)
