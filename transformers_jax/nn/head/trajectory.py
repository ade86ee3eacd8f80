"""The head of trajectories: the next action, state and return."""

from __future__ import annotations

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.nn.embed.trajectory import KINDS
from transformers_jax.nn.head.base import Dense, Head


class Trajectory(Head):
    """Of the token of a state the action that follows it, of that of an action the state and the
    return after it (Chen et al. 2021, section 3), each linear in its token.

    Args:
        squashed: whether actions lie between -1 and 1, by tanh.
    """

    labels = ()

    def __init__(
        self, state: int, action: int, width: int, initial: spec.Initial, *, squashed: bool
    ):
        self.squashed = squashed
        self.state = Dense(width, state, "inner", initial)
        self.action = Dense(width, action, "inner", initial)
        self.value = Dense(width, 1, "inner", initial)

    def __call__(self, x, inputs):
        kinds = [name for name in KINDS if inputs.arguments.get(name) is not None]
        tokens = {name: x[:, number :: len(kinds)] for number, name in enumerate(kinds)}
        fields = {}
        if "actions" in tokens:
            fields["state_preds"] = self.state(tokens["actions"])
        if "states" in tokens:
            action = self.action(tokens["states"])
            fields["action_preds"] = jnp.tanh(action) if self.squashed else action
        if "actions" in tokens:
            fields["return_preds"] = self.value(tokens["actions"])
        return {**fields, "last_hidden_state": x}
