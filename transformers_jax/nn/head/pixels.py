"""The head that makes the pixels of patches that were not seen (MAE)."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from einops import rearrange

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.embed.base import nodes_of
from transformers_jax.nn.embed.patches import PatchSpec
from transformers_jax.nn.grid import GridRows
from transformers_jax.nn.head.base import Dense, Head, HeadFlops, loss_of
from transformers_jax.nn.matrices import matrix_flops
from transformers_jax.nn.param import param
from transformers_jax.nn.stack import Stack

LEAST = 1e-6  # added to the variance of the pixels of a patch


class Pixels(Head):
    """A decoder: the tokens that were seen at their places, one learned vector at the others, with
    positions; a stack; the pixels of each patch. The loss is the mean squared error of the hidden
    ones (He et al. 2021, section 3).

    Args:
        decoder: the stack, whose layers are always stacked.
        normalised: whether each patch is predicted with mean 0 and variance 1.
    """

    labels = ()

    def __init__(
        self,
        patches: PatchSpec,
        decoder: spec.StackSpec,
        execution: spec.Execution,
        *,
        normalised: bool,
    ):
        assert patches.positions is not None
        self.spec, self.normalised = patches, normalised
        width, initial = decoder.width, decoder.initial
        rows = patches.position_rows
        sizes = {"position": rows.count, "embed": width}
        self.enter = Dense(patches.width, width, "inner", initial)
        self.mask = param("embed", sizes, initial.draw("mask", sizes))
        draw = patches.positions.draw or initial.draw("position", sizes)
        self.position = param("position embed", sizes, draw, learned=False)
        self.position.set_metadata(grid=rows)
        self.stack = Stack(decoder, replace(execution, layers="stacked"))
        area = patches.patch[0] * patches.patch[1] * patches.channels
        self.predict = Dense(width, area, "inner", initial)

    def __call__(self, x, inputs):
        fields = inputs.fields
        restore, x = fields["ids_restore"], self.enter(x)
        hidden = restore.shape[1] - (x.shape[1] - 1)
        mask = jnp.broadcast_to(self.mask[...].astype(x.dtype), (x.shape[0], hidden, x.shape[2]))
        patches = jnp.concatenate([x[:, 1:], mask], axis=1)
        patches = jnp.take_along_axis(patches, restore[:, :, None], axis=1)
        x = jnp.concatenate([x[:, :1], patches], axis=1)
        x = x + self.positions(restore.shape[1]).astype(x.dtype)
        x = self.stack(x, nodes_of(x.shape[1]), key=inputs.key).x
        logits = self.predict(x)[:, 1:]
        errors = jnp.square(logits.astype(wide(logits)) - self.targets(inputs)).mean(-1)
        hidden = fields["mask"].astype(errors.dtype)
        return {**loss_of(loss=((errors * hidden).sum(), hidden.sum())), "logits": logits, **fields}

    def positions(self, count: int) -> Float[Array, "T D"]:
        """The positions of the class token and of so many patches, which the reference interpolates
        as if they stood in one row."""
        own = GridRows((1, self.position.shape[0] - 1), front=1)
        return jax.lax.stop_gradient(own.resampled(self.position[...], (1, count)))

    def targets(self, inputs) -> Float[Array, "B P N"]:
        """The pixels of each patch, row by row, the channels of a pixel together."""
        pixels, (height, width) = inputs.arguments["pixel_values"], self.spec.patch
        rows, columns = pixels.shape[2] // height, pixels.shape[3] // width
        pixels = pixels[:, :, : rows * height, : columns * width]
        patches = rearrange(pixels, "b c (h p) (w q) -> b (h w) (p q c)", h=rows, w=columns)
        patches = patches.astype(wide(patches))
        if not self.normalised:
            return patches
        centred = patches - patches.mean(-1, keepdims=True)
        return centred / jnp.sqrt(patches.var(-1, ddof=1, keepdims=True) + LEAST)

    def flops(self, tokens, table):
        decoded = 1 + self.spec.grid[0] * self.spec.grid[1]
        entering = tokens * matrix_flops(self.enter)
        attending = sum(
            op.flops(self.stack.spec.width, decoded, decoded, lambda mask: decoded**2).attention
            for block in self.stack.spec.applied
            for op in (branch.op for branch in block)
        )
        inner = decoded * (matrix_flops(self.stack) + matrix_flops(self.predict))
        layers = inner + attending
        return HeadFlops(entering + layers)
