"""Codes: the numbers of an episode as ids of one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from transformers_jax.arrays import Int

Borders = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Codes:
    """Every number of a step is one of a few bins, which hold as many of the recorded numbers each,
    and has ids of its own (Janner et al. 2021, section 2.1). The tokens of a step are what is still
    to be returned, the numbers of its state, the action that is chosen, and its reward.

    Attributes:
        borders: between the bins: of returns, of each number of a state, and of rewards.
        actions: how many there are to choose from.
        first: the first id.
    """

    borders: Borders
    actions: int
    first: int = 0

    @classmethod
    def learned(cls, numbers: Any, actions: int, bins: int, first: int = 0) -> Self:
        """Those of recorded numbers, [T K]: returns, states and rewards side by side."""
        inner = np.arange(1, bins) / bins
        borders = np.quantile(np.asarray(numbers, np.float64), inner, axis=0).T.round(6)
        return cls(tuple(map(tuple, borders.tolist())), actions, first)

    @property
    def bins(self) -> int:
        """Of a number."""
        return len(self.borders[0]) + 1

    @property
    def per_step(self) -> int:
        """Tokens of a step."""
        return len(self.borders) + 1

    @property
    def before(self) -> int:
        """Tokens of a step in front of its action."""
        return len(self.borders) - 1

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.borders) * self.bins + self.actions

    @property
    def chosen(self) -> slice:
        """The ids of actions."""
        begin = self.first + len(self.borders) * self.bins
        return slice(begin, begin + self.actions)

    def seen(self, step: Mapping[str, np.ndarray]) -> Int[np.ndarray, "B T K"]:
        """The ids of returns and states, [B T ...]."""
        numbers = np.concatenate([step["returns_to_go"], step["states"]], axis=-1)
        return np.stack([self._of(kind, numbers[..., kind]) for kind in range(self.before)], -1)

    def done(self, step: Mapping[str, np.ndarray]) -> Int[np.ndarray, "B T 2"]:
        """The ids of actions, of which the one that was chosen is 1, and of rewards."""
        actions = self.chosen.start + step["actions"].argmax(-1)
        rewards = self._of(self.before, step["rewards"][..., 0])
        return np.stack([actions, rewards], -1).astype(np.int32)

    def whole(self, steps: Mapping[str, np.ndarray]) -> Int[np.ndarray, "B N"]:
        """The ids of whole steps, one after the other."""
        ids = np.concatenate([self.seen(steps), self.done(steps)], axis=-1)
        return ids.reshape(len(ids), -1)

    def _of(self, kind: int, numbers: np.ndarray) -> np.ndarray:
        bins = np.searchsorted(self.borders[kind], numbers, side="right")
        return (self.first + kind * self.bins + bins).astype(np.int32)
