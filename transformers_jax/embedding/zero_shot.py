"""Images classified by the names of their classes, without training (Radford et al. 2021, section
3.1): the class whose text is nearest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.models.base import check_model
from transformers_jax.models.wiring import DualEncoder
from transformers_jax.nn.head import PairScores, TokenPooler
from transformers_jax.nn.norm import unit

TEMPLATES = ("a photo of a {}.",)
Processor = Callable[..., Mapping[str, Any]]
"""`processor(text=[...])` and `processor(images=...)` give the arguments of a model."""


class ZeroShot(NamedTuple):
    """Images and the classes that they may be of.

    Attributes:
        labels: the names of the classes.
        logits: how each image is scored with each class.
        probabilities: of each class for an image: a softmax, so that they are 1 together, or, of a
            model that judges each pair by itself (SigLIP), each between 0 and 1.
    """

    labels: tuple[str, ...]
    logits: Float[Array, "images labels"]
    probabilities: Float[Array, "images labels"]

    @property
    def names(self) -> tuple[str, ...]:
        """The likeliest class of each image."""
        return tuple(self.labels[best] for best in np.asarray(self.logits).argmax(1))


def zero_shot(
    model: Any,
    images: Any,
    labels: Sequence[str],
    *,
    processor: Processor,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
) -> ZeroShot:
    """The classes of images, by the texts in which templates put their names.

    Args:
        model: one that compares images with texts (CLIP, SigLIP, ...).
        images: what the processor takes, or the arguments of the model that it gave.
        labels: the names of the classes.
        processor: of images and texts (`tj.load_processor`).
        templates: texts with {} where the name stands. With several, a class is the mean of its
            texts' vectors of unit length, made of unit length again (section 3.1.4).
        batch_size: how many images, and how many texts, are computed at a time.

    Raises:
        ValueError: a model that compares no images with texts; no labels, one of them twice or
            empty; a template without {}; no images.
    """
    check_model(model, "zero_shot")
    texts = class_vectors(
        model, labels, processor=processor, templates=templates, batch_size=batch_size
    )
    inputs = dict(images if isinstance(images, Mapping) else processor(images=images))
    return nearest_classes(model, inputs, labels, texts, batch_size=batch_size)


def nearest_classes(
    model: Any,
    inputs: Mapping[str, Any],
    labels: Sequence[str],
    texts: Float[Array, "labels E"],
    *,
    batch_size: int = 64,
) -> ZeroShot:
    """`zero_shot` by vectors of the classes that were made before; `inputs` are the arguments of
    the model for the images."""
    vectors = _vectors(model.get_image_features, inputs, batch_size, "images")
    logits = model.head.scores(texts, vectors).T
    sure = jax.nn.softmax if model.head.offset() is None else jax.nn.sigmoid
    return ZeroShot(tuple(labels), logits, sure(logits))


def class_vectors(
    model: Any,
    labels: Sequence[str],
    *,
    processor: Processor,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
) -> Float[Array, "labels E"]:
    """The vector of each class, of unit length: see `zero_shot`."""
    _check(model)
    labels = _named(labels)
    if isinstance(templates, str) or not templates or any("{}" not in t for t in templates):
        raise ValueError(
            f"templates={templates!r}: expected texts with {{}} where a name stands, such as "
            f"templates={TEMPLATES!r}"
        )
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    vectors = unit(text_vectors(model, prompts, processor=processor, batch_size=batch_size))
    return unit(vectors.reshape(len(labels), len(templates), -1).mean(1))


def text_vectors(
    model: Any, texts: Sequence[str], *, processor: Processor, batch_size: int = 64
) -> Float[Array, "texts E"]:
    """The vector of each text, before it has unit length, of texts as the model was trained on.

    Raises:
        ValueError: a model that compares no images with texts.
    """
    _check(model)
    inputs = dict(processor(text=list(texts), **_filled(model)))
    if reads_last_token(
        model
    ):  # trained on texts that were filled up, whose padding is read as well
        inputs.pop("attention_mask", None)
    return _vectors(model.get_text_features, inputs, batch_size, "texts", raw=True)


def _check(model: Any) -> None:
    if not isinstance(model, DualEncoder) or not isinstance(model.head, PairScores):
        raise ValueError(
            f"{type(model).__name__} does not compare images with texts; load a model such as "
            "CLIP or SigLIP whole (head='contrastive')"
        )


def _named(labels: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, checked."""
    names = () if isinstance(labels, str) else tuple(labels)
    wrong = not names or not all(isinstance(name, str) and name.strip() for name in names)
    if wrong or len(set(names)) < len(names):
        raise ValueError(
            f"labels={labels!r}: expected a list of the names of classes, each once and none "
            "empty, such as labels=['cat', 'dog']"
        )
    return names


def reads_last_token(model: Any) -> bool:
    """Whether a text is its last token, padding or not."""
    pooler = model.towers["text"].pooler
    return isinstance(pooler, TokenPooler) and pooler.pooling == "end"


def _filled(model: DualEncoder) -> dict[str, Any]:
    """How texts are filled up: to the longest, or to the length that the model was trained on."""
    positions = model.towers["text"].positions
    return (
        {"padding": "max_length", "max_length": positions}
        if reads_last_token(model)
        else TO_LONGEST
    )


TO_LONGEST = {"padding": True}


def _vectors(
    features: Callable[..., Any],
    inputs: Mapping[str, Any],
    size: int,
    what: str,
    *,
    raw: bool = False,
) -> Float[Array, "N E"]:
    """The vectors of rows, of unit length unless `raw`; a batch at a time, of as many rows each."""
    rows = min((len(x) for x in inputs.values() if np.ndim(x)), default=0)
    if not rows or size < 1:
        raise ValueError(f"{rows} {what} with batch_size={size}: expected at least 1 of both")
    size = min(size, rows)
    parts = []
    for start in range(0, rows, size):
        taken = np.minimum(np.arange(start, start + size), rows - 1)  # the last one fills it up
        batch = {name: x[taken] if np.ndim(x) else x for name, x in inputs.items()}
        found = features(**batch).pooler_output
        parts.append(found if raw else unit(found))
    return jnp.concatenate(parts)[:rows]
