"""The embedder of trajectories: a return, a state and an action for each step of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.embed.tokens import Projection, rows
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

KINDS = {"returns_to_go": "returns", "states": "states", "actions": "actions"}
"""The arguments of a step in the order of their tokens, and what embeds each."""
PER_STEP = len(KINDS)


@dataclass(frozen=True)
class TrajectorySpec:
    """How the steps of an episode become vectors (Chen et al. 2021, section 3).

    Attributes:
        state, action: numbers of a state, and of an action.
        steps: of the longest episode: rows of the table of time steps.
        width: D, of the stream.
        positions: rows of a table of positions in files, of which every token reads the first: the
            order is that of time steps. It also says how many tokens a row has at most.
        vocab: rows of a table of words in files, which nothing reads.
    """

    state: int
    action: int
    steps: int
    width: int
    positions: int
    vocab: int
    norm: spec.Norm
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of a step, by argument."""
        return {"returns_to_go": 1, "states": self.state, "actions": self.action}


class TrajectoryEmbedder(Embedder):
    """Return to go, state and action of each step in turn, R_1 s_1 a_1 R_2 s_2 a_2 ..., each linear
    in its numbers, with the vector of their time step, normalised.

    A call with a cache may give a part of one step: return and state, of which an action follows,
    and then the action that was taken.
    """

    raw = ("states",)
    arguments = ("states", "actions", "rewards", "returns_to_go", "timesteps", "attention_mask")
    continues = True

    def __init__(self, trajectory: TrajectorySpec):
        self.spec, self.positions = trajectory, trajectory.positions
        width, initial = trajectory.width, trajectory.initial
        self.returns = Projection(1, width, initial)
        self.states = Projection(trajectory.state, width, initial)
        self.actions = Projection(trajectory.action, width, initial)

        def table(axis: str, count: int) -> nnx.Param:
            sizes = {axis: count, "embed": width}
            return param(f"{axis} embed", sizes, initial.draw("table", sizes))

        self.timestep = table("time", trajectory.steps)
        self.position = table("position", trajectory.positions)
        self.unused = table("position", trajectory.vocab)  # of one row: no mesh divides it
        self.norm = Norm(trajectory.norm, width)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        kinds = [name for name in KINDS if name in inputs]
        vectors = [getattr(self, KINDS[name])(inputs[name].astype(dtype)) for name in kinds]
        time = rows(self.timestep[...], inputs["timesteps"]).astype(dtype)
        x = self.norm(interleaved([own + time for own in vectors]))
        x = x + self.position[0].astype(dtype)
        mask = inputs.get("attention_mask")
        mask = None if mask is None else mask.repeat(len(kinds), axis=1)
        nodes = nodes_of(x.shape[1], mask, cache=cache)
        return Tokens(dropout(x, self.spec.dropout, key), nodes, x.shape[1])

    def check(self, inputs, prefix="", rank=2):
        kinds = [name for name in KINDS if name in inputs]
        if not kinds:
            return None
        partial = _part_of_a_step(kinds, inputs)
        shape = np.shape(inputs[kinds[0]])[:2]
        for name in kinds:
            _check_numbers(name, inputs[name], self.spec.widths[name], shape, kinds[0])
        if "rewards" in inputs:  # accepted, and not read, as in the reference
            _check_numbers("rewards", inputs["rewards"], 1, shape, kinds[0])
        if "attention_mask" in inputs:
            checks.mask("attention_mask", inputs["attention_mask"], shape, kinds[0])
        self._check_time(inputs, shape, kinds[0])
        if not partial and inputs.get("cache") is None:
            self._check_length(kinds[0], shape[1])
        return shape[0], shape[1] * len(kinds)

    def _check_time(self, inputs: Mapping[str, Any], shape: tuple[int, ...], like: str) -> None:
        times, most = inputs.get("timesteps"), self.spec.steps
        if times is None:
            raise ValueError(
                f"give timesteps, Int{list(shape)}: the number of each step in its episode, from 0"
            )
        known = checks.integers("timesteps", times)
        checks.same_shape("timesteps", times, shape, like)
        if known is not None and known.size and not (known.min() >= 0 and known.max() < most):
            wrong = (known < 0) | (known >= most)
            raise ValueError(
                f"timesteps{checks.at(known, wrong)}, and episodes of this model have the steps 0 "
                f"to {most - 1} (max_ep_len {most}): end the episode there, or train a model with "
                "a larger max_ep_len"
            )

    def _check_length(self, like: str, steps: int) -> None:
        most = self.spec.positions // PER_STEP
        if checks.exceeds(steps, most):
            raise ValueError(
                f"{like} have {steps} steps, which are {PER_STEP * steps} tokens, but the model "
                f"has {self.spec.positions} positions (n_positions): give the last {most} steps"
            )

    def describe(self):
        return f"a learned table of {self.spec.steps:,} time steps"


def interleaved(kinds: list[Float[Array, "B T D"]]) -> Float[Array, "B N D"]:
    """The tokens of kinds that take turns: the first of each kind, then the second of each."""
    x = jnp.stack(kinds, axis=2)
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])


def _part_of_a_step(kinds: list[str], inputs: Mapping[str, Any]) -> bool:
    """Whether a call gives a part of one step, which goes on with a cache.

    Raises:
        ValueError: a part of several steps, without a cache, or one that no action follows.
    """
    if len(kinds) == PER_STEP:
        return False
    missing = [name for name in KINDS if name not in kinds]
    one = all(np.shape(inputs[name])[1:2] == (1,) for name in kinds)
    whole = kinds in (["returns_to_go", "states"], ["actions"])
    if inputs.get("cache") is None or not one or not whole:
        raise ValueError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; give "
            f"{', '.join(KINDS)} of every step (an action that is not known yet is zero: nothing "
            "in front of it attends to it), or, with a cache, returns_to_go and states of one "
            "step, and then its actions"
        )
    return True


def _check_numbers(name: str, value: Any, width: int, shape: tuple[int, ...], like: str) -> None:
    """Raises ValueError for what is not one vector of finite numbers a step."""
    if np.ndim(value) != 3 or np.shape(value)[2] != width:
        raise ValueError(
            f"{name} has shape {np.shape(value)}; expected (rows, steps, {width}): "
            f"{width} number{'s' * (width > 1)} a step, as {_said(name)}"
        )
    checks.floats(name, value)
    checks.same_shape(name, value, (*shape, width), like)
    array = readable(value)
    if array is not None and not np.isfinite(array).all():
        raise ValueError(
            f"{name}{checks.at(array, ~np.isfinite(array))}; expected finite numbers: ask for a "
            "return that an episode can have"
        )


def _said(name: str) -> str:
    """What says how wide an argument is."""
    says = {"states": "state_dim of the config says", "actions": "act_dim of the config says"}
    return says.get(name, "every reward and return is")
