"""Heads behind queries: words at every position, pixels, the flow of pixels, a video and its sound
(Jaegle et al. 2021b, Perceiver IO, section 4)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from einops import rearrange

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.inputs import labels as check
from transformers_jax.nn.grid import Grid
from transformers_jax.nn.head.base import Dense, Head, loss_of, scored
from transformers_jax.nn.head.pretraining import LanguageModel

FLOW_SCALE = 100.0  # the flow is so many times smaller than what is projected
IDS = ("input_ids", "inputs_embeds")


class QueriedWords(LanguageModel):
    """Logits at all positions that there are, behind the input as well. Labels are one for each of
    them, or one for each token of the input."""

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is None:
            return
        check.labels("labels", labels, self.vocab, 2)
        given = self._length(arguments)
        lengths = (shape[1],) if given is None else (given, shape[1])
        if np.shape(labels)[0] != shape[0] or np.shape(labels)[1] not in lengths:
            raise ValueError(
                f"labels has shape {np.shape(labels)}; expected {shape[0]} rows of "
                f"{' or '.join(map(str, dict.fromkeys(lengths)))}: a label for each token of the "
                "input, or for each position that there is"
            )

    @staticmethod
    def _length(arguments: Any) -> int | None:
        """How many tokens the input has; None where a call has none."""
        shapes = [np.shape(x) for name in IDS if (x := arguments.get(name)) is not None]
        return shapes[0][1] if shapes else None

    def __call__(self, x, inputs, *, labels=None, output_unembedding=False):
        if output_unembedding:
            x = x[:, : self._length(inputs.arguments)]
            return super().__call__(x, inputs, output_unembedding=True)
        logits = super().__call__(x, inputs)["logits"]
        fields = {} if labels is None else scored(logits[:, : labels.shape[1]], labels)
        return {**fields, "logits": logits}


class QueriedPixels(Head):
    """The pixels of an image, one by each query; the loss is their mean squared error."""

    labels = ()

    def __init__(self, width: int, channels: int, size: Grid, initial: spec.Initial):
        self.size, self.channels = size, channels
        self.final = Dense(width, channels, "inner", initial)

    def check(self, arguments, shape, like="the input"):
        pixels = arguments.get("pixel_values")
        if pixels is not None and np.shape(pixels)[2:] != self.size:
            high, wide_ = np.shape(pixels)[2:]
            raise ValueError(
                f"pixel_values are of {high} x {wide_} pixels, and {self.size[0]} x "
                f"{self.size[1]} are made (image_size); resize them"
            )

    def __call__(self, x, inputs):
        made = rearrange(self.final(x), "b (h w) c -> b c h w", h=self.size[0])
        if inputs.arguments.get("pixel_values") is None:
            return {"reconstruction": made}
        errors = self.errors(made, inputs.arguments["pixel_values"])
        loss = loss_of(loss=(errors.sum(), jnp.asarray(errors.size, errors.dtype)))
        return {**loss, "reconstruction": made}

    @staticmethod
    def errors(made: Float[Array, "B C H W"], pixels: Array) -> Float[Array, "B C H W"]:
        """The squared error of each number."""
        return jnp.square(made.astype(wide(made)) - pixels.astype(wide(made)))


class Flow(Head):
    """How far each pixel moves, [down, across] in the layout of the reference: Float[B H W 2]."""

    labels = ()

    def __init__(self, width: int, size: Grid, initial: spec.Initial):
        self.size = size
        self.final = Dense(width, 2, "inner", initial)

    def __call__(self, x, inputs):
        flow = self.final(x) / FLOW_SCALE
        return {"logits": flow.reshape(len(x), *self.size, 2)}


class QueriedVideo(Head):
    """`logits`, by modality: samples of sound Float[B S], pixels of frames Float[B N 3], and the
    label Float[B classes]."""

    labels = ()

    def __init__(self, width: int, inner: int, samples: int, classes: int, initial: spec.Initial):
        self.final = Dense(width, inner, "inner", initial)
        self.audio = Dense(inner, samples, "inner", initial)
        self.image = Dense(inner, 3, "inner", initial)
        self.label = Dense(inner, classes, "label", initial)

    def __call__(self, x, inputs):
        x, sounds = self.final(x), inputs.arguments["audio_points"].shape[0]
        sound = self.audio(x[:, :sounds]).reshape(len(x), -1)
        frames, label = self.image(x[:, sounds:-1]), self.label(x[:, -1])
        return {"logits": {"audio": sound, "image": frames, "label": label}}
