"""The likeliest labels of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transformers_jax.models.base import Model, check_model
from transformers_jax.sizes import check_count
from transformers_jax.vision.batches import in_batches

HEADS = ("image_classification", "image_classification_with_teacher")
SEVERAL = "multi_label_classification"


def classify(
    model: Model,
    images: Any,
    *,
    processor: Callable[..., Mapping[str, Any]],
    top_k: int = 5,
    batch_size: int = 32,
) -> list[list[dict[str, Any]]]:
    """The likeliest labels of each image, the likeliest first: {"label": "cat", "score": 0.98}.

    Scores are probabilities: a softmax, whose classes are 1 together, or of a model of several
    labels (`problem_type`), and of one label alone, a sigmoid of each.

    Args:
        model: one with a head that classifies images.
        images: one or several of what the processor takes (files, arrays, pictures of Pillow), or
            the arguments of the model that it gave.
        processor: of images (`tj.load_processor`).
        top_k: how many labels at most; a model may have fewer.
        batch_size: how many images are computed at a time.

    Raises:
        ValueError: a model of another head, or one that predicts numbers; no image, or one that
            cannot be read.
    """
    check_model(model, "classify")
    check_count("top_k", top_k)
    head = getattr(model.plan, "head", None)
    if head not in HEADS:
        raise ValueError(
            f"a model with head {head!r} classifies no images; load one that was trained to, with "
            f"head='{HEADS[0]}', or call tj.zero_shot of one that compares images with texts"
        )
    config: Any = model.config
    if config.problem_type == "regression":
        raise ValueError("this model predicts numbers (problem_type 'regression'), not labels")
    found = []
    for inputs, count in in_batches(images, lambda some: processor(images=some), batch_size):
        logits = np.asarray(model(**inputs).logits, np.float64)[:count]
        alone = config.problem_type == SEVERAL or logits.shape[-1] == 1
        for row in _sigmoid(logits) if alone else _softmax(logits):
            order = np.argsort(-row, kind="stable")[:top_k]
            found.append([{"label": _name(config, n), "score": float(row[n])} for n in order])
    return found


def _name(config: Any, number: int) -> str:
    """What the config calls a class."""
    names = {int(key): str(name) for key, name in (config.id2label or {}).items()}
    return names.get(int(number), f"LABEL_{number}")


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
