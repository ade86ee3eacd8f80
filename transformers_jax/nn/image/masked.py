"""The head of masked image modelling behind stages (Xie et al. 2021, SimMIM)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from einops import rearrange

from transformers_jax.arrays import wide
from transformers_jax.nn.head.base import Dense, Head, loss_of
from transformers_jax.spec import Initial

EMPTY = 1e-5  # added to the number of hidden pixels, as in the reference
HIDDEN = """
{prefix}embeddings.mask_token | embed.hidden       | 1 1 d -> d
decoder.0.weight              | head.decode.weight | e d 1 1 -> d e
decoder.0.bias                | head.decode.bias
"""


class MaskedStages(Head):
    """The pixels of every token of the last stage, `stride` along either side, linear in it; the
    loss is the mean absolute error of those that were hidden, in patches of the first stage.

    Args:
        token: height and width in pixels of what a token of the last stage stands for.
        coarser: how many patches it has along either side.
    """

    labels = ()

    def __init__(
        self,
        width: int,
        channels: int,
        token: tuple[int, int],
        stride: int,
        coarser: int,
        initial: Initial,
    ):
        self.token, self.stride, self.coarser, self.channels = token, stride, coarser, channels
        self.decode = Dense(width, channels * stride**2, "inner", initial)

    def check(self, arguments, shape, like="the input"):
        size, token = np.shape(arguments["pixel_values"])[2:], self.token
        if any(length % side for length, side in zip(size, token)):
            raise ValueError(
                f"pixel_values are of {size[0]} x {size[1]} pixels; to make pixels of tokens, "
                f"give images that tokens of {token[0]} x {token[1]} fill"
            )
        if arguments.get("bool_masked_pos") is not None and token != (self.stride,) * 2:
            raise ValueError(
                f"the loss of hidden patches compares pixels one by one, but a token stands for "
                f"{token[0]} x {token[1]} of them and encoder_stride makes {self.stride} x "
                f"{self.stride}; give encoder_stride={token[0]} and square patches"
            )

    def __call__(self, x, inputs):
        pixels = inputs.arguments["pixel_values"]
        rows, columns = (length // side for length, side in zip(pixels.shape[2:], self.token))
        made = rearrange(
            self.decode(x),
            "b (h w) (c p q) -> b c (h p) (w q)",
            h=rows, w=columns, p=self.stride, q=self.stride,
        )  # fmt: skip
        hidden = inputs.arguments.get("bool_masked_pos")
        if hidden is None:
            return {"reconstruction": made}
        side = self.stride // self.coarser
        counted = rearrange(hidden.astype(wide(made)), "b (h w) -> b 1 h w", h=rows * self.coarser)
        counted = counted.repeat(side, axis=2).repeat(side, axis=3)
        errors = jnp.abs(pixels.astype(wide(made)) - made.astype(wide(made))) * counted
        loss = loss_of(loss=(errors.sum() / self.channels, counted.sum() + EMPTY))
        return {**loss, "reconstruction": made}
