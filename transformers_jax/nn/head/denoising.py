"""The head of noisy images: the noise in them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.inputs import checks
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.patches import PatchSpec
from transformers_jax.nn.head.base import Dense, Head, loss_of
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

PARTS = 2  # that the condition decides: shift and scale


class Denoising(Head):
    """`sample` [B O H W], linear in each token behind a norm that the condition of the first layer
    shifts and scales (Peebles and Xie 2022, DiT, section 3.2, "Transformer decoder"). Of `labels`
    [B C H W], the noise that was added, comes the mean squared error of the first C channels; what
    is behind them says how the variance is chosen, and has no loss.

    Args:
        out: O, channels of the output.
    """

    def __init__(self, patches: PatchSpec, out: int, condition: int, initial: spec.Initial):
        self.spec, self.out = patches, out
        width, (height, across) = patches.width, patches.patch
        sizes = {"condition": condition, "parts": PARTS, "embed": width}
        self.norm = Norm(spec.LayerNorm(1e-6, shift=False, scale=False), width)
        self.modulate = param("condition parts embed", sizes, spec.ZEROS)
        self.modulate_bias = param("parts embed", sizes, spec.ZEROS)
        self.predict = Dense(width, height * across * out, "inner", initial)

    def check(self, arguments, shape, like="the input"):
        labels = arguments.get("labels")
        if labels is None:
            return
        checks.floats("labels", labels)
        given = np.shape(arguments["hidden_states"])
        if np.shape(labels) != given:
            raise ValueError(
                f"labels has shape {np.shape(labels)}; expected that of hidden_states, {given}: "
                "the noise in each channel of each pixel"
            )

    def __call__(self, x, inputs, labels=None):
        condition = jax.nn.silu(inputs.fields["condition"])
        parts = affine("be,epd->bpd", condition, self.modulate, self.modulate_bias)[:, :, None]
        pixels = self.predict(self.norm(x) * (1 + parts[:, 1]) + parts[:, 0])
        sample = self._image(pixels)
        fields = {} if labels is None else loss_of(loss=self._loss(sample, labels))
        return {**fields, "sample": sample}

    def _image(self, pixels: Float[Array, "B T N"]) -> Float[Array, "B O H W"]:
        """The image of the pixels of its patches."""
        (rows, columns), (height, across) = self.spec.grid, self.spec.patch
        parts = pixels.reshape(-1, rows, columns, height, across, self.out)
        parts = parts.transpose(0, 5, 1, 3, 2, 4)
        return parts.reshape(-1, self.out, rows * height, columns * across)

    def _loss(self, sample: Array, labels: Array) -> tuple[Array, Array]:
        """(sum, count) of the squared errors."""
        dtype = wide(sample)
        error = sample[:, : self.spec.channels].astype(dtype) - jnp.asarray(labels, dtype)
        return jnp.square(error).sum(), jnp.asarray(error.size, dtype)
