"""CartPole: a cart is pushed to the left or to the right, such that the pole on it does not fall
(Barto, Sutton and Anderson 1983, appendix; the limits, the reward and the length of an episode are
those of CartPole-v1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transformers_jax.acting.environment import Environment, Step
from transformers_jax.arrays import Float, Int

GRAVITY = 9.8  # m / s^2
CART, POLE = 1.0, 0.1  # kg
HALF = 0.5  # m, half of the pole
FORCE = 10.0  # N
SECONDS = 0.02  # of a step, by Euler's method
FARTHEST = 2.4  # m from the middle of the track
STEEPEST = 12 * np.pi / 180  # radians from upright
START = 0.05  # the four numbers of the first state are uniform in +-START
LONGEST = 500  # steps

State = Float[np.ndarray, "B 4"]


class CartPole(Environment):
    """The state is the position of the cart, its velocity, the angle of the pole, and its angular
    velocity, in float64. Action 0 pushes to the left, 1 to the right. Every step is rewarded with
    1, that with which the episode ends included."""

    name = "cartpole"
    state_dim, act_dim, longest = 4, 2, LONGEST
    returns = (1.0, float(LONGEST))

    def __init__(self) -> None:
        self.states: State = np.zeros((0, 4))
        self.steps, self.ended = 0, np.zeros(0, bool)

    def reset(self, seeds: Sequence[int]) -> State:
        draws = [np.random.default_rng(seed).uniform(-START, START, 4) for seed in seeds]
        return self.begin(np.stack(draws))

    def begin(self, states: State) -> State:
        """Episodes that begin with these states."""
        self.states, self.steps = np.array(states, np.float64), 0
        self.ended = np.zeros(len(states), bool)
        return self.states.copy()

    def step(self, actions: Int[np.ndarray, " B"]) -> Step:
        pushed = moved(self.states, np.asarray(actions))
        self.states = np.where(self.ended[:, None], self.states, pushed)
        rewards = (~self.ended).astype(np.float64)
        self.steps += 1
        self.ended = self.ended | fallen(self.states) | (self.steps >= LONGEST)
        return Step(self.states.copy(), rewards, self.ended.copy())


def moved(states: State, actions: Int[np.ndarray, " B"]) -> State:
    """The states after a push to the left (0) or to the right (1).

    Raises:
        ValueError: another action.
    """
    if not np.isin(actions, (0, 1)).all():
        raise ValueError(f"actions are {actions}; expected 0 (left) or 1 (right) in each episode")
    _, speed, angle, turning = states.T
    force, mass = np.where(actions == 1, FORCE, -FORCE), CART + POLE
    sine, cosine = np.sin(angle), np.cos(angle)
    pushed = (force + POLE * HALF * np.square(turning) * sine) / mass
    falling = GRAVITY * sine - cosine * pushed
    falling = falling / (HALF * (4 / 3 - POLE * np.square(cosine) / mass))
    pushed = pushed - POLE * HALF * falling * cosine / mass
    rates = np.stack([speed, pushed, turning, falling], axis=1)
    return states + SECONDS * rates


def fallen(states: State) -> np.ndarray:
    """Whether the cart has left the track, or the pole leans too far, Bool[B]."""
    return (np.abs(states[:, 0]) > FARTHEST) | (np.abs(states[:, 2]) > STEEPEST)
