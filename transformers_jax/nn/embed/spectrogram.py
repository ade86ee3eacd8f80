"""The embedder of spectrograms: patches that overlap, two tokens of the whole, and positions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.inputs import checks
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.param import param

SPECIAL = 2  # tokens in front of the patches


@dataclass(frozen=True)
class SpectrogramSpec:
    """How a spectrogram becomes vectors (Gong et al. 2021, section 2.1).

    Attributes:
        mels, frames: how large it is.
        patch: the side of a patch.
        strides: how far patches lie apart, in channels and in frames.
        width: D, of the stream.
    """

    mels: int
    frames: int
    patch: int
    strides: tuple[int, int]
    width: int
    dropout: float = 0.0
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches there are from the lowest channel to the highest, and in time."""
        sizes = zip((self.mels, self.frames), self.strides)
        rows, columns = ((size - self.patch) // stride + 1 for size, stride in sizes)
        return rows, columns


class SpectrogramEmbedder(Embedder):
    """[class token, distillation token, patches channel by channel] + positions. Every row is as
    large as the model was made for: shorter audio is padded before."""

    raw = ("input_values",)
    arguments = ("input_values", "attention_mask")

    def __init__(self, patches: SpectrogramSpec):
        if min(patches.grid) < 1:
            raise ValueError(
                f"a spectrogram of {patches.mels} channels and {patches.frames} frames holds no "
                f"patch of {patches.patch} x {patches.patch}; give a smaller patch_size"
            )
        self.spec = patches
        tokens = SPECIAL + math.prod(patches.grid)
        self.positions = tokens
        sizes = {
            "patch_height": patches.patch,
            "patch_width": patches.patch,
            "embed": patches.width,
            "position": tokens,
        }
        draw = patches.initial.draw("patch", sizes)
        self.patch = param("patch_height patch_width embed", sizes, draw)
        self.patch_bias = param("embed", sizes, spec.ZEROS)
        self.cls = param("embed", sizes, spec.ZEROS)
        self.distillation = param("embed", sizes, spec.ZEROS)
        self.position = param("position embed", sizes, spec.ZEROS)

    def check(self, inputs, prefix="", rank=2):
        values = inputs.get(f"{prefix}input_values")
        if values is None:
            return None
        shape, expected = np.shape(values), (self.spec.frames, self.spec.mels)
        if len(shape) != 3 or shape[1:] != expected or shape[0] == 0:
            raise ValueError(
                f"input_values has shape {shape}; expected (rows, {expected[0]} frames, "
                f"{expected[1]} mel channels): pad spectrograms, or cut them, to so many frames"
            )
        checks.floats("input_values", values)
        tokens = (shape[0], SPECIAL + math.prod(self.spec.grid))
        if (mask := inputs.get(f"{prefix}attention_mask")) is not None:
            checks.mask("attention_mask", mask, tokens, "the tokens of these spectrograms")
        return tokens

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        values = jnp.swapaxes(jnp.asarray(inputs["input_values"]), 1, 2).astype(dtype)
        rows, columns = (
            np.arange(count)[:, None] * stride + np.arange(self.spec.patch)
            for count, stride in zip(self.spec.grid, self.spec.strides)
        )
        parts = values[:, rows[:, None, :, None], columns[None, :, None, :]]
        x = affine("bhwpq,pqd->bhwd", parts, self.patch, self.patch_bias)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        special = jnp.stack([self.cls[...], self.distillation[...]]).astype(dtype)
        special = jnp.broadcast_to(special, (x.shape[0], SPECIAL, x.shape[-1]))
        x = jnp.concatenate([special, x], axis=1) + self.position[...].astype(dtype)
        x = dropout(x, self.spec.dropout, key)
        return Tokens(x, nodes_of(x.shape[1], inputs.get("attention_mask")), x.shape[1])

    def describe(self):
        rows, columns = self.spec.grid
        patches = f"{rows} x {columns} patches, and {SPECIAL} tokens of the whole"
        return f"a learned table of {self.positions:,}, for {patches}"
