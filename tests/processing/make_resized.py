"""Writes what torchvision and TensorFlow make of the pictures of `pictures.py`.

    python tests/processing/make_resized.py torch      # torch, torchvision, Pillow and transformers
    python tests/processing/make_resized.py tf         # TensorFlow

Each writes its own file beside this one.
"""

import sys
from pathlib import Path

import numpy as np
import pictures

HERE = Path(__file__).parent


def inputs():
    """(name, picture, size of the result): in floats and in levels."""
    for name, (shape, size) in pictures.SHAPES.items():
        yield f"{name}/float", pictures.floats(*shape), size
        yield f"{name}/uint8", pictures.picture(*shape), size


def by_torchvision():
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    made = {}
    for name, image, size in inputs():
        for mode in ("bilinear", "bicubic", "lanczos", "nearest"):
            word = "nearest-exact" if mode == "nearest" else mode
            result = F.resize(
                torch.from_numpy(image), size, interpolation=InterpolationMode(word), antialias=True
            )
            made[f"torchvision/{mode}/{name}"] = result.numpy()
    return made


def by_tensorflow():
    import tensorflow as tf

    made = {}
    for name, image, size in inputs():
        for mode in ("bilinear", "bicubic", "lanczos", "nearest"):
            for antialias in (True, False) if mode.startswith("bi") else (True,):
                method = "lanczos3" if mode == "lanczos" else mode
                hwc = tf.constant(image.transpose(1, 2, 0))
                result = tf.image.resize(hwc, size, method=method, antialias=antialias)
                if image.dtype == np.uint8:  # as big_vision's pp op `resize`
                    result = tf.cast(tf.clip_by_value(result, 0, 255), tf.uint8)
                kind = "smooth" if antialias else "sharp"
                made[f"tf-{kind}/{mode}/{name}"] = result.numpy().transpose(2, 0, 1)
    return made


if __name__ == "__main__":
    which = sys.argv[1]
    arrays = by_tensorflow() if which == "tf" else by_torchvision()
    np.savez_compressed(HERE / f"resized_{which}.npz", **arrays)
    print(len(arrays), (HERE / f"resized_{which}.npz").stat().st_size)
