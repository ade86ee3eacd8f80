"""Heads of dual encoders: projections into a space that texts and images share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.head.base import Dense, Head, mean_loss_of
from transformers_jax.nn.norm import unit
from transformers_jax.nn.param import param


class Projected(Head):
    """The pooled vector of one tower in the shared space, under the name `field`."""

    labels = ()

    def __init__(self, width: int, size: int, initial: spec.Initial, field: str):
        self.field = field
        self.projection = Dense(width, size, "inner", initial, bias=False)

    def __call__(self, x, inputs):
        return {self.field: self.projection(inputs.pooled), "last_hidden_state": x}


class Contrastive(Head):
    """Every text compared with every image: cosines times a learned scale; the loss is the mean of
    two cross-entropies, of the right image for a text and of the right text for an image (Radford
    et al. 2021, section 2.3). A batch for the loss has as many texts as images, pair by pair.

    Args:
        text_width, vision_width: D of the towers.
        size: E of the shared space.
        scale: the logarithm of the first factor of the cosines.
    """

    labels = ("return_loss",)

    def __init__(
        self, text_width: int, vision_width: int, size: int, initial: spec.Initial, scale: float
    ):
        self.text = Dense(text_width, size, "inner", initial, bias=False)
        self.vision = Dense(vision_width, size, "inner", initial, bias=False)
        self.scale = param("", {}, spec.Draw("constant", scale))

    def project(self, tower: str, pooled: Float[Array, "B D"]) -> Float[Array, "B E"]:
        """The features of a tower's rows."""
        projection: Dense = getattr(self, tower)
        return projection(pooled)

    def check_towers(self, arguments, shapes):
        if arguments.get("return_loss") is True:
            check_pairs(shapes["text"][0], shapes["vision"][0])

    def factor(self) -> Float[Array, ""]:
        """What multiplies the cosines."""
        return jnp.exp(self.scale[...].astype(wide(self.scale[...])))

    def __call__(self, x, inputs, *, return_loss=False):
        vectors: dict[str, Any] = {}
        for name, tower in inputs.towers.items():
            vectors[name] = unit(self.project(name, tower.pooled))
        factor = self.factor().astype(vectors["text"].dtype)
        per_text = (vectors["text"] @ vectors["vision"].T) * factor
        fields: dict[str, Any] = {}
        if return_loss:
            own = jnp.arange(len(per_text))
            fields = mean_loss_of(text_loss=(per_text, own), image_loss=(per_text.T, own))
        return {
            **fields,
            "logits_per_image": per_text.T,
            "logits_per_text": per_text,
            "text_embeds": vectors["text"],
            "image_embeds": vectors["vision"],
            "text_model_output": inputs.towers["text"].record(),
            "vision_model_output": inputs.towers["vision"].record(),
        }


def check_pairs(texts: int, images: int) -> None:
    """Raises ValueError unless there are as many texts as images."""
    if texts != images:
        raise ValueError(
            f"the loss compares pairs, but there are {texts} texts and {images} images; "
            "give as many, pair by pair"
        )
