"""How a task reads recorded episodes: windows of their states, actions and rewards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from transformers_jax.acting.codes import Codes
from transformers_jax.arrays import Float, Int
from transformers_jax.data.tables import Records
from transformers_jax.nn.embed.trajectory import PER_STEP
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.rows import NUMBER, Drawn

COLUMNS = {
    "states": ("states", "observations", "obs"),
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
}
"""Usual names of the columns of an episode."""
ASKED = "asked"
"""The entry of a batch that says what the episode of a row returned, [B 1]."""


@dataclass(frozen=True)
class Episode:
    """One that was recorded.

    Attributes:
        states: [T N].
        actions: [T A]; of actions to choose from, 1 for the one that was chosen.
        rewards: of each action, [T].
    """

    states: Float[np.ndarray, "T N"]
    actions: Float[np.ndarray, "T A"]
    rewards: Float[np.ndarray, " T"]

    def __len__(self) -> int:
        return len(self.states)

    @cached_property
    def returns(self) -> Float[np.ndarray, " T"]:
        """What is still to be returned at each step."""
        return np.cumsum(self.rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)

    @property
    def total(self) -> float:
        """What it returned."""
        return float(self.returns[0])

    def window(self, first: int, steps: int) -> dict[str, np.ndarray]:
        """The arguments of a model for so many steps, without the axis of rows; what is beyond the
        end of the episode is padding."""
        part = slice(first, first + steps)
        count = len(self.states[part])
        fill = lambda x: np.pad(x, [(0, steps - count)] + [(0, 0)] * (x.ndim - 1))
        return {
            "states": fill(self.states[part]),
            "actions": fill(self.actions[part]),
            "returns_to_go": fill(self.returns[part, None]),
            "rewards": fill(self.rewards[part, None]),
            "timesteps": fill(np.arange(first, first + count, dtype=np.int32)),
            "attention_mask": fill(np.ones(count, np.int32)),
        }


@dataclass(frozen=True)
class Episodes:
    """Those of a table.

    Attributes:
        discrete: whether actions are chosen from several.
    """

    episodes: Sequence[Episode]
    discrete: bool

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: which these are."""
        sums = hashlib.sha256()
        for one in self.episodes:
            for array in (one.states, one.actions, one.rewards):
                sums.update(np.ascontiguousarray(array).tobytes())
        return sums.hexdigest()[:16]

    @property
    def note(self) -> str:
        """What they are, in a line."""
        totals = np.array([one.total for one in self.episodes])
        return (
            f"{len(totals):,} episodes of {sum(map(len, self.episodes)):,} steps, which return "
            f"{totals.min():g} to {totals.max():g}, in the mean {totals.mean():.1f}"
        )


class EpisodeWindows(Drawn):
    """Examples of so many steps of an episode.

    Args:
        windows: (number of an episode, first step) of each. One that is trained on begins at any
            step of its episode, each as likely.
        codes: of a model whose words are the numbers of an episode; None of one that reads these
            as they are, as a return, a state and an action for each step.
    """

    def __init__(
        self,
        whole: Episodes,
        windows: Sequence[tuple[int, int]],
        steps: int,
        codes: Codes | None = None,
    ):
        self.whole, self.windows, self.steps, self.codes = whole, windows, steps, codes
        self.length = steps * (PER_STEP if codes is None else codes.per_step)
        sums = hashlib.sha256(f"{whole.fingerprint} {steps} {codes} {[*windows]}".encode())
        self.fingerprint = sums.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: Any) -> Any:
        return self._example(number, self.windows[number][1])

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        episode = self.whole.episodes[self.windows[number][0]]
        return self._example(number, int(noise.integers(len(episode))))

    def select(self, numbers: Sequence[int]) -> EpisodeWindows:
        return self.with_windows([self.windows[n] for n in numbers])

    def with_windows(self, windows: Sequence[tuple[int, int]]) -> EpisodeWindows:
        """Others of the same episodes."""
        return EpisodeWindows(self.whole, windows, self.steps, self.codes)

    def every(self) -> EpisodeWindows:
        """As many windows of each episode as it has times so many steps: long ones are read more
        often, so that every step is."""
        firsts = lambda one: range(0, len(self.whole.episodes[one]), self.steps)
        return self.with_windows([(one, n) for one, _ in self.windows for n in firsts(one)])

    @property
    def owners(self) -> Int[np.ndarray, " N"]:
        """The number of the episode of each example."""
        return np.array([one for one, _ in self.windows])

    def _example(self, number: int, first: int) -> Example:
        episode = self.whole.episodes[self.windows[number][0]]
        once = {ASKED: np.array([episode.total], np.float32), NUMBER: number}
        window = episode.window(first, self.steps)
        if self.codes is None:
            return Example(once={**window, **once}, size=self.length)
        count = int(window.pop("attention_mask").sum())
        ids = self.codes.whole({name: array[None, :count] for name, array in window.items()})[0]
        return Example({"input_ids": ids, "labels": ids}, once=once)


