"""Vectors of pictures, and of texts that are compared with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.embedding.features import features
from transformers_jax.embedding.zero_shot import text_vectors
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.wiring import DualEncoder
from transformers_jax.vision.batches import in_batches

Processor = Callable[..., Mapping[str, Any]]


def encode_images(
    model: Model,
    images: Any,
    *,
    processor: Processor,
    pooling: str | None = None,
    normalize: bool = False,
    batch_size: int = 32,
) -> Float[np.ndarray, "N E"]:
    """A vector for each image. A model that compares images with texts (CLIP, SigLIP) gives what it
    compares; another one its `pooler_output`, or the states of its last layer, pooled.

    Args:
        images: one or several of what the processor takes, or the arguments that it gave.
        processor: of images (`tj.load_processor`).
        pooling: "cls", "mean" or another of `tj.features`, in place of the model's own pooler.
        normalize: whether vectors get length one.
        batch_size: how many images are computed at a time.

    Raises:
        ValueError: a model without a pooler and no `pooling`, or `pooling` of one that compares
            images with texts; no image, or one that cannot be read.
    """
    check_model(model, "encode_images")
    if isinstance(model, DualEncoder):
        if pooling is not None:
            raise ValueError(
                f"pooling={pooling!r}: {model.config.model_type} has vectors of its own, which it "
                "compares; leave pooling out, or load its tower of images alone"
            )
        read = lambda inputs: model.get_image_features(**inputs).pooler_output
    elif pooling is not None:
        read = lambda inputs: features(model, pooling=pooling, **inputs)
    else:
        read = lambda inputs: _pooled(model, inputs)
    parts = []
    for inputs, count in in_batches(images, lambda some: processor(images=some), batch_size):
        parts.append(np.asarray(read(inputs), np.float32)[:count])
    return _units(np.concatenate(parts), normalize)


def encode_texts(
    model: Model,
    texts: Sequence[str],
    *,
    processor: Processor,
    normalize: bool = False,
    batch_size: int = 32,
) -> Float[np.ndarray, "N E"]:
    """A vector for each text, of a model that compares images with texts.

    Raises:
        ValueError: another model, or no text.
    """
    check_model(model, "encode_texts")
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts) or not texts:
        raise ValueError(f"texts={texts!r:.60}: expected a list of one or more texts")
    vectors = text_vectors(model, texts, processor=processor, batch_size=batch_size)
    return _units(np.asarray(vectors, np.float32), normalize)


def _pooled(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The output of the model's own pooler."""
    output = model(**inputs)
    if output.get("pooler_output") is None:
        raise ValueError(
            f"this {model.config.model_type} (head {getattr(model.plan, 'head', None)!r}) has no "
            "pooler; say pooling='cls' or 'mean' (--pooling on the command line), or load it with "
            "head='none'"
        )
    return output.pooler_output.reshape(len(output.pooler_output), -1)


def _units(vectors: np.ndarray, wanted: bool) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12) if wanted else vectors
