"""The embedder of audio features: two convolutions over mel frames, and positions."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.param import add, contract, param
from transformers_jax.nn.spec_augment import SpecAugment

TAPS = 3
STRIDE = 2  # of the second convolution: two frames are one token


@dataclass(frozen=True)
class FrameSpec:
    """How log-mel features become vectors (Radford et al. 2022, section 2.2).

    Attributes:
        mels: M, the channels of a frame.
        positions: how many tokens a row has; of frames there are twice as many.
        width: D, of the stream.
        augment: what a call with a key hides of the features, which is then zero.
    """

    mels: int
    positions: int
    width: int
    dropout: float = 0.0
    augment: SpecAugment | None = None
    activation: str = "gelu"
    initial: spec.Initial = field(default_factory=spec.Initial)


class FrameEmbedder(Embedder):
    """act(conv(act(conv(frames)))) + sinusoids, which files hold and nothing learns. Every row is
    as long as `positions` says: shorter audio is padded with silence before its features."""

    raw = ("input_features",)
    arguments = ("input_features",)

    def __init__(self, frames: FrameSpec):
        self.spec, self.positions = frames, frames.positions
        sizes = {"position": frames.positions, "embed": frames.width, "taps": TAPS}

        def taps(channels: int) -> nnx.Param:
            sized = {**sizes, "inner": channels}
            return param("taps inner embed", sized, frames.initial.draw("taps", sized))

        self.first, self.second = taps(frames.mels), taps(frames.width)
        self.first_bias = param("embed", sizes, spec.ZEROS)
        self.second_bias = param("embed", sizes, spec.ZEROS)
        draw = spec.Draw("sinusoids", 1.0, halves=True)
        self.position = param("position embed", sizes, draw, learned=False)

    def check(self, inputs, prefix="", rank=2):
        features = inputs.get(f"{prefix}input_features")
        if features is None:
            return None
        shape, frames = np.shape(features), STRIDE * self.spec.positions
        if len(shape) != 3 or shape[1:] != (self.spec.mels, frames) or shape[0] == 0:
            raise ValueError(
                f"input_features has shape {shape}; expected (rows, {self.spec.mels} mel channels, "
                f"{frames} frames): pad audio with silence, or cut it, before its features are made"
            )
        checks.floats("input_features", features)
        return shape[0], self.spec.positions

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        act = activation(self.spec.activation)
        x = jnp.swapaxes(inputs["input_features"], 1, 2).astype(dtype)
        if self.spec.augment is not None and key is not None:
            key, hide = jax.random.split(key)
            x = self.spec.augment.zeroed(x, hide)
        x = act(add(convolve(x, self.first), self.first_bias))
        x = act(add(convolve(x, self.second, STRIDE), self.second_bias))
        x = x + jax.lax.stop_gradient(self.position[...]).astype(dtype)
        return Tokens(dropout(x, self.spec.dropout, key), nodes_of(x.shape[1]), x.shape[1])

    def describe(self):
        return f"sinusoids of {self.spec.positions:,} positions"

    def flops(self, tokens):
        return 2.0 * tokens * (STRIDE * self.first.size + self.second.size)


def convolve(x: Float[Array, "B T C"], weight, stride: int = 1) -> Float[Array, "B S D"]:
    """A convolution over time, padded such that without a stride it keeps the length."""
    length, padded = x.shape[1], jnp.pad(x, ((0, 0), (TAPS // 2, TAPS // 2), (0, 0)))
    taps = [padded[:, tap : tap + length : stride] for tap in range(TAPS)]
    return contract("btkc,kcd->btd", jnp.stack(taps, axis=2), weight)
