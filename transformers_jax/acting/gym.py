"""The environments of Gymnasium (Towers et al. 2024), as rows of episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformers_jax.acting.environment import Environment, Step
from transformers_jax.arrays import Float
from transformers_jax.extras import need

GYMNASIUM = "gymnasium:"
"""In front of the name of an environment of Gymnasium."""
UNLIMITED = 1_000_000  # steps, where the environment says no number


class Gymnasium(Environment):
    """Episodes of an environment of Gymnasium whose states are vectors, and whose actions are
    vectors or one of several.

    Raises:
        ValueError: it is not installed (extra `gymnasium`), has no environment of this name, or
            has states or actions of another kind.
    """

    def __init__(self, name: str, **options: Any):
        gymnasium = need("gymnasium", "gymnasium", GYMNASIUM + name)
        self.name = GYMNASIUM + name
        try:
            self.make = lambda: gymnasium.make(name, **options)
            first = self.make()
        except gymnasium.error.Error as error:
            raise ValueError(f"{self.name}: {error}") from None
        self.episodes: list[Any] = [first]
        states, actions, kinds = first.observation_space, first.action_space, gymnasium.spaces
        self.continuous = isinstance(actions, kinds.Box)
        vectors = isinstance(states, kinds.Box) and len(states.shape) == 1
        if not vectors or not (self.continuous or isinstance(actions, kinds.Discrete)):
            raise ValueError(
                f"{self.name} has the states {states} and the actions {actions}; expected states "
                "that are vectors, and actions that are vectors or one of several"
            )
        self.state_dim = states.shape[0]
        self.act_dim = math.prod(actions.shape) if self.continuous else int(actions.n)
        self.longest = (first.spec and first.spec.max_episode_steps) or UNLIMITED
        self.ended = np.zeros(0, bool)
        self.states = np.zeros((0, self.state_dim))

    def reset(self, seeds: Sequence[int]) -> Float[np.ndarray, "B N"]:
        while len(self.episodes) < len(seeds):
            self.episodes.append(self.make())
        first = [one.reset(seed=int(seed))[0] for one, seed in zip(self.episodes, seeds)]
        self.states, self.ended = np.stack(first).astype(np.float64), np.zeros(len(seeds), bool)
        return self.states.copy()

    def step(self, actions: Any) -> Step:
        rewards = np.zeros(len(self.ended))
        for number in np.flatnonzero(~self.ended):
            own = np.asarray(actions[number])
            one = self.episodes[number]
            shaped = own.reshape(one.action_space.shape).astype(one.action_space.dtype)
            state, reward, fell, late, _ = one.step(shaped if self.continuous else int(own))
            self.states[number], rewards[number] = state, float(reward)
            self.ended[number] = fell or late
        return Step(self.states.copy(), rewards, self.ended.copy())
