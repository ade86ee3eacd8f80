"""Stacks: what each layer does, and how layers that are alike are stored together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from transformers_jax.graph import Nodes, PerLayer
from transformers_jax.sizes import check_probability, check_rate
from transformers_jax.spec.initial import Initial
from transformers_jax.spec.layers import TOKENS, Block, Recurrence, check_names
from transformers_jax.spec.norm import Norm
from transformers_jax.spec.operation import OpSpec
from transformers_jax.spec.position import (
    Additive,
    Alibi,
    Counted,
    EdgeFeatures,
    GridBias,
    Kernel,
    OwnScore,
    RelativeTable,
    Rotary,
    ScoreSpec,
)


class Layout:
    """Tags that a family writes beyond the index of a token, such as the number of a block: a
    frozen record. Tags known while tracing stay NumPy arrays. Its argument has the tag `noise`, 1
    in a call with a key."""

    tags: frozenset[str] = frozenset()

    def __call__(self, nodes: Nodes) -> Nodes:
        raise NotImplementedError


@dataclass(frozen=True)
class Segment:
    """Consecutive layers of a stack in which a pattern of blocks repeats.

    Attributes:
        first: the number of its first layer.
        slot: the number of its first slot; a slot is one block of a pattern, whose repeats
            share one array of parameters with a leading `layers` axis.
    """

    pattern: tuple[Block, ...]
    repeats: int
    first: int
    slot: int


@dataclass(frozen=True)
class StackSpec:
    """Layers, one after the other, then a norm.

    Attributes:
        blocks: what each layer does. Patterns that repeat (`segments`) are compiled once.
        order: which layer's parameters each step uses, where that is not every layer once (ALBERT
            applies one many times: (0, 0, 0, ...)). Layers that are applied in an order of their
            own are alike and stand together: a Perceiver's latents hear the input in layer 0, and
            then apply layers 1 and 2 twice, (0, 1, 2, 1, 2).
        score: what positions add to the scores of every self-attention of the stack.
        layout: writes tags before the edges are drawn.
        hidden_from: the branch of the first layer in front of which the first of the hidden states
            is, as in the reference (Idefics); None: in front of the layer.
        norm_hidden: whether the last of the hidden states is behind the final norm (not in ViT).
        dropout: of what leaves the final norm.
        layerdrop: with a key, the probability that a layer is left out (Fan et al. 2019).
        drop_path: with a key, the probability with which the branches of each layer are left out,
            row by row (Huang et al. 2016), unless the execution says another.
        streams: further streams beside that of the tokens, each with its width, which branches read
            and change as well (`Branch.stream`); a call of the stack brings what they begin with.
        source_optional: whether it may run without a source; its cross-attention is left out then
            (BART's decoder alone, whose files hold it all the same).
    """

    width: int
    blocks: tuple[Block, ...]
    final_norm: Norm | None = None
    order: tuple[int, ...] = ()
    score: ScoreSpec | None = None
    layout: Layout | None = None
    norm_hidden: bool = True
    hidden_from: str | None = None
    dropout: float = 0.0
    layerdrop: float = 0.0
    drop_path: tuple[float, ...] = ()
    source_optional: bool = False
    streams: tuple[tuple[str, int], ...] = ()
    initial: Initial = field(default_factory=Initial)

    @property
    def widths(self) -> dict[str, int]:
        """The width of every stream, by name."""
        return {TOKENS: self.width, **dict(self.streams)}

    def collecting(self, names: frozenset[str]) -> frozenset[str]:
        """What layers are to collect where a caller wants these."""
        if "hidden" not in names or self.hidden_from is None:
            return names
        return names | {f"before.{self.hidden_from}"}

    def __post_init__(self):
        for block in dict.fromkeys(self.blocks):
            check_names(block)
            for branch in block:
                if branch.stream not in self.widths:
                    raise ValueError(
                        f"the branch {branch.name!r} joins the stream {branch.stream!r}; the "
                        f"stack has {', '.join(map(repr, self.widths))} (StackSpec.streams)"
                    )
        self._check_order()
        check_rate("dropout of a stack", self.dropout)
        check_probability("layerdrop of a stack", self.layerdrop)
        for rate in self.drop_path:
            check_rate("drop_path of a stack", rate)
        if self.drop_path and len(self.drop_path) != self.depth:
            raise ValueError(
                f"drop_path has {len(self.drop_path)} rates, but the stack applies {self.depth} "
                "layers; give one for each"
            )
        self._check_score()
        self._check_memory()

    def _check_memory(self) -> None:
        """Raises ValueError for memory of tokens and arrays of pairs of them, which hold none."""
        remembering = [op for op in self.ops if isinstance(op.extend, Recurrence)]
        pairs = self.features.union(*(mask.pairs for op in remembering for mask in op.masks))
        if remembering and pairs:
            raise ValueError(
                f"{remembering[0].extend} makes keys of earlier tokens, and the array of pairs "
                f"{min(pairs)!r} has none for them; leave out what reads it, or the recurrence"
            )

    def _check_order(self) -> None:
        """Raises ValueError for an order of layers that there are not, or that are not alike."""
        count = len(self.blocks)
        if any(not 0 <= n < count for n in self.order):
            raise ValueError(
                f"order {self.order} names layers; expected numbers of the {count} there are, "
                "from 0"
            )
        steps = [step for segment in self.segments for step in self.steps_of(segment)]
        unused = any(not self.steps_of(segment) for segment in self.segments)
        if self.order and (unused or steps != [*self.order]):
            raise ValueError(
                f"order {self.order} needs layers that are all alike; those of several kinds "
                "stand together by their kinds, of which each is applied before the next"
            )

    def steps_of(self, segment: Segment) -> tuple[int, ...]:
        """The layers of a segment in the order in which they are applied."""
        layers = range(segment.first, segment.first + len(segment.pattern) * segment.repeats)
        return tuple(n for n in self.order or layers if n in layers)

    def _check_score(self) -> None:
        """Raises ValueError for a score with parameters for each head, and not one number of heads
        among the self-attention that reads it."""
        unshaped = RelativeTable | Alibi | Counted | GridBias | Kernel
        if self.score is None or isinstance(self.score, unshaped):
            return
        branches = dict.fromkeys(branch for block in self.blocks for branch in block)
        ops = [
            branch.op for branch in branches if branch.source is None and branch.op.score is None
        ]
        sizes = {(op.heads, op.kv) for op in ops if op.drawn and op.masks}
        shaped_by = sizes if isinstance(self.score, Additive) else {heads for heads, _ in sizes}
        if len(shaped_by) != 1:
            number = ", ".join(sorted(f"{heads} heads of {kv}" for heads, kv in sizes))
            raise ValueError(
                f"the stack learns the score {type(self.score).__name__} for all layers, which "
                f"needs self-attention of one size that reads it; these read it: "
                f"{number or 'none'}; give each attention a score of its own"
            )

    def with_ops(self, change: Callable[[OpSpec], OpSpec]) -> StackSpec:
        """The stack with other operations in its layers."""
        changed = lambda block: tuple(replace(b, op=change(b.op)) for b in block)
        return replace(self, blocks=tuple(map(changed, self.blocks)))

    @property
    def applied(self) -> tuple[Block, ...]:
        """The blocks in the order in which they are applied."""
        return tuple(self.blocks[n] for n in self.order) or self.blocks

    @property
    def depth(self) -> int:
        """How many blocks are applied."""
        return len(self.applied)

    @property
    def ops(self) -> set[OpSpec]:
        """The different operations of its layers."""
        return {branch.op for block in self.blocks for branch in block}

    @property
    def by_length(self) -> bool:
        """Whether a token is rotated by how many there are (`Rotary.by_length`)."""
        return any(isinstance(op.rotary, Rotary) and op.rotary.by_length for op in self.ops)

    @property
    def written_tags(self) -> frozenset[str]:
        """The tags that the stack writes itself: those of its layout and of further keys."""
        writers = [self.layout, *(op.extend for op in self.ops)]
        return frozenset().union(*(writer.tags for writer in writers if writer is not None))

    @property
    def features(self) -> frozenset[str]:
        """The names of the features of edges that scores of self-attention read."""
        scores = [self.score, *(op.score for op in self.ops)]
        names = {score.pairs for score in scores if isinstance(score, EdgeFeatures)}
        own = [score.pairs for score in scores if isinstance(score, OwnScore)]
        own += [s.features[:1] for s in scores if isinstance(s, Additive) and s.features]
        return frozenset(names).union(*own)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The stack as patterns that repeat, with as few slots as possible; patterns of one layer
        where there is an order."""
        return segments_of(self.blocks, 1 if self.order else None)

    @property
    def slots(self) -> tuple[range, ...]:
        """For each slot the layers whose parameters it holds."""
        return tuple(
            range(s.first + n, s.first + len(s.pattern) * s.repeats, len(s.pattern))
            for s in self.segments
            for n in range(len(s.pattern))
        )


def masked_by_layer(stack: StackSpec) -> StackSpec:
    """The stack with each mask as its own layer reads it (`PerLayer`).

    Raises:
        ValueError: masks for another number of layers, or for layers that share parameters.
    """
    parts = {part for op in stack.ops for mask in op.masks for part in mask.parts()}
    listed = [part for part in parts if isinstance(part, PerLayer)]
    for part in listed:
        if stack.order:
            raise ValueError(f"mask={part}: these layers share their parameters, and so one mask")
        if len(part.masks) != len(stack.blocks):
            raise ValueError(
                f"mask={part} has {len(part.masks)} entries, one per layer, but the stack has "
                f"{len(stack.blocks)} layers; OWN stands for the mask that a layer has by itself"
            )
    if not listed:
        return stack
    blocks = (
        tuple(replace(branch, op=branch.op.at(number)) for branch in block)
        for number, block in enumerate(stack.blocks)
    )
    return replace(stack, blocks=tuple(blocks))


@functools.cache
def segments_of(blocks: tuple[Block, ...], longest: int | None = None) -> tuple[Segment, ...]:
    """The fewest slots in which these layers can be stored: patterns, each repeated in a row, of
    at most `longest` layers.

    Among equals the longest first segment wins, so that a remainder is at the end.
    """
    kinds = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    layers = [kinds[block] for block in blocks]
    count = len(layers)
    # best[n]: ((slots, segments), pattern length, repeats) of the layers from n on
    best: list[tuple[tuple[int, int], int, int]] = [((0, 0), 0, 0)] * (count + 1)
    for first in reversed(range(count)):
        candidates = []
        for period in range(1, min(count - first, longest or count) + 1):
            end = first + period
            while end <= count:
                (slots, parts), *_ = best[end]
                repeats = (end - first) // period
                candidates.append(((period + slots, 1 + parts), -(end - first), period, repeats))
                if layers[end : end + period] != layers[first : first + period]:
                    break
                end += period
        cost, _, period, repeats = min(candidates)
        best[first] = cost, period, repeats
    segments, first, slot = [], 0, 0
    while first < count:
        _, period, repeats = best[first]
        segments.append(Segment(blocks[first : first + period], repeats, first, slot))
        first, slot = first + period * repeats, slot + period
    return tuple(segments)
