"""Pictures as the arguments of a model, some at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from transformers_jax.json_files import errors_of
from transformers_jax.processing.image.processor import named
from transformers_jax.sizes import check_count

Inputs = Mapping[str, Any]


def in_batches(
    images: Any, prepare: Callable[[list[Any]], Inputs], size: int
) -> Iterator[tuple[Inputs, int]]:
    """(the arguments of a model, how many of their rows count), `size` images at a time. All are of
    as many rows: the last ones are filled up, so that one program serves them all.

    Args:
        images: one, several, or arguments that a processor has made of them (with "pixel_values").
        prepare: makes arguments of a list of images.

    Raises:
        ValueError: no image, or one that cannot be read.
    """
    check_count("batch_size", size)
    if isinstance(images, Mapping) and "pixel_values" in images:
        rows = len(images["pixel_values"])
        for start in range(0, rows, size):
            some = {name: np.asarray(x)[start : start + size] for name, x in images.items()}
            yield filled(some, min(size, rows)), min(size, rows - start)
        return
    pictures = [picture for _, picture in named(images)]
    for start in range(0, len(pictures), size):
        part = pictures[start : start + size]
        where = f"images {start} to {start + len(part) - 1} of {len(pictures)}"
        with contextlib.nullcontext() if len(pictures) <= size else errors_of(where):
            inputs = prepare(part)
        yield filled(inputs, min(size, len(pictures))), len(part)


def filled(inputs: Inputs, size: int) -> dict[str, Any]:
    """Arguments of `size` rows: the last row is repeated."""
    missing = {name: size - len(x) for name, x in inputs.items()}
    return {
        name: np.concatenate([x, np.repeat(x[-1:], missing[name], 0)]) if missing[name] > 0 else x
        for name, x in inputs.items()
    }
