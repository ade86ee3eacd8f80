"""Stages: a tower's stacks of different widths, over a grid that becomes coarser.

Each stage is a `Stack`; between two of them an operation on the whole grid changes its size and the
width of its tokens. The blocks know nothing of it: they read the nodes of their own grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers_jax import spec
from transformers_jax.arrays import Array
from transformers_jax.graph import Nodes
from transformers_jax.graph.grid import grid, size_of
from transformers_jax.nn.noise import numbered_key
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import bind, mixed, params
from transformers_jax.nn.stack import Stack, StackOutput


class Stages(Stack):
    """Stages, one after the other, then the final norm. Hidden states are those behind the embedder
    and behind each stage, in front of the norm; weights are those of the last layer of each stage,
    as transformers has them.

    The stack of a stage is the attribute `stage_N`, what changes the grid in front of it and behind
    it are `enter_N` and `leave_N`.
    """

    spec: Any

    def __init__(self, stages: spec.StagesSpec, execution: spec.Execution):
        if rate := execution.drop_path:
            stages = spec.with_drop_path(stages, rate, rate / max(len(stages.blocks), 1))
        self.spec, self.execution = stages, execution
        for number, (stage, width) in enumerate(zip(stages.stages, stages.widths)):
            enter, leave, own = stage.enter, stage.leave, stage.stack
            inner = width if enter is None else enter.out
            parts = {
                "enter": enter and enter.build(width, stages.initial),
                "stage": own and Stack(own, execution),
                "leave": leave and leave.build(inner, stages.initial),
            }
            for part, module in parts.items():
                setattr(self, f"{part}_{number}", module)
        self.norm = Norm(stages.final_norm, stages.width) if stages.final_norm else None

    def __call__(
        self,
        x,
        nodes: Nodes,
        *,
        pairs: Mapping[str, Array] | None = None,
        sources=None,
        scores=None,
        condition=None,
        prefix=None,
        streams=None,
        cache=None,
        key=None,
        collect=frozenset(),
    ) -> StackOutput:
        """Runs the stages over the tokens of a grid (`graph.grid`), in which none is missing."""
        given = {"scores": scores, "condition": condition, "prefix": prefix, "cache": cache}
        if sources or streams or any(value is not None for value in given.values()):
            raise ValueError("stages of a grid attend to nothing else, and continue nothing")
        hidden: list[Array] = [x]
        weights: list[Array] = []
        for number in range(self.spec.depth):
            enter, stack, leave = self._stage(number)
            x, nodes = changed(enter, x, nodes)
            if stack is not None:
                own = numbered_key(key, number)
                kinds = collect - {"hidden"}
                ran = stack(x, nodes, pairs=pairs, key=own, collect=kinds)
                x, weights = ran.x, weights + list(ran.weights[-1:])
            x, nodes = changed(leave, x, nodes)
            hidden.append(x)
        x = x if self.norm is None else self.norm(x)
        collected = {"weights": tuple(weights)} if weights else {}
        return StackOutput(x, None, tuple(hidden) if "hidden" in collect else (), collected)

    def _stage(self, number: int) -> tuple[Any, Stack | None, Any]:
        return tuple(getattr(self, f"{part}_{number}") for part in ("enter", "stage", "leave"))

    def stacks(self) -> dict[str, Stack]:
        """The stacks of its stages by the names of their attributes."""
        every = {f"stage_{n}": getattr(self, f"stage_{n}") for n in range(self.spec.depth)}
        return {name: stack for name, stack in every.items() if stack is not None}

    def masks(self, kind):
        every = [mask for part in self.stacks().values() for mask in part.masks(kind)]
        return list(dict.fromkeys(every))

    @property
    def sources(self):
        return []

    def init_cache(self, *arguments: Any, **options: Any):
        raise ValueError("stages of a grid continue nothing: they have no cache")

    def first(self, count: int) -> Stages:
        """The first `count` stages; the final norm only if these are all. Arrays are shared."""
        if count == self.spec.depth:
            return self
        cut = Stages(
            replace(self.spec, stages=self.spec.stages[:count], final_norm=None), self.execution
        )
        cut = mixed(cut) if self.execution.compute == "mixed" else cut
        own, names = params(self), params(cut).keys()
        return bind(cut, {name: own[name] for name in names})


def stack_of(described: spec.StackSpec | spec.StagesSpec, execution: spec.Execution) -> Stack:
    """The module of a stack, or of stages."""
    if isinstance(described, spec.StagesSpec):
        return Stages(described, execution)
    return Stack(described, execution)


def stacks_of(attributes: Mapping[str, Any]) -> dict[str, Stack]:
    """The stacks among the attributes of a model, by name; stages are one."""
    return {name: value for name, value in attributes.items() if isinstance(value, Stack)}


def parts(stacks: Mapping[str, Stack]) -> dict[str, Stack]:
    """Stacks by their paths, those of stages one by one."""
    paths: dict[str, Stack] = {}
    for name, stack in stacks.items():
        own = stack.stacks().items() if isinstance(stack, Stages) else ()
        paths |= {f"{name}.{stage}": each for stage, each in own} if own else {name: stack}
    return paths


def changed(op: Any, x: Array, nodes: Nodes) -> tuple[Array, Nodes]:
    """The tokens and the nodes behind an operation on their grid; the same where there is none."""
    if op is None:
        return x, nodes
    image = op(on_grid(x, nodes))
    rows, columns = image.shape[1:3]
    return image.reshape(x.shape[0], rows * columns, -1), grid(rows, columns)


def on_grid(x: Array, nodes: Nodes) -> Array:
    """[B rows columns D] of the tokens of a grid, [B T D]."""
    return x.reshape(x.shape[0], *size_of(nodes), x.shape[-1])
