"""Environments: what a state is, what an action does, and what it is rewarded with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Bool, Float


class Step(NamedTuple):
    """What follows an action in each of several episodes.

    Attributes:
        states: the next ones.
        rewards: of the action; 0 in an episode that had ended before.
        ended: whether it is over.
    """

    states: Float[np.ndarray, "B N"]
    rewards: Float[np.ndarray, " B"]
    ended: Bool[np.ndarray, " B"]


class Environment(ABC):
    """Several episodes side by side, which do not know of each other.

    Attributes:
        name: as `environment` takes it.
        state_dim: numbers of a state.
        act_dim: how many actions there are to choose from; where actions are `continuous`, numbers
            of one.
        longest: steps after which an episode ends in any case.
        returns: the least and the greatest return of an episode.
    """

    name: str
    state_dim: int
    act_dim: int
    continuous: bool = False
    longest: int
    returns: tuple[float, float] = (-math.inf, math.inf)

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> Float[np.ndarray, "B N"]:
        """The first state of an episode for each seed, which decides all that is drawn in it."""

    @abstractmethod
    def step(self, actions: Any) -> Step:
        """What follows an action in each episode: the number of the one that is chosen, Int[B], or
        where actions are continuous their numbers, Float[B A]."""

    def check_return(self, asked: float) -> None:
        """Raises ValueError for a return that no episode can have."""
        low, high = self.returns
        if not (math.isfinite(asked) and low <= asked <= high):
            raise ValueError(
                f"target_return is {asked:g}, and an episode of {self.name} returns {low:g} to "
                f"{high:g}: ask for a return in between"
            )
