"""Which part of a picture is seen: random resized crops (Szegedy et al. 2014, section 6), flips,
random erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from transformers_jax.processing.image.resize import resize

Image = Num[np.ndarray, "C H W"]
TRIES = 10  # until the middle of the picture is taken


@dataclass(frozen=True)
class RandomResizedCrop:
    """A part of random area and shape, resized to (height, width); drawn as torchvision does.

    Attributes:
        scale: the least and greatest share of the picture's area.
        ratio: the least and greatest width / height; its logarithm is uniform.
        resample, backend: as of `resize`.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    resample: str = "bicubic"
    backend: str = "pil"

    def __post_init__(self) -> None:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if not 0 < low <= high:
                raise ValueError(
                    f"{name} is ({low}, {high}); expected two numbers, 0 < low <= high"
                )

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        top, left, height, width = self.box(image.shape[1], image.shape[2], rng)
        part = np.ascontiguousarray(image[:, top : top + height, left : left + width])
        return resize(part, self.size, self.resample, self.backend)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a part."""
        low, high = (math.log(r) for r in self.ratio)
        for _ in range(TRIES):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(low, high))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                top = int(rng.integers(0, height - down + 1))
                return top, int(rng.integers(0, width - across + 1)), down, across
        down, across = height, width
        if width / height < self.ratio[0]:
            down = min(height, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            across = min(width, round(height * self.ratio[1]))
        return (height - down) // 2, (width - across) // 2, down, across


@dataclass(frozen=True)
class Flip:
    """The picture, mirrored left to right with a probability."""

    probability: float = 0.5

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        return image[:, :, ::-1] if rng.random() < self.probability else image


@dataclass(frozen=True)
class Erase:
    """A rectangle of normalised pixel values, with a probability, becomes normal noise (Zhong et
    al. 2017; the settings of timm).

    Attributes:
        area: the least and greatest share of the picture.
        ratio: the least and greatest width / height; its logarithm is uniform.
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        if rng.random() >= self.probability:
            return image
        channels, height, width = image.shape
        low, high = (math.log(r) for r in self.ratio)
        for _ in range(TRIES):
            area = height * width * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(low, high))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if down < height and across < width:
                top = int(rng.integers(0, height - down + 1))
                left = int(rng.integers(0, width - across + 1))
                erased = image.copy()
                noise = rng.standard_normal((channels, down, across))
                erased[:, top : top + down, left : left + across] = noise
                return erased
        return image
