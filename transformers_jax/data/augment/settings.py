"""Which augmentations a run of pictures has, as settings of its config."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.data.augment.affine import Affine
from transformers_jax.data.augment.crops import Erase, Flip, RandomResizedCrop
from transformers_jax.data.augment.mixing import CutMix, Mixing, Mixup
from transformers_jax.data.augment.operations import RandAugment
from transformers_jax.settings import Settings


@dataclass(frozen=True)
class Augment(Settings):
    """What is changed at random while a model trains; by default nothing. In this order: crop,
    flip, affine map, RandAugment, then the model's processor, erasing, and mixing within the batch.

    Raises:
        ValueError: numbers that are no probabilities, or that the augmentation does not take.
    """

    crop: tuple[float, float] | None = None
    """the least and greatest share of a picture's area that is cut out and resized to what the
    model reads; None: whole pictures"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """the least and greatest width / height of what is cut out"""
    flip: float = 0.0
    """the probability of a mirror image"""
    degrees: float = 0.0
    """of an affine map, the greatest angle to either side"""
    translate: float = 0.0
    """its greatest shift, as a share of the edge"""
    scale: tuple[float, float] = (1.0, 1.0)
    """its least and greatest factor"""
    shear: float = 0.0
    """the greatest angle by which it lets columns lean, in degrees"""
    layers: int = 0
    """operations of RandAugment on each picture"""
    magnitude: int = 9
    """their strength, from 0 to 30"""
    among: tuple[str, ...] = ()
    """which of RandAugment's operations, as "rotate"; empty: all fourteen"""
    erase: float = 0.0
    """the probability that a rectangle is replaced by noise"""
    mixup: float = 0.0
    """alpha of mixup; 0: none"""
    cutmix: float = 0.0
    """alpha of CutMix; 0: none"""
    switch: float = 0.5
    """of both, the probability of CutMix"""
    mix: float = 1.0
    """the probability that a batch is mixed"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("flip", "erase", "switch", "mix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"augment.{name} is {getattr(self, name)}; expected a probability, from 0 to 1"
                )
        self.cropping((1, 1), "bicubic", "pil")
        self.affine  # noqa: B018 - refuses what means nothing
        self.operations  # noqa: B018 - refuses strengths that there are not
        self.mixing  # noqa: B018

    def cropping(
        self, size: tuple[int, int], resample: str, backend: str
    ) -> RandomResizedCrop | None:
        """The crop to a size, by a filter of a library as of `resize`."""
        if self.crop is None:
            return None
        return RandomResizedCrop(size, self.crop, self.ratio, resample, backend)

    @property
    def flipping(self) -> Flip:
        """The mirror."""
        return Flip(self.flip)

    @property
    def affine(self) -> Affine | None:
        """The affine map; None if it changes nothing."""
        found = Affine(self.degrees, self.translate, self.scale, self.shear)
        return None if found == Affine() else found

    @property
    def operations(self) -> RandAugment:
        """RandAugment."""
        return RandAugment(self.layers, self.magnitude, self.among)

    @property
    def erasing(self) -> Erase:
        """Random erasing."""
        return Erase(self.erase)

    @property
    def mixing(self) -> Mixing | None:
        """Mixup or CutMix; None without either."""
        if not (self.mixup or self.cutmix):
            return None
        mixup = Mixup(self.mixup) if self.mixup else None
        cutmix = CutMix(self.cutmix) if self.cutmix else None
        return Mixing(mixup, cutmix, self.switch, self.mix)
