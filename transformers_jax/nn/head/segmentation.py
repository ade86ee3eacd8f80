"""The head of semantic segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, wide
from transformers_jax.inputs import checks
from transformers_jax.nn.grid import Grid, resample
from transformers_jax.nn.head.base import Dense, Head, HeadFlops, HeadInputs, loss_of
from transformers_jax.nn.image.pyramid import BILINEAR, Convolutions, Neck, UperDecoder
from transformers_jax.nn.loss import Mean, cross_entropy
from transformers_jax.nn.matrices import matrix_flops

LEVEL = 2
"""Of the four maps, the one that the second classifier reads."""


@dataclass(frozen=True)
class Auxiliary:
    """A second classifier, of the third map, which only training reads (Zhao et al. 2016, section
    3.3).

    Attributes:
        width: of its convolutions, of which there are `count`.
        beside: whether a further one reads their result beside the map.
        weight: of its loss.
    """

    width: int
    count: int
    beside: bool
    weight: float


class Second(nnx.Module):
    """See `Auxiliary`."""

    def __init__(self, auxiliary: Auxiliary, width: int, count: int, initial: spec.Initial):
        inner, layers, beside = auxiliary.width, auxiliary.count, auxiliary.beside
        self.convolve = Convolutions(width, inner, layers, beside, initial)
        self.classify = Dense(inner, count, "label", initial)

    def __call__(self, x: Float[Array, "B h w D"]) -> Float[Array, "B h w V"]:
        return self.classify(self.convolve(x))


class Segmentation(Head):
    """UPerNet over four hidden states of a stack of one resolution; logits [B classes h w] have
    four times the resolution of the patches. Labels are classes, [B H W] of any size, for which
    logits are interpolated; those that are `ignored` do not count.

    Args:
        states: the numbers of the hidden states, 0 being what enters the first layer.
        front: how many tokens stand in front of the patches.
        scales: of pyramid pooling.
    """

    collects = frozenset({"hidden"})

    def __init__(
        self,
        states: Sequence[int],
        front: int,
        patch: Grid,
        width: int,
        count: int,
        scales: Sequence[int],
        auxiliary: Auxiliary | None,
        ignored: int,
        initial: spec.Initial,
    ):
        self.states, self.front, self.patch = tuple(states), front, patch
        self.count, self.ignored, self.auxiliary = count, ignored, auxiliary
        self.neck = Neck(width, initial)
        self.decode = UperDecoder(width, scales, initial)
        self.classify = Dense(width, count, "label", initial)
        self.second = None if auxiliary is None else Second(auxiliary, width, count, initial)

    def check(self, arguments, shape, like="the input"):
        size = np.shape(arguments["pixel_values"])[2:]
        if any(length < 2 * side for length, side in zip(size, self.patch)):
            raise ValueError(
                f"pixel_values are of {size[0]} x {size[1]} pixels; segmentation halves the grid "
                f"of patches of {self.patch[0]} x {self.patch[1]}: give images of at least 2 x 2 "
                "patches"
            )
        if (labels := arguments.get("labels")) is None:
            return
        if self.count == 1:
            raise ValueError("labels of a model of one class have no loss; give num_labels >= 2")
        array = checks.integers("labels", labels, 3)
        if np.shape(labels)[0] != shape[0]:
            raise ValueError(
                f"labels have shape {np.shape(labels)}; expected ({shape[0]}, height, width), a "
                "map of classes for each image of pixel_values"
            )
        if array is None:
            return
        wrong = ((array < 0) | (array >= self.count)) & (array != self.ignored)
        if wrong.any():
            raise ValueError(
                f"labels{checks.at(array, wrong)}; expected a class in [0, {self.count}), or "
                f"{self.ignored} for a pixel that is ignored (semantic_loss_ignore_index)"
            )

    def __call__(self, x, inputs: HeadInputs, *, labels=None):
        rows = inputs.arguments["pixel_values"].shape[2] // self.patch[0]
        tokens = (inputs.hidden[number][:, self.front :] for number in self.states)
        maps = self.neck([rearrange(each, "b (h w) d -> b h w d", h=rows) for each in tokens])
        logits = self.classify(self.decode(maps))
        fields = {"logits": jnp.moveaxis(logits, -1, 1)}
        if labels is None:
            return fields
        terms = {"loss": self.loss(logits, labels)}
        if self.auxiliary is not None:
            assert self.second is not None
            total, count = self.loss(self.second(maps[LEVEL]), labels)
            auxiliary = self.auxiliary.weight * total, count
            terms = {"segmentation": terms["loss"], "auxiliary": auxiliary}
        return {**loss_of(**terms), **fields}

    def loss(self, logits: Float[Array, "B h w V"], labels: Int[Array, "B H W"]) -> Mean:
        """The cross-entropy of all pixels, of logits that are interpolated for them."""
        size = labels.shape[1], labels.shape[2]
        whole = resample(logits.astype(wide(logits)), size, BILINEAR)
        return cross_entropy(whole, labels, self.ignored)

    def flops(self, tokens, table):
        points = tokens - self.front
        levels = [16.0 * points, 4.0 * points, float(points), points / 4]
        total = self.neck.flops(points) + self.decode.flops(levels)
        total += levels[0] * matrix_flops(self.classify)
        if self.second is not None:
            total += points * matrix_flops(self.second)
        return HeadFlops(total)
