"""What brings the states of an image to the width of a text."""

from __future__ import annotations

from flax import nnx

from transformers_jax.arrays import Array, Float
from transformers_jax.nn.head import Dense, Square
from transformers_jax.spec import Initial


class Projector(nnx.Module):
    """W_2 act(W_1 x + b_1) + b_2 (Liu et al. 2023, "Improved baselines with visual instruction
    tuning", section 3.2)."""

    def __init__(self, vision: int, text: int, act: str, initial: Initial, bias: bool = True):
        self.first = Square(vision, act, initial, out=text, bias=bias)
        self.second = Dense(text, text, "inner", initial, bias)

    def __call__(self, x: Float[Array, "N P E"]) -> Float[Array, "N P D"]:
        return self.second(self.first(x))
