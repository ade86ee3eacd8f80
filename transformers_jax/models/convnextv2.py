"""ConvNeXt V2 (Woo et al. 2023): ConvNeXt whose channels compete. Hugging Face model_type
"convnextv2"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.models.convnext import EPS, WIDER, ConvNextConfig, Convolved, ConvolvedSpec, L
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.param import add, contract, param
from transformers_jax.spec import ZEROS, Branch, Initial


@dataclass(frozen=True)
class CompetingSpec(ConvolvedSpec):
    """The same, with global response normalisation in front of the last product (section 4.1)."""

    def build(self, width, initial, source=None):
        return Competing(self, width, initial)

    def describe(self):
        return f"{super().describe()}, global response norm"


class Competing(Convolved):
    """See `CompetingSpec`."""

    def __init__(self, layer: CompetingSpec, width: int, initial: Initial):
        super().__init__(layer, width, initial)
        sizes = {"mlp": layer.hidden}
        self.response_scale = param("mlp", sizes, ZEROS)
        self.response_shift = param("mlp", sizes, ZEROS)

    def channels(self, y):
        x = add(contract("btd,df->btf", y, self.up), self.up_bias)
        x = self.responses(activation(self.ffn.activation)(x))
        return add(contract("btf,fd->btd", x, self.down), self.down_bias)

    def responses(self, x: Float[Array, "B T F"]) -> Float[Array, "B T F"]:
        """x + scale x n + shift; n is the length of a channel over the grid, by the mean length."""
        squares = jnp.square(x.astype(wide(x))).sum(1, keepdims=True)
        # the gradient of a square root at zero is infinite
        length = jnp.sqrt(jnp.where(squares > 0, squares, 1.0)) * (squares > 0)
        share = (length / (length.mean(-1, keepdims=True) + EPS)).astype(x.dtype)
        scale, shift = (p[...].astype(x.dtype) for p in (self.response_scale, self.response_shift))
        return x + scale * (x * share) + shift


@dataclass(frozen=True, kw_only=True)
class ConvNextV2Config(ConvNextConfig):
    """The fields of a ConvNeXt V2 config.json; defaults are ConvNeXt V2-T (29M)."""

    model_type = "convnextv2"
    PREFIX = "convnextv2."
    HEADS = heads_of("ConvNextV2", "none", "image_classification", "backbone")
    layer_scale_init_value: ClassVar[float] = 0.0

    def block(self, width):
        return (Branch("conv", CompetingSpec(WIDER * width, self.hidden_act)),)

    def stage_rows(self, ours):
        lines = super().stage_rows(ours).splitlines()
        text = "\n".join(line for line in lines if "layer_scale" not in line)
        return f"""{text}
{L}.grn.weight | {ours}.conv.response_scale | 1 1 1 f -> f
{L}.grn.bias | {ours}.conv.response_shift | 1 1 1 f -> f
"""
