"""The structure module (Jumper et al. 2021, supplement 1.8, algorithm 20): residues read each other
in space, move their frames, and in the end say the angles of their groups.

It is a stack of one block that is applied several times, with three streams: residues, their pairs,
which stay as they are, and frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.graph import Nodes
from transformers_jax.nn.folding.atoms import Atoms, atoms_of
from transformers_jax.nn.folding.attention import PAIR
from transformers_jax.nn.folding.invariant import FRAMES, InvariantPointSpec
from transformers_jax.nn.folding.rigid import IDENTITY, moved, rigid_of, without_turning_gradient
from transformers_jax.nn.head.base import Dense
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.residual import Residual
from transformers_jax.nn.stack import Stack

FRAME = 7
ANGLES = 7


@dataclass(frozen=True)
class TransitionSpec(spec.OpSpec):
    """Residual networks of three layers, one after the other (algorithm 20, lines 8 and 9).

    Attributes:
        depth: how many.
        dropout: of the residue behind them.
    """

    depth: int = 1
    dropout: float = 0.0

    def build(self, width, initial, source=None):
        return Transition(self, width, initial)

    def flops(self, width, queries, keys, edges):
        return spec.OpFlops(2.0 * 3 * self.depth * width * width * queries)

    def describe(self):
        return f"{self.depth} x three layers of relu"


class Transition(Op):
    """See `TransitionSpec`."""

    def __init__(self, transition: TransitionSpec, width: int, initial: spec.Initial):
        self.spec = transition
        self.layers = nnx.List(
            nnx.List(Dense(width, width, "inner", initial) for _ in range(3))
            for _ in range(transition.depth)
        )

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        y = x
        for first, second, third in self.layers:
            y = y + third(jax.nn.relu(second(jax.nn.relu(first(y)))))
        return OpResult(dropout(y, self.spec.dropout, key) - x)


@dataclass(frozen=True)
class BackboneUpdateSpec(spec.OpSpec):
    """Frames, turned and shifted as the residue at each says (algorithm 23).

    Attributes:
        source: the width of residues.
    """

    source: int
    collects = frozenset({FRAMES})

    def build(self, width, initial, source=None):
        return BackboneUpdate(self, initial)

    def flops(self, width, queries, keys, edges):
        return spec.OpFlops(2.0 * self.source * 6 * queries)

    def describe(self):
        return "a turn and a shift of each frame"


class BackboneUpdate(Op):
    """See `BackboneUpdateSpec`."""

    def __init__(self, update: BackboneUpdateSpec, initial: spec.Initial):
        self.update = Dense(update.source, 6, "motion", initial)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        update = self.update(context.streams[spec.TOKENS])
        frames = moved(without_turning_gradient(x), update.astype(x.dtype))
        return OpResult(frames, collected={FRAMES: frames} if FRAMES in context.collect else {})


@dataclass(frozen=True)
class Replace(spec.ResidualSpec):
    """What an operation computes takes the place of the stream."""

    def build(self, width, initial):
        return Replaced()


class Replaced(Residual):
    """See `Replace`."""

    def __call__(self, x, y, context):
        return y


class AnglesNetwork(nnx.Module):
    """The angles of a residue's groups, from what it is now and what it was before the first step
    (algorithm 20, lines 11 to 14).

    Args:
        width: of residues.
        hidden: of the network.
        depth: how many residual blocks it has.
    """

    def __init__(
        self, width: int, hidden: int, depth: int, initial: spec.Initial, eps: float = 1e-8
    ):
        self.now, self.before = (Dense(width, hidden, "inner", initial) for _ in range(2))
        self.layers = nnx.List(
            nnx.List(Dense(hidden, hidden, "inner", initial) for _ in range(2))
            for _ in range(depth)
        )
        self.out, self.eps = Dense(hidden, 2 * ANGLES, "angles", initial), eps

    def __call__(
        self, now: Float[Array, "*B D"], before: Float[Array, "*B D"]
    ) -> tuple[Float[Array, "*B 7 2"], Float[Array, "*B 7 2"]]:
        """The sine and cosine of each angle, before they have the length 1, and then."""
        relu = jax.nn.relu
        y = self.before(relu(before)) + self.now(relu(now))
        for first, second in self.layers:
            y = y + second(relu(first(relu(y))))
        y = self.out(relu(y))
        y = y.reshape(*y.shape[:-1], ANGLES, 2)
        squares = jnp.square(y).sum(-1, keepdims=True)
        return y, y / jnp.sqrt(jnp.maximum(squares, self.eps))


class Structure(NamedTuple):
    """Every step of the structure module, on a leading axis.

    Attributes:
        frames: of backbones, a quaternion and a translation in Angstrom.
        atoms: of residues.
        raw, angles: of their groups, before and after they have the length 1.
        states: of residues.
    """

    frames: Float[Array, "N B T 7"]
    atoms: Atoms
    raw: Float[Array, "N B T 7 2"]
    angles: Float[Array, "N B T 7 2"]
    states: Float[Array, "N B T D"]


@dataclass(frozen=True)
class StructureSpec:
    """The sizes of a structure module.

    Attributes:
        width, pair: of residues and pairs.
        attention: what residues read of each other.
        steps: how often the block is applied.
        transitions: networks of three layers in it.
        hidden, depth: of the network of angles.
        unit: Angstrom that a frame is shifted by 1.
        dropout: of residues.
        norm: of everything.
    """

    width: int
    pair: int
    attention: InvariantPointSpec
    steps: int
    transitions: int
    hidden: int
    depth: int
    unit: float = 10.0
    dropout: float = 0.0
    eps: float = 1e-8
    norm: spec.Norm = spec.LayerNorm()
    initial: spec.Initial = spec.Initial()

    def stack(self) -> spec.StackSpec:
        """One block, applied so many times."""
        block = (
            spec.Branch("attend", self.attention, self.norm, "post"),
            spec.Branch(
                "compute", TransitionSpec(self.transitions, self.dropout), self.norm, "post"
            ),
            spec.Branch("move", BackboneUpdateSpec(self.width), residual=Replace(), stream=FRAMES),
        )
        return spec.StackSpec(
            self.width,
            (block,),
            order=(0,) * self.steps,
            streams=((PAIR, self.pair), (FRAMES, FRAME)),
            initial=self.initial,
        )


class StructureModule(nnx.Module):
    """See `StructureSpec`."""

    def __init__(self, structure: StructureSpec, execution: spec.Execution):
        s = self.spec = structure
        self.norm, self.pair_norm = Norm(s.norm, s.width), Norm(s.norm, s.pair)
        self.enter = Dense(s.width, s.width, "inner", s.initial)
        # unrolled, small steps cost more to compile than they gain
        self.stack = Stack(s.stack(), replace(execution, unroll=False))
        self.angles = AnglesNetwork(s.width, s.hidden, s.depth, s.initial, s.eps)

    def __call__(
        self,
        residues: Float[Array, "B T D"],
        pairs: Float[Array, "B T T E"],
        types: Int[Array, "B T"],
        nodes: Nodes,
        key: Key | None = None,
    ) -> Structure:
        before = self.norm(residues)
        frames = jnp.broadcast_to(jnp.array(IDENTITY, before.dtype), (*before.shape[:2], FRAME))
        streams: Any = {PAIR: self.pair_norm(pairs), FRAMES: frames}
        collect = frozenset({"hidden", FRAMES})
        ran = self.stack(self.enter(before), nodes, streams=streams, collect=collect, key=key)
        states = jnp.stack(ran.hidden[1:])
        raw, angles = self.angles(states, jnp.broadcast_to(before, states.shape))
        unit = jnp.array([1.0] * 4 + [self.spec.unit] * 3, frames.dtype)
        frames = jnp.stack(ran.collected[FRAMES]) * unit
        return Structure(frames, atoms_of(rigid_of(frames), angles, types), raw, angles, states)
