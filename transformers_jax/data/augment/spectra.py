"""SpecAugment (Park et al. 2019, section 2): stretches of time and bands of frequency hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "mels frames"]


@dataclass(frozen=True)
class SpecAugment:
    """Log-mel features `[mels frames]` with masks; without the paper's warping of time, which by
    its section 5 adds least.

    Attributes:
        bands, stretches: how many masks of frequency and of time.
        band, stretch: the widest of each, in mels and in frames; a width is uniform from 0 on.
        share: a stretch is at most this share of the frames.
        value: what stands in a mask; None: the mean of the features.
    """

    bands: int = 2
    band: int = 27
    stretches: int = 2
    stretch: int = 100
    share: float = 1.0
    value: float | None = 0.0

    def __call__(
        self, features: Features, rng: np.random.Generator, frames: int | None = None
    ) -> Features:
        """The features with masks, a copy.

        Args:
            frames: how many are audio; what fills the row up is not counted.
        """
        length = features.shape[1] if frames is None else frames
        masked = features.copy()
        fill = features[:, :length].mean() if self.value is None else self.value
        for _ in range(self.bands):
            start, width = _mask(features.shape[0], self.band, rng)
            masked[start : start + width, :length] = fill
        widest = min(self.stretch, int(self.share * length))
        for _ in range(self.stretches):
            start, width = _mask(length, widest, rng)
            masked[:, start : start + width] = fill
        return masked


def _mask(size: int, widest: int, rng: np.random.Generator) -> tuple[int, int]:
    """(start, width): a width from 0 to `widest`, then a start where it fits."""
    width = int(rng.integers(0, min(widest, size) + 1))
    return int(rng.integers(0, size - width + 1)), width
