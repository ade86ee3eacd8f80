"""The embedder of waveforms: strided convolutions, a projection, and positions by a convolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.embed.tokens import Projection
from transformers_jax.nn.noise import dropout, split_key
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param
from transformers_jax.nn.spec_augment import SpecAugment, all_steps
from transformers_jax.nn.wave_convolutions import PositionConvolution, StemConvolution


@dataclass(frozen=True)
class WaveSpec:
    """How samples become vectors (Baevski et al. 2020, wav2vec 2.0, sections 2 and 4.2).

    Attributes:
        channels, kernels, strides: of each convolution of the stem.
        width: D, of the stream.
        bias: of the convolutions of the stem.
        stem_norm: "group": each channel of the first convolution over all samples of its row,
            padding included; "layer": every convolution's frames.
        project_norm: in front of the projection.
        taps, groups: of the convolution that gives positions.
        norm: of the sum of frames and positions.
        project_dropout, dropout: behind the projection, and of the stream.
        augment: what a call with a key hides.
        masked: whether there is a vector in place of hidden frames.
        hides: whether the frames that a call names (`mask_time_indices`) are hidden.
        features: whether what goes into the projection is a field of the output.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    width: int
    taps: int
    groups: int
    bias: bool = False
    stem_norm: Literal["group", "layer"] = "group"
    activation: str = "gelu"
    project_norm: spec.Norm | None = None
    norm: spec.Norm | None = None
    project_dropout: float = 0.0
    dropout: float = 0.0
    augment: SpecAugment | None = None
    masked: bool = True
    hides: bool = True
    features: bool = False
    initial: spec.Initial = field(default_factory=spec.Initial)

    def frames(self, samples: Any) -> Any:
        """How many frames so many samples give, as numbers or as an array of them."""
        for kernel, stride in zip(self.kernels, self.strides):
            samples = (samples - kernel) // stride + 1
        return samples

    def samples(self, frames: int) -> int:
        """How many samples are read for so many frames."""
        for kernel, stride in reversed([*zip(self.kernels, self.strides)]):
            frames = (frames - 1) * stride + kernel
        return frames


