"""The family of `train.gallery` that acts: what is asked of it, and what it obtains.

It learns from the episodes of `generated:cartpole`, in which a pole falls sooner or later.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import transformers_jax as tj
from transformers_jax.data.generated.cartpole import records
from transformers_jax.runs.pictures import draw as draw_figure
from transformers_jax.tasks.episodes import Episode
from transformers_jax.tasks.figures import scatter_of

STEPS = 10  # that are read together
SCALE = 1 / 500  # of returns
DEVIATION = np.array((0.8, 0.6, 0.06, 0.5), np.float32)  # about that of states
ASKED = np.repeat((20, 50, 100, 150, 200, 300, 400, 500), 6)


@functools.cache
def episodes() -> Sequence[Episode]:
    """Those to learn from."""
    numbers = lambda one, name: np.array(one[name], np.float32)
    return [
        Episode(numbers(one, "states") / DEVIATION, np.eye(2, dtype=np.float32)[one["actions"]],
                numbers(one, "rewards") * SCALE)
        for one in records("train")
    ]  # fmt: skip


def batch(kind: str, seed: int, rows: int = 48) -> dict[str, Any]:
    """The arguments of a call: a pure function of the seed. Long episodes are read more often."""
    rng, every = np.random.default_rng(seed), episodes()
    lengths = np.array([len(one) for one in every])
    windows = []
    for number in rng.choice(len(every), rows, p=lengths / lengths.sum()):
        first = int(rng.integers(lengths[number]))
        windows.append(every[number].window(first, STEPS))
    return {name: np.stack([one[name] for one in windows]) for name in windows[0]}


@dataclass(frozen=True)
class Acted:
    """What is trained for a family that acts."""

    config: Callable[[], Any]
    head: str = "trajectory"
    kind: str = "acts"
    steps: int = 1000


ACTED = {
    "decision_transformer": Acted(
        lambda: tj.DecisionTransformerConfig(
            state_dim=4, act_dim=2, hidden_size=48, max_ep_len=500, action_tanh=False,
            n_positions=3 * STEPS, n_layer=2, n_head=4,
        )
    )
}  # fmt: skip


def draw(name: str, model: Any, path: Path) -> None:
    """Writes the figure of a family: returns of episodes in which returns were asked for."""
    values = tj.functional(model)[1]
    for name, scale in (("returns", SCALE), ("states", 1 / DEVIATION[:, None])):
        values["embed"][name]["weight"] = values["embed"][name]["weight"] * scale
    episodes = tj.rollout(tj.bind(model, values), "cartpole", ASKED, seeds=range(len(ASKED)))
    names = dict(across="asked", up="obtained", what="returns")
    draw_figure(scatter_of(episodes.asked.tolist(), episodes.returns.tolist(), **names), path)
