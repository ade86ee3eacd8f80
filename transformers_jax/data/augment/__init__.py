"""Augmentations: pictures and spectra that are changed at random while a model trains.

Each is a frozen record, and a pure function of what it changes and of a generator: that of a row of
a batch is `generator(seed, step, row)`. The same numbers give the same bits in every process, and a
continued run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num


def generator(seed: int, step: int, row: int | None = None) -> np.random.Generator:
    """The random numbers of a row of a step; without a row, those that a whole batch shares.

    Generators of different numbers are independent (NumPy's SeedSequence).
    """
    return np.random.default_rng((seed, step, 0 if row is None else row + 1))


def check_levels(image: Num[np.ndarray, "C H W"], what: str) -> None:
    """Refuses what an augmentation of levels cannot take.

    Args:
        what: its name, for the message.

    Raises:
        ValueError: a picture that is neither RGB nor grey, in 8 bits.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            f"the picture is {image.dtype} {list(image.shape)}; {what} takes uint8 [3 H W] or "
            "[1 H W], before levels are rescaled"
        )
