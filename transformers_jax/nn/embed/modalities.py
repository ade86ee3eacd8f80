"""The embedders of a video, its sound and its label at once, and of queries that ask for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.fourier import FourierPositions, beside
from transformers_jax.nn.param import param

CHANNELS = 3


@dataclass(frozen=True)
class VideoSpec:
    """A video with its sound and its label as tokens of one width (Jaegle et al. 2021b, Perceiver
    IO, section 4.3).

    Attributes:
        audio, image: where patches of sound are, and patches of frames.
        samples, patch: how many samples, and how many pixels on either side, a patch has.
        labels: how many classes there are.
        label_width: of the query for the label.
        audio_points, image_points: the sizes of the grids whose points can be asked for.
        spare: how many learned numbers the widest token has behind it, and the widest query.
    """

    audio: FourierPositions
    image: FourierPositions
    samples: int
    patch: int
    labels: int
    label_width: int
    audio_points: tuple[int, ...]
    image_points: tuple[int, ...]
    spare: tuple[int, int] = (4, 2)
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def widths(self) -> dict[str, int]:
        """Of the tokens of each modality."""
        pixels = CHANNELS * self.patch**2
        return dict(
            audio=self.samples + self.audio.width,
            image=pixels + self.image.width,
            label=self.labels,
        )

    @property
    def query_widths(self) -> dict[str, int]:
        """Of the queries of each."""
        return dict(audio=self.audio.width, image=self.image.width, label=self.label_width)


class Vectors(nnx.Module):
    """A learned vector of its own width for each of some names."""

    def __init__(self, role: str, widths: Mapping[str, int], initial: spec.Initial):
        for name, width in widths.items():
            sizes = {"inner": width}
            setattr(self, name, param("inner", sizes, initial.draw(role, sizes)))


class FilledUp(Vectors):
    """Tokens of several modalities, of one width: learned numbers stand behind the narrower."""

    def __init__(self, widths: Mapping[str, int], spare: int, initial: spec.Initial):
        width = max(widths.values()) + spare
        super().__init__("padding", {name: width - own for name, own in widths.items()}, initial)
        self.width = width

    def __call__(self, **tokens: Float[Array, "b N C"]) -> Float[Array, "b T D"]:
        """The tokens of all, side by side, in the order of their names."""
        filled = [beside(x, getattr(self, name)[...][None]) for name, x in sorted(tokens.items())]
        return jnp.concatenate(filled, axis=1)


class VideoEmbedder(Embedder):
    """[patches of sound, patches of frames, the label], the first two with their positions. The
    label is not shown: a learned vector stands for it (the reference masks all of its tokens)."""

    raw = ("image", "audio", "label")
    arguments = raw

    def __init__(self, video: VideoSpec):
        self.spec = video
        self.padding = FilledUp(video.widths, video.spare[0], video.initial)
        self.width = self.padding.width
        self.mask_tokens = Vectors("mask", dict.fromkeys(self.raw, self.width), video.initial)

    def check(self, inputs, prefix="", rank=2):
        came = {name: inputs.get(prefix + name) for name in self.raw}
        missing = [name for name, value in came.items() if value is None]
        if len(missing) == len(came):
            return None
        if missing:
            raise ValueError(
                f"{missing[0]} is missing; give {', '.join(self.raw)} together (zeros for a label "
                "that is not known: it is not shown to the model)"
            )
        shapes = {name: np.shape(value) for name, value in came.items()}
        patch, samples, labels = self.spec.patch, self.spec.samples, self.spec.labels
        multiples = {"image": (None, None, None, patch, patch), "audio": (None, samples, None)}
        expected = {
            "image": f"(rows, 2 frames or more, {CHANNELS} channels, height, width), height and "
            f"width multiples of {patch}",
            "audio": f"(rows, samples, 1), a multiple of {samples} samples",
            "label": f"(rows, {labels})",
        }
        exact = {
            "image": (None, None, CHANNELS, None, None),
            "audio": (None, None, 1),
            "label": (None, labels),
        }
        rows = shapes["image"][:1]
        for name, shape in shapes.items():
            fits = len(shape) == len(exact[name]) and 0 not in shape and shape[:1] == rows
            fits = fits and all(b is None or a == b for a, b in zip(shape, exact[name]))
            fits = fits and all(
                n is None or a % n == 0 for a, n in zip(shape, multiples.get(name, ()))
            )
            if not fits or (name == "image" and shape[1] < 2):
                raise ValueError(
                    f"{name} has shape {shape}; expected {expected[name]}, all of as many rows"
                )
            checks.floats(name, came[name])
        frames = math.prod(shapes["image"]) // (rows[0] * CHANNELS * patch**2)
        return rows[0], shapes["audio"][1] // samples + frames + 1

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        video, size = self.spec, self.spec.patch
        image, sound = (jnp.asarray(inputs[name]).astype(dtype) for name in ("image", "audio"))
        patches = rearrange(image, "b f c (h p) (w q) -> b f h w (p q c)", p=size, q=size)
        grid = patches.shape[1:4]
        patches = patches.reshape(len(image), -1, patches.shape[-1])
        sound = sound.reshape(len(sound), -1, video.samples)
        label = self.mask_tokens.label[...].astype(dtype)  # type: ignore[attr-defined]
        x = self.padding(
            audio=beside(sound, video.audio.of_grid(sound.shape[1:2])),
            image=beside(patches, video.image.of_grid(grid)),
        )
        x = jnp.concatenate([x, jnp.broadcast_to(label, (len(x), 1, self.width))], axis=1)
        return Tokens(x, nodes_of(x.shape[1]), x.shape[1])

    def describe(self):
        return "Fourier features of frames and of sound, beside the input"


class VideoQueries(Embedder):
    """[points of sound, points of frames, the label], the same in every row: those points that a
    call numbers (`audio_points`, `image_points`), so that a video can be made in parts."""

    arguments = ("audio_points", "image_points")

    def __init__(self, video: VideoSpec):
        self.spec = video
        self.padding = FilledUp(video.query_widths, video.spare[1], video.initial)
        self.width = self.padding.width
        sizes = {"position": 1, "inner": video.label_width}
        self.label = param("position inner", sizes, video.initial.draw("position", sizes))

    def count_latents(self, inputs, prefix=""):
        grids = {"audio_points": self.spec.audio_points, "image_points": self.spec.image_points}
        for name, grid in grids.items():
            check_points(name, inputs.get(prefix + name), grid)
        return sum(len(inputs[prefix + name]) for name in grids) + 1

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None, rows=1) -> Tokens:
        video = self.spec
        sound, image = (jnp.asarray(inputs[name]) for name in self.arguments)
        x = self.padding(
            audio=video.audio.of_points(sound, video.audio_points)[None].astype(dtype),
            image=video.image.of_points(image, video.image_points)[None].astype(dtype),
            label=self.label[...][None].astype(dtype),
        )
        x = jnp.broadcast_to(x, (rows, *x.shape[1:]))
        return Tokens(x, nodes_of(x.shape[1]), x.shape[1])

    def describe(self):
        return "queries at points of frames and of sound, by Fourier features"


def check_points(name: str, points: Any, grid: tuple[int, ...]) -> None:
    """Raises ValueError for what are no numbers of points of a grid."""
    count = math.prod(grid)
    if points is None:
        raise ValueError(
            f"give {name}, the numbers of the points that are asked for, such as "
            f"np.arange({min(count, 64)}) of the {count:,} there are"
        )
    checks.ids(name, points, count, "points", rank=1)
