"""Whole episodes of a policy in an environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from transformers_jax.acting.codes import Codes
from transformers_jax.acting.environment import Environment
from transformers_jax.acting.named import environment
from transformers_jax.acting.policy import Acting, Policy, TokenPolicy
from transformers_jax.arrays import Float, Int
from transformers_jax.models.base import Model


@dataclass(frozen=True)
class Episodes:
    """Episodes side by side.

    Attributes:
        asked: the return that each was to have.
        returns: that which it had.
        lengths: its steps.
    """

    asked: Float[np.ndarray, " B"]
    returns: Float[np.ndarray, " B"]
    lengths: Int[np.ndarray, " B"]

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    def __repr__(self) -> str:
        low, high = self.returns.min(), self.returns.max()
        return f"Episodes({len(self.returns)}, returns {low:g} to {high:g}, mean {self.mean:.1f})"


def rollout(
    model: Model,
    place: Environment | str,
    target_return: Any,
    *,
    seeds: Sequence[int] = (0,),
    context: int | None = None,
    codes: Codes | None = None,
) -> Episodes:
    """Whole episodes of a model of trajectories, side by side.

    Args:
        place: an environment, or the name of one: "cartpole", "gymnasium:CartPole-v1".
        target_return: what the episodes are to return: one number, or one for each.
        seeds: of each episode.
        context: as of `Policy`.
        codes: of a decoder whose words are the numbers of an episode, which ids these are; None: a
            Decision Transformer.

    Raises:
        ValueError: a return that no episode can have; a model whose states or actions are of other
            widths than those of the environment; see `Policy`.
    """
    place = environment(place) if isinstance(place, str) else place
    try:
        asked = np.broadcast_to(np.asarray(target_return, np.float32), (len(seeds),))
    except ValueError:
        raise ValueError(
            f"target_return has the shape {np.shape(target_return)} for {len(seeds)} episodes; "
            "give one number, or one for each"
        ) from None
    for one in asked.tolist():
        place.check_return(one)
    if codes is None:
        check_widths(place, model.config)
        policy: Acting = Policy(model, asked, context=context, discrete=not place.continuous)
    else:
        check_widths(place, SimpleNamespace(state_dim=codes.before - 1, act_dim=codes.actions))
        policy = TokenPolicy(model, asked, codes, context=context, longest=place.longest)
    states, going = place.reset(seeds), np.ones(len(seeds), bool)
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    for _ in range(min(place.longest, policy.longest)):
        scores = policy.act(states)
        states, rewards, ended = place.step(scores if place.continuous else scores.argmax(-1))
        policy.reward(rewards)
        returns, lengths, going = returns + rewards, lengths + going, ~ended
        if not going.any():
            break
    return Episodes(np.array(asked, np.float64), returns, lengths)


def check_widths(place: Environment, sizes: Any) -> None:
    """Raises ValueError for a model whose states or actions have other widths."""
    names = {"state_dim": "states", "act_dim": "actions"}
    wrong = [
        f"{what} of {getattr(place, name)} numbers, and the model has {name} "
        f"{getattr(sizes, name, None)}"
        for name, what in names.items()
        if getattr(sizes, name, None) != getattr(place, name)
    ]
    if wrong:
        raise ValueError(
            f"{place.name} has {'; '.join(wrong)}: give a model that was trained in it"
        )