class WaveEmbedder(Embedder):
    """norm(frames + positions(frames)), where frames are the projected output of the stem.

    `attention_mask` is of samples, 1 for audio and 0 for the padding behind it: a frame is a token
    if all its samples are audio, and is zero otherwise. `mask_time_indices`, one value for each
    frame, says which are replaced by a learned vector; without it a call with a key draws them.
    """

    raw = ("input_values",)
    arguments = ("input_values", "attention_mask", "mask_time_indices")
    masks_raw = True

    def __init__(self, wave: WaveSpec):
        self.spec = wave
        before, convs = (1, *wave.channels), []
        for number, (taps, stride) in enumerate(zip(wave.kernels, wave.strides)):
            norm = wave.stem_norm if wave.stem_norm == "layer" or number == 0 else None
            sizes = (before[number], before[number + 1], taps, stride)
            convs.append(StemConvolution(*sizes, wave.activation, norm, wave.bias))
        self.convs = nnx.List(convs)
        last = wave.channels[-1]
        self.project_norm = Norm(wave.project_norm, last) if wave.project_norm else None
        self.project = Projection(last, wave.width, wave.initial)
        sizes = {"embed": wave.width}
        draw = spec.Draw("uniform", 1.0)
        self.masked = param("embed", sizes, draw) if wave.masked else None
        self.positional = PositionConvolution(wave.width, wave.taps, wave.groups, wave.activation)
        self.norm = Norm(wave.norm, wave.width) if wave.norm else None

    def check(self, inputs, prefix="", rank=2):
        values = inputs.get(f"{prefix}input_values")
        if values is None:
            return None
        least = self.spec.samples(1)
        shape = np.shape(values)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"input_values has shape {shape}; expected (rows, samples) of one channel: mix "
                "stereo down, and pad rows to one length"
            )
        checks.floats("input_values", values)
        checks.finite("input_values", values)
        if checks.exceeds(least, shape[1]):
            raise ValueError(
                f"input_values has {shape[1]} samples a row, but one frame of this model reads "
                f"{least}; give longer audio, or pad it with zeros"
            )
        frames = self.spec.frames(shape[1])
        if (mask := inputs.get(f"{prefix}attention_mask")) is not None:
            checks.mask("attention_mask", mask, shape, "input_values")
            check_padded_behind(mask, least)
        if (hidden := inputs.get(f"{prefix}mask_time_indices")) is not None:
            checks.mask("mask_time_indices", hidden, (shape[0], frames), "the frames of this audio")
            if self.spec.hides and self.masked is None:
                raise ValueError(
                    "mask_time_indices: this model has no vector for hidden frames, because "
                    "mask_time_prob and mask_feature_prob are both 0; load it with another "
                    "mask_time_prob, such as mask_time_prob=0.05, or leave the argument out"
                )
        return shape[0], frames

    def valid(self, attention_mask, length):
        if attention_mask is None:
            return None
        frames = self.spec.frames((jnp.asarray(attention_mask) > 0).sum(-1))
        return jnp.arange(length) < frames[:, None]

    def count(self, raw):
        return self.spec.frames(raw)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        hide_key, project_key, key = split_key(key, 3)
        x = jnp.asarray(inputs["input_values"]).astype(dtype)[..., None]
        for convolve in self.convs:
            x = convolve(x)
        features = x if self.project_norm is None else self.project_norm(x)
        x = dropout(self.project(features), self.spec.project_dropout, project_key)
        valid = self.valid(inputs.get("attention_mask"), x.shape[1])
        x = self._hidden(x, valid, inputs.get("mask_time_indices"), hide_key)
        if valid is not None:
            x = jnp.where(valid[..., None], x, 0)
        x = x + self.positional(x)
        x = dropout(x if self.norm is None else self.norm(x), self.spec.dropout, key)
        nodes = nodes_of(x.shape[1], valid)
        fields = {"extract_features": features} if self.spec.features else {}
        return Tokens(x, nodes, x.shape[1], fields=fields)

    def _hidden(
        self, x: Float[Array, "B T D"], valid: Bool[Array, "B T"] | None, hidden: Any, key: Any
    ) -> Float[Array, "B T D"]:
        """The frames, some of them replaced by the learned vector, some channels by zero."""
        if not self.spec.hides:
            return x
        augment, (first, second) = self.spec.augment, split_key(key, 2)
        rows, length, width = x.shape
        if hidden is None and first is not None and augment is not None and augment.frames:
            lengths = all_steps(rows, length) if valid is None else valid.sum(-1)
            hidden = augment.frames.draw(first, lengths, length)
        if hidden is not None and self.masked is not None:
            there = (jnp.asarray(hidden) > 0)[..., None]
            x = jnp.where(there, self.masked[...].astype(x.dtype), x)
        if second is not None and augment is not None and augment.channels:
            channels = augment.channels.draw(second, all_steps(rows, width), width)
            x = jnp.where(channels[:, None], 0, x)
        return x

    def describe(self):
        return f"a convolution over {self.spec.taps} frames"

    def flops(self, tokens):
        wave, total, length = self.spec, 0.0, tokens
        before = (1, *wave.channels[:-1])
        for number in reversed(range(len(wave.channels))):
            total += 2.0 * length * wave.kernels[number] * before[number] * wave.channels[number]
            length = (length - 1) * wave.strides[number] + wave.kernels[number]
        total += 2.0 * tokens * wave.channels[-1] * wave.width
        return total + 2.0 * tokens * wave.taps * wave.width * (wave.width // wave.groups)


def check_padded_behind(mask: Any, least: int) -> None:
    """Raises ValueError for a mask whose padding is not behind the audio, or a row that is too
    short for a frame."""
    array = readable(mask)
    if array is None:
        return
    here = array > 0
    holes = ~here[:, :-1] & here[:, 1:]
    if holes.any():
        row, column = (int(n) for n in np.argwhere(holes)[0])
        raise ValueError(
            f"attention_mask: audio follows padding at {[row, column + 1]}; a row begins with its "
            "audio, and only zeros are behind it: pad on the right"
        )
    lengths = here.sum(1)
    if (short := np.flatnonzero(lengths < least)).size:
        raise ValueError(
            f"attention_mask: row {short[0]} has {lengths[short[0]]} samples of audio, but one "
            f"frame of this model reads {least}; leave the row out, or pad less of it"
        )


def lengths_of(valid: Bool[Array, "B T"] | None, x: Array) -> Int[Array, " B"]:
    """How many tokens each row has, in front of its padding."""
    rows, length = x.shape[:2]
    return all_steps(rows, length) if valid is None else valid.sum(-1).astype(jnp.int32)
