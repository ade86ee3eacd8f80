"""`two_pictures`: two shapes in one row, and a question about one of them.

A record has `image`, two pictures (uint8 [16, 16], a shape of any size at any place in noise),
`prompt` ("first <image> second <image> what is the first ?") and `answer` ("ring"). The two shapes
differ, and half of the questions are about each: who sees one picture alone can be right in
1/2 + 1/2 * 1/7 of the cases at most.

`two_pictures_swapped` has the same pictures in the other order and the same questions, whose
answers are the other shapes: who does not see which picture stands where says the same in both
tables, and is right in one of them at most.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

SIZE = 16  # pixels of a side
COUNTS = {"train": 8000, "validation": 400, "test": 400}
ORDER = ("first", "second")
NAMES = ("disc", "ring", "square", "frame", "triangle", "cross", "plus", "stripes")


def records(split: str, swapped: bool = False) -> list[dict[str, Any]]:
    """The records of a split."""
    draw = np.random.default_rng([29, zlib.crc32(split.encode())])
    return [_record(draw, swapped) for _ in range(COUNTS[split])]


def _record(draw: np.random.Generator, swapped: bool) -> dict[str, Any]:
    names = draw.choice(NAMES, 2, replace=False).tolist()
    pictures = [_picture(name, draw) for name in names]
    asked = int(draw.integers(2))
    prompt = f"first <image> second <image> what is the {ORDER[asked]} ?"
    if swapped:
        names, pictures = names[::-1], pictures[::-1]
    return {"image": pictures, "prompt": prompt, "answer": names[asked]}


def _picture(name: str, draw: np.random.Generator) -> UInt8[np.ndarray, "16 16"]:
    """A bright shape, of a size and at a place that are drawn, in dark noise."""
    radius = draw.uniform(4.0, 6.5)
    middle = draw.uniform(radius, SIZE - 1 - radius, 2)
    y, x = (np.indices((SIZE, SIZE)) - middle[:, None, None]) / radius
    light = np.where(_inside(name, y, x), draw.uniform(0.6, 1.0), draw.uniform(0.0, 0.25))
    noisy = light + draw.normal(0.0, 0.05, light.shape)
    return np.round(noisy.clip(0, 1) * 255).astype(np.uint8)


def _inside(name: str, y: np.ndarray, x: np.ndarray) -> Bool[np.ndarray, "16 16"]:
    """The points of a shape whose radius is 1."""
    far, wide = np.hypot(y, x), np.maximum(abs(y), abs(x))
    thin = 0.35
    shapes = {
        "disc": far <= 1,
        "ring": (far <= 1) & (far >= 0.55),
        "square": wide <= 1,
        "frame": (wide <= 1) & (wide >= 0.6),
        "triangle": (abs(x) <= (y + 1) / 2) & (y <= 1),
        "cross": (wide <= 1) & (np.minimum(abs(y - x), abs(y + x)) <= thin),
        "plus": (wide <= 1) & (np.minimum(abs(y), abs(x)) <= thin),
        "stripes": (wide <= 1) & (np.floor((y + 1) * 2.5) % 2 == 0),
    }
    return shapes[name]
