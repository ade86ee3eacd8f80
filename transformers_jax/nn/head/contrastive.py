"""Heads of dual encoders: projections into a space that texts and images share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.head.base import Dense, Head, loss_of, mean_loss_of
from transformers_jax.nn.norm import unit
from transformers_jax.nn.pair_loss import sigmoid_losses
from transformers_jax.nn.param import param


class Projected(Head):
    """The pooled vector of one tower in the shared space, under the name `field`."""

    labels = ()

    def __init__(self, width: int, size: int, initial: spec.Initial, field: str):
        self.field = field
        self.projection = Dense(width, size, "inner", initial, bias=False)

    def __call__(self, x, inputs):
        return {self.field: self.projection(inputs.pooled), "last_hidden_state": x}


class PairScores(Head):
    """Every text compared with every image: cosines times a learned factor. A batch for the loss
    has as many texts as images, pair by pair.

    Args:
        scale: the logarithm of the first factor of the cosines.
    """

    labels = ("return_loss",)

    def __init__(self, scale: float):
        self.scale = param("", {}, spec.Draw("constant", scale))

    def project(self, tower: str, pooled: Float[Array, "B D"]) -> Float[Array, "B E"]:
        """The features of a tower's rows."""
        raise NotImplementedError

    def loss(self, per_text: Float[Array, "N N"]) -> dict[str, Any]:
        """The fields of the loss of the scores of pairs."""
        raise NotImplementedError

    def check_towers(self, arguments, shapes):
        if arguments.get("return_loss") is True:
            check_pairs(shapes["text"][0], shapes["vision"][0])

    def factor(self) -> Float[Array, ""]:
        """What multiplies the cosines."""
        return jnp.exp(self.scale[...].astype(wide(self.scale[...])))

    def offset(self) -> Float[Array, ""] | None:
        """What is added to them then; None: nothing."""
        return None

    def scores(self, text: Float[Array, "N E"], vision: Float[Array, "M E"]) -> Array:
        """The scores of texts and images, both of unit length."""
        scores, offset = (text @ vision.T) * self.factor().astype(text.dtype), self.offset()
        return scores if offset is None else scores + offset.astype(text.dtype)

    def __call__(self, x, inputs, *, return_loss=False):
        vectors: dict[str, Any] = {}
        for name, tower in inputs.towers.items():
            vectors[name] = unit(self.project(name, tower.pooled))
        per_text = self.scores(vectors["text"], vectors["vision"])
        return {
            **(self.loss(per_text) if return_loss else {}),
            "logits_per_image": per_text.T,
            "logits_per_text": per_text,
            "text_embeds": vectors["text"],
            "image_embeds": vectors["vision"],
            "text_model_output": inputs.towers["text"].record(),
            "vision_model_output": inputs.towers["vision"].record(),
        }


class Contrastive(PairScores):
    """Both vectors are projected; the loss is the mean of two cross-entropies, of the right image
    for a text and of the right text for an image (Radford et al. 2021, section 2.3). In training no
    update takes the factor of the cosines above 100 (section 2.5).

    Args:
        text_width, vision_width: D of the towers.
        size: E of the shared space.
    """

    limits: ClassVar[Mapping[str, float]] = {"scale": math.log(100)}
    """The greatest value that training gives a parameter."""

    def __init__(
        self, text_width: int, vision_width: int, size: int, initial: spec.Initial, scale: float
    ):
        super().__init__(scale)
        self.text = Dense(text_width, size, "inner", initial, bias=False)
        self.vision = Dense(vision_width, size, "inner", initial, bias=False)

    def project(self, tower, pooled):
        projection: Dense = getattr(self, tower)
        return projection(pooled)

    def loss(self, per_text):
        own = jnp.arange(len(per_text))
        return mean_loss_of(text_loss=(per_text, own), image_loss=(per_text.T, own))


class SigmoidContrastive(PairScores):
    """The towers' own vectors; every pair of a text and an image is judged by itself, as belonging
    together or not, and the loss is the sum over the pairs of a text, the mean over texts (Zhai et
    al. 2023, section 3.2).

    Args:
        bias: the first number that is added to the scores.
    """

    def __init__(self, scale: float, bias: float):
        super().__init__(scale)
        self.bias = param("", {}, spec.Draw("constant", bias))

    def project(self, tower, pooled):
        return pooled

    def offset(self):
        return self.bias[...].astype(wide(self.bias[...]))

    def loss(self, per_text):
        count = jnp.float32(len(per_text))
        losses = sigmoid_losses(per_text.astype(wide(per_text)), jnp.arange(len(per_text)))
        return loss_of(loss=(losses.sum(), count))


def check_pairs(texts: int, images: int) -> None:
    """Raises ValueError unless there are as many texts as images."""
    if texts != images:
        raise ValueError(
            f"the loss compares pairs, but there are {texts} texts and {images} images; "
            "give as many, pair by pair"
        )