def episodes_of(
    records: Records, columns: dict[str, str], sizes: tuple[int, int], most: int
) -> Episodes:
    """The episodes of a table.

    Args:
        sizes: numbers of a state; numbers of an action, or how many there are to choose from.
        most: steps of an episode that the model has a place for.

    Raises:
        ValueError: a value that is none of its column, or an episode that is too long, by its
            place.
    """
    found: list[Episode] = []
    kinds: set[bool] = set()
    for where, record in zip(records.places, records.records):
        values = {role: _numbers(record.get(name), where, name) for role, name in columns.items()}
        states, actions, rewards = (values[role] for role in COLUMNS)
        discrete = actions.ndim == 1
        kinds.add(discrete)
        _check(where, values, sizes, most)
        if discrete:
            actions = np.eye(sizes[1], dtype=np.float32)[actions.astype(int)]
        one = (states, actions, rewards)
        found.append(Episode(*(np.ascontiguousarray(x, np.float32) for x in one)))
    if len(kinds) > 1:
        raise ValueError(
            f"{records.name}: the actions of some episodes are numbers of a choice, and those of "
            "others vectors; give one kind"
        )
    return Episodes(found, discrete=kinds == {True})


def _numbers(value: Any, where: str, name: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # of unlike length
        array = np.array(None)
    if array.dtype.kind not in "uif" or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"{where}: {name!r} holds no numbers of each step; expected a list of finite numbers, "
            "or of vectors of one length"
        )
    return array


def _check(where: str, values: dict[str, np.ndarray], sizes: tuple[int, int], most: int) -> None:
    """Raises ValueError for an episode that a model of these sizes does not read."""
    states, actions, rewards = (values[role] for role in COLUMNS)
    if states.ndim != 2 or states.shape[1] != sizes[0]:
        raise ValueError(
            f"{where}: states have the shape {states.shape}; expected (steps, {sizes[0]}), as "
            "state_dim of the model says"
        )
    if actions.ndim == 1:
        if actions.dtype.kind == "f" or actions.min() < 0 or actions.max() >= sizes[1]:
            raise ValueError(
                f"{where}: actions are {actions.min()} to {actions.max()}; expected whole numbers "
                f"0 to {sizes[1] - 1}, as act_dim of the model says, or vectors"
            )
    elif actions.ndim != 2 or actions.shape[1] != sizes[1]:
        raise ValueError(
            f"{where}: actions have the shape {actions.shape}; expected (steps, {sizes[1]}), as "
            "act_dim of the model says"
        )
    lengths = {role: len(array) for role, array in values.items()}
    if len({*lengths.values()}) > 1 or rewards.ndim != 1:
        raise ValueError(f"{where}: an episode has one of each at every step; it has {lengths}")
    if len(states) > most:
        raise ValueError(
            f"{where}: the episode has {len(states)} steps, and the model {most} (max_ep_len): "
            f"a model whose max_ep_len is {len(states)} reads it"
        )
