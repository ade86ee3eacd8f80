"""Stages: stacks of different widths, one after the other, over a grid that becomes coarser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from transformers_jax.spec.initial import Initial
from transformers_jax.spec.layers import Block
from transformers_jax.spec.norm import Norm
from transformers_jax.spec.operation import OpSpec
from transformers_jax.spec.stack import StackSpec


class GridOpSpec:
    """What a stage does to its whole grid, such as merging patches: a frozen record that builds its
    module, which maps [B rows columns D] to another grid, and counts its FLOPs.

    Attributes:
        out: the width of what it makes.
    """

    out: int

    def build(self, width: int, initial: Initial) -> Any:
        """The module over a stream of this width, D."""
        raise NotImplementedError

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """The grid that it makes of one of so many rows and columns."""
        raise NotImplementedError

    def flops(self, width: int, rows: int, columns: int) -> float:
        """FLOPs of a forward pass over such a grid."""
        raise NotImplementedError

    def describe(self) -> str:
        """What it computes, in a few words."""
        raise NotImplementedError


@dataclass(frozen=True)
class Stage:
    """Layers over one grid.

    Attributes:
        stack: its layers; None where all it does is done by `enter`.
        enter: what changes the grid in front of them (ConvNeXt, ResNet).
        leave: what changes it behind them (Swin): the stage's hidden state is behind it.
    """

    stack: StackSpec | None = None
    enter: GridOpSpec | None = None
    leave: GridOpSpec | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its layers."""
        return () if self.stack is None else self.stack.applied


@dataclass(frozen=True)
class StagesSpec:
    """Stages, one after the other, then a norm (Liu et al. 2021, figure 3).

    What is asked of a `StackSpec` from outside is answered for all stages together; `depth` counts
    stages, since hidden states are those of stages.

    Attributes:
        entering: the width of the tokens of the embedder.
    """

    entering: int
    stages: tuple[Stage, ...]
    final_norm: Norm | None = None
    initial: Initial = field(default_factory=Initial)

    layout = None
    score = None
    order: tuple[int, ...] = ()
    norm_hidden = False
    source_optional = False
    written_tags = frozenset({"row", "column"})
    by_length = False  # of a grid, which is not rotated

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of the tokens behind the embedder, and behind each stage."""
        widths = [self.entering]
        for stage in self.stages:
            width = widths[-1] if stage.enter is None else stage.enter.out
            if stage.stack is not None and stage.stack.width != width:
                raise ValueError(
                    f"a stage of width {stage.stack.width} is given tokens of width {width}"
                )
            widths.append(width if stage.leave is None else stage.leave.out)
        return tuple(widths)

    @property
    def width(self) -> int:
        """The width of the tokens that leave the last stage."""
        return self.widths[-1]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The layers of all stages."""
        return tuple(block for stage in self.stages for block in stage.blocks)

    @property
    def applied(self) -> tuple[Block, ...]:
        """The same in the order in which they are applied."""
        return self.blocks

    @property
    def depth(self) -> int:
        """How many stages there are."""
        return len(self.stages)

    @property
    def ops(self) -> set[OpSpec]:
        """The different operations of the layers."""
        return {branch.op for block in self.blocks for branch in block}

    @property
    def features(self) -> frozenset[str]:
        """The names of the features of edges that scores read."""
        return frozenset().union(*(s.stack.features for s in self.stages if s.stack is not None))

    def sizes(self, rows: int, columns: int) -> list[tuple[int, int]]:
        """The grids behind the embedder, and behind each stage, of an image of so many rows and
        columns of patches."""
        sizes = [(rows, columns)]
        for stage in self.stages:
            size = sizes[-1]
            for op in (stage.enter, stage.leave):
                size = size if op is None else op.size(*size)
            sizes.append(size)
        return sizes

    def grid_ops(self, rows: int, columns: int) -> Iterator[tuple[GridOpSpec, int, int, int]]:
        """(operation on a grid, the width, the rows and the columns that it reads) of each."""
        size, width = (rows, columns), self.entering
        for stage in self.stages:
            for op in (stage.enter, stage.leave):
                if op is not None:
                    yield (op, width, *size)
                    size, width = op.size(*size), op.out


def with_ops(stages: StagesSpec, change: Callable[[OpSpec], OpSpec]) -> StagesSpec:
    """The stages with other operations in their layers."""
    parts = []
    for stage in stages.stages:
        own = stage.stack
        if own is not None:
            own = own.with_ops(change)
        parts.append(replace(stage, stack=own))
    return replace(stages, stages=tuple(parts))


def before_merging(stages: StagesSpec) -> StagesSpec:
    """The same stages, whose states are those in front of what makes the grid coarser: what one
    does behind its layers, the next does in front of its own."""
    parts, entering = [], None
    for stage in stages.stages:
        assert entering is None or stage.enter is None
        parts.append(replace(stage, enter=stage.enter or entering, leave=None))
        entering = stage.leave
    assert entering is None
    return replace(stages, stages=tuple(parts))


def with_drop_path(stages: StagesSpec, last: float, first: float = 0.0) -> StagesSpec:
    """The stages with stochastic depth, whose rate grows from that of the first layer to that of
    the last in equal steps, through all stages (Huang et al. 2016)."""
    layers, before, parts = len(stages.blocks), 0, []
    step = (last - first) / max(layers - 1, 1)
    for stage in stages.stages:
        own = stage.stack
        if own is not None:
            rates = tuple(first + step * (before + n) for n in range(own.depth))
            own, before = replace(own, drop_path=rates), before + own.depth
        parts.append(replace(stage, stack=own))
    return replace(stages, stages=tuple(parts))
