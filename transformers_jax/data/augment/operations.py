"""RandAugment (Cubuk et al. 2019): so many operations on a picture, each drawn from fourteen, all
of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from transformers_jax.data.augment import check_levels
from transformers_jax.extras import need
from transformers_jax.spelling import nearest

Image = UInt8[np.ndarray, "C H W"]
STRENGTHS = 31  # of which the magnitude is one


def _affine(image: Any, *numbers: float) -> Any:
    from PIL import Image as pillow

    return image.transform(image.size, pillow.Transform.AFFINE, numbers)


def _enhance(name: str) -> Callable[[Any, float], Any]:
    def apply(image: Any, strength: float) -> Any:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, name)(image).enhance(1 + strength)

    return apply


def _posterize(image: Any, strength: float) -> Any:
    from PIL import ImageOps

    return ImageOps.posterize(image, int(strength))


def _solarize(image: Any, strength: float) -> Any:
    from PIL import ImageOps

    return ImageOps.solarize(image, math.ceil(strength))


def _auto_contrast(image: Any, strength: float) -> Any:
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def _equalize(image: Any, strength: float) -> Any:
    from PIL import ImageOps

    return ImageOps.equalize(image)


FAR = 150 / 331  # the greatest shift, of an edge
OPERATIONS: dict[str, tuple[Callable[[Any, float], Any], Callable[[float, Any], float], bool]] = {
    "identity": (lambda image, s: image, lambda m, image: 0.0, False),
    "shear_x": (lambda i, s: _affine(i, 1, s, 0, 0, 1, 0), lambda m, i: 0.3 * m, True),
    "shear_y": (lambda i, s: _affine(i, 1, 0, 0, s, 1, 0), lambda m, i: 0.3 * m, True),
    "translate_x": (
        lambda i, s: _affine(i, 1, 0, -int(s), 0, 1, 0),
        lambda m, i: FAR * i.size[0] * m,
        True,
    ),
    "translate_y": (
        lambda i, s: _affine(i, 1, 0, 0, 0, 1, -int(s)),
        lambda m, i: FAR * i.size[1] * m,
        True,
    ),
    "rotate": (lambda i, s: i.rotate(s), lambda m, i: 30 * m, True),
    "brightness": (_enhance("Brightness"), lambda m, i: 0.9 * m, True),
    "color": (_enhance("Color"), lambda m, i: 0.9 * m, True),
    "contrast": (_enhance("Contrast"), lambda m, i: 0.9 * m, True),
    "sharpness": (_enhance("Sharpness"), lambda m, i: 0.9 * m, True),
    "posterize": (_posterize, lambda m, i: 8 - round(4 * m), False),
    "solarize": (_solarize, lambda m, i: 255 * (1 - m), False),
    "auto_contrast": (_auto_contrast, lambda m, i: 0.0, False),
    "equalize": (_equalize, lambda m, i: 0.0, False),
}
"""Name -> (picture and strength -> picture; share of the greatest strength -> strength; whether it
goes both ways)."""


@dataclass(frozen=True)
class RandAugment:
    """`layers` operations, each uniform among all, as torchvision applies them.

    Attributes:
        magnitude: of 0 to 30.
        among: names of `OPERATIONS` that are drawn; empty: all.
    """

    layers: int = 2
    magnitude: int = 9
    among: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.magnitude < STRENGTHS or self.layers < 0:
            raise ValueError(
                f"RandAugment has layers={self.layers} and magnitude={self.magnitude}; expected "
                f"layers from 0 on, and a magnitude from 0 to {STRENGTHS - 1}"
            )
        for name in self.among:
            if name not in OPERATIONS:
                raise ValueError(
                    f"RandAugment has no operation {name!r}{nearest(name, OPERATIONS)}; those that "
                    f"there are: {', '.join(OPERATIONS)}"
                )

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        names = self.among or tuple(OPERATIONS)
        for _ in range(self.layers):
            name = names[int(rng.integers(len(names)))]
            sign = -1 if rng.integers(2) else 1
            image = operate(image, name, self.magnitude, sign)
        return image


def operate(image: Image, name: str, magnitude: int, sign: int = 1) -> Image:
    """A picture after one operation; `sign` counts for those that go both ways.

    Raises:
        ValueError: a picture that is neither RGB nor grey, in 8 bits.
    """
    check_levels(image, "RandAugment")
    need("PIL", "vision", "RandAugment")
    from PIL import Image as pillow

    apply, strength, both = OPERATIONS[name]
    grey = image.shape[0] == 1
    pixels = image[0] if grey else image.transpose(1, 2, 0)
    opened = pillow.fromarray(np.ascontiguousarray(pixels))
    share = strength(magnitude / (STRENGTHS - 1), opened)
    done = np.asarray(apply(opened, share * sign if both else share))
    return np.ascontiguousarray(done[None] if grey else done.transpose(2, 0, 1))
