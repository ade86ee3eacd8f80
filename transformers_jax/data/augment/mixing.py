"""Pairs of pictures and of their classes: mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019).

As timm pairs them: each row of a batch with that at the same place from its end, by one share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

Batch = Num[np.ndarray, "B C H W"]
Targets = Float[np.ndarray, "B classes"]


def one_hot(labels: Int[np.ndarray, " B"], classes: int, smoothing: float = 0.0) -> Targets:
    """1 - s + s / n at a row's class and s / n elsewhere.

    Raises:
        ValueError: a class that there is not.
    """
    if len(wrong := labels[(labels < 0) | (labels >= classes)]):
        raise ValueError(f"class {wrong[0]} is not in [0, {classes})")
    rows = np.full((len(labels), classes), smoothing / classes, np.float32)
    rows[np.arange(len(labels)), labels] += 1 - smoothing
    return rows


def _check(alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; expected a number above 0 (leave it out for none)")


@dataclass(frozen=True)
class Mixup:
    """`share` of a row and 1 - `share` of its partner; the share is of Beta(alpha, alpha)."""

    alpha: float = 0.8

    def __post_init__(self) -> None:
        _check(self.alpha)

    def __call__(
        self, images: Batch, targets: Targets, rng: np.random.Generator
    ) -> tuple[Batch, Targets]:
        share = np.float32(rng.beta(self.alpha, self.alpha))
        mix = lambda x: x.astype(np.float32) * share + x[::-1].astype(np.float32) * (1 - share)
        return mix(images), mix(targets)


@dataclass(frozen=True)
class CutMix:
    """A rectangle of a row is its partner's; targets by the share of what is left.

    Before it is cut off at the edges its area is 1 - Beta(alpha, alpha) of the picture's; its
    middle is uniform.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check(self.alpha)

    def __call__(
        self, images: Batch, targets: Targets, rng: np.random.Generator
    ) -> tuple[Batch, Targets]:
        top, bottom, left, right = self.box(images.shape[2], images.shape[3], rng)
        mixed = images.copy()
        mixed[:, :, top:bottom, left:right] = images[::-1, :, top:bottom, left:right]
        area = (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
        share = np.float32(1 - area)
        return mixed, targets * share + targets[::-1] * (1 - share)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of what is replaced."""
        edge = math.sqrt(1 - rng.beta(self.alpha, self.alpha))
        down, across = int(height * edge), int(width * edge)
        y, x = int(rng.integers(height)), int(rng.integers(width))
        rows = np.clip([y - down // 2, y + down // 2], 0, height)
        columns = np.clip([x - across // 2, x + across // 2], 0, width)
        return int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1])


@dataclass(frozen=True)
class Mixing:
    """Mixup or CutMix for each batch, by chance; or neither.

    Attributes:
        switch: the probability of CutMix, where both are there.
        probability: of either.
    """

    mixup: Mixup | None = Mixup()
    cutmix: CutMix | None = CutMix()
    switch: float = 0.5
    probability: float = 1.0

    def __call__(
        self, images: Batch, targets: Targets, rng: np.random.Generator
    ) -> tuple[Batch, Targets]:
        if rng.random() >= self.probability or not (self.mixup or self.cutmix):
            return images, targets
        cuts = self.cutmix is not None and (self.mixup is None or rng.random() < self.switch)
        chosen = self.cutmix if cuts else self.mixup
        assert chosen is not None
        return chosen(images, targets, rng)
