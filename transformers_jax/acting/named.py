"""Environments by their names."""

from __future__ import annotations

from transformers_jax.acting.cartpole import CartPole
from transformers_jax.acting.environment import Environment
from transformers_jax.acting.gym import GYMNASIUM, Gymnasium
from transformers_jax.spelling import nearest


def environment(name: str) -> Environment:
    """An environment by its name: "cartpole", or "gymnasium:CartPole-v1" and the like.

    Raises:
        ValueError: there is none of this name, or its library is not installed.
    """
    if name.startswith(GYMNASIUM):
        return Gymnasium(name.removeprefix(GYMNASIUM))
    if name != "cartpole":
        raise ValueError(
            f"there is no environment {name!r}{nearest(name, ['cartpole'])}; give cartpole, or "
            f"{GYMNASIUM}NAME for one of Gymnasium"
        )
    return CartPole()
