"""`cartpole`: episodes of CartPole, by policies of mixed quality.

A record is an episode: `states` (lists of four numbers), `actions` (0 or 1), `rewards`, and for
people `policy` and `return`. Of the policies one acts at random, one looks at the angle alone, and
one at its velocity as well, so that the cart drifts from its track; one lets the pole lean by an
angle that is drawn for each episode, so that the cart leaves the track the sooner the more it
leans; and one balances. Each acts at random in a share of its steps, which is drawn as well.
Episodes return anything from 8 to 500, in the mean 221 of those that are trained on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transformers_jax.acting.cartpole import CartPole
from transformers_jax.arrays import Float

COUNTS = {"train": 600, "validation": 60, "test": 60}
SEEDS = {"train": 0, "validation": 100_000, "test": 200_000}
POLICIES = {  # weights of place, speed, angle and turning; the share of random steps at most
    "random": ((0.0, 0.0, 0.0, 0.0), 1.0),
    "angle": ((0.0, 0.0, 1.0, 0.0), 0.3),
    "drifting": ((0.0, 0.0, 1.0, 0.5), 0.5),
    "leaning": ((0.0, 0.0, 1.0, 0.4), 0.2),
    "balancing": ((0.05, 0.15, 1.0, 0.4), 0.5),
}
LEAN = 0.01, 0.12  # radians to either side


def records(split: str) -> list[dict[str, Any]]:
    """The records of a split."""
    count, first = COUNTS[split], SEEDS[split]
    seeds = [first + number for number in range(count)]
    names = [[*POLICIES][number % len(POLICIES)] for number in range(count)]
    rngs = [np.random.default_rng((7, seed)) for seed in seeds]
    weights = np.array([POLICIES[name][0] for name in names])
    shares = np.array([rng.uniform(0, POLICIES[n][1]) for rng, n in zip(rngs, names)])
    shares[[name == "random" for name in names]] = 1.0
    lean = np.array([rng.uniform(*LEAN) * rng.choice((-1, 1)) for rng in rngs])
    lean[[name != "leaning" for name in names]] = 0.0
    return _recorded(seeds, names, weights, lean, shares, rngs)


def _recorded(
    seeds: list[int],
    names: list[str],
    weights: Float[np.ndarray, "B 4"],
    lean: Float[np.ndarray, " B"],
    shares: Float[np.ndarray, " B"],
    rngs: list[np.random.Generator],
) -> list[dict[str, Any]]:
    """The episodes, side by side."""
    place = CartPole()
    states, going = place.reset(seeds), np.ones(len(seeds), bool)
    draws = np.stack([rng.random((2, place.longest)) for rng in rngs])
    seen, taken, lengths = [], [], np.zeros(len(seeds), np.int64)
    for step in range(place.longest):
        chosen = ((states * weights).sum(1) > lean).astype(int)
        actions = np.where(draws[:, 0, step] < shares, draws[:, 1, step] < 0.5, chosen)
        seen.append(states)
        taken.append(actions.astype(int))
        lengths += going
        states, _, ended = place.step(taken[-1])
        going = ~ended
        if not going.any():
            break
    rows = np.stack(seen, 1).astype(np.float32), np.stack(taken, 1)
    return [
        {
            "states": rows[0][number, :length].tolist(),
            "actions": rows[1][number, :length].tolist(),
            "rewards": [1.0] * length,
            "policy": names[number],
            "return": float(length),
        }
        for number, length in enumerate(lengths.tolist())
    ]
