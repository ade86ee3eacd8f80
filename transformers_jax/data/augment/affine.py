"""Pictures turned, moved, scaled and sheared a little (Simard et al. 2003, section 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from transformers_jax.data.augment import check_levels
from transformers_jax.extras import need

Image = UInt8[np.ndarray, "C H W"]


@dataclass(frozen=True)
class Affine:
    """An affine map of each picture, with bilinear pixels, and black outside; every number of it is
    uniform.

    Attributes:
        degrees: the greatest angle, to either side.
        translate: the greatest shift, as a share of the edge.
        scale: the least and the greatest factor.
        shear: the greatest angle by which columns lean, in degrees.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        angles = 0 <= self.degrees <= 180 and 0 <= self.shear < 90
        if not (angles and 0 <= self.translate <= 1 and 0 < low <= high):
            raise ValueError(
                f"affine: degrees={self.degrees}, translate={self.translate}, scale={self.scale}, "
                f"shear={self.shear}; expected degrees from 0 to 180, translate from 0 to 1, "
                "0 < low <= high of scale, and a shear from 0 to below 90 degrees"
            )

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        both = lambda most: rng.uniform(-most, most)
        _, height, width = image.shape
        angle, lean, factor = both(self.degrees), both(self.shear), rng.uniform(*self.scale)
        shift = both(self.translate) * width, both(self.translate) * height
        return warp(image, angle, shift, factor, lean)


def warp(
    image: Image, angle: float, shift: tuple[float, float], factor: float, lean: float
) -> Image:
    """A picture of 8 bits, sheared, scaled and turned about its middle, and then moved.

    Args:
        angle: in degrees, anticlockwise.
        shift: pixels to the right, and down.
        lean: in degrees; the upper half moves to the right.

    Raises:
        ValueError: a picture that is neither RGB nor grey, in 8 bits.
    """
    check_levels(image, "an affine map")
    need("PIL", "vision", "an affine map of pictures")
    from PIL import Image as pillow

    turn, tangent = math.radians(angle), math.tan(math.radians(lean))
    cosine, sine = math.cos(turn), math.sin(turn)
    # rows run downwards, so that anticlockwise is the other sign of sine
    rotation = np.array([[cosine, sine], [-sine, cosine]])
    forward = factor * rotation @ np.array([[1.0, -tangent], [0.0, 1.0]])
    back = np.linalg.inv(forward)  # Pillow asks from where a pixel comes
    middle = np.array([image.shape[2], image.shape[1]]) / 2
    origin = middle - back @ (middle + shift)
    numbers = (*back[0], origin[0], *back[1], origin[1])
    size, how = (image.shape[2], image.shape[1]), pillow.Transform.AFFINE
    planes = [
        np.asarray(
            pillow.fromarray(plane).transform(size, how, numbers, pillow.Resampling.BILINEAR)
        )
        for plane in np.ascontiguousarray(image)
    ]
    return np.stack(planes)
