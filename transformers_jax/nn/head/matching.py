"""The head of image-text retrieval: whether a text belongs to an image."""

from __future__ import annotations

from transformers_jax import spec
from transformers_jax.nn.head.base import Dense, Head
from transformers_jax.nn.norm import unit


class ImageTextMatching(Head):
    """Two scores of a pair, that the text does not and that it does describe the image (Li et al.
    2022, section 3.2); or cosines of images with texts, each by itself (`use_itm_head=False`).

    Args:
        text_width, vision_width: D of the towers.
        size: E of the space in which they are compared.
    """

    labels = ()

    def __init__(self, text_width: int, vision_width: int, size: int, initial: spec.Initial):
        self.text = Dense(text_width, size, "inner", initial)
        self.vision = Dense(vision_width, size, "inner", initial)
        self.match = Dense(text_width, 2, "label", initial)

    def __call__(self, x, inputs):
        if inputs.arguments.get("use_itm_head", True):
            return {"itm_score": self.match(x[:, 0]), "question_embeds": x}
        image = inputs.towers["encoder"]["last_hidden_state"][:, 0]
        scores = unit(self.vision(image)) @ unit(self.text(x[:, 0])).T
        return {"itm_score": scores, "question_embeds": x}
