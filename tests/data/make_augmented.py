"""Writes what the operations of torchvision's RandAugment make of a picture.

python tests/data/make_augmented.py      # torch, torchvision and Pillow
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op

HERE = Path(__file__).parent
NAMES = {  # theirs -> ours
    "Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y",
    "TranslateX": "translate_x", "TranslateY": "translate_y", "Rotate": "rotate",
    "Brightness": "brightness", "Color": "color", "Contrast": "contrast",
    "Sharpness": "sharpness", "Posterize": "posterize", "Solarize": "solarize",
    "AutoContrast": "auto_contrast", "Equalize": "equalize",
}  # fmt: skip


def main():
    rng = np.random.default_rng(0)
    picture = rng.integers(20, 230, (9, 11, 3)).astype(np.uint8)
    made = {"picture": picture.transpose(2, 0, 1)}
    height, width = picture.shape[:2]
    space = RandAugment()._augmentation_space(31, (height, width))
    for theirs, ours in NAMES.items():
        strengths, signed = space[theirs]
        for magnitude in (4, 9, 25):
            for sign in (1, -1) if signed else (1,):
                strength = float(strengths[magnitude]) if strengths.ndim > 0 else 0.0
                image = Image.fromarray(picture)
                done = _apply_op(image, theirs, sign * strength, InterpolationMode.NEAREST, None)
                made[f"{ours}/{magnitude}/{sign}"] = np.asarray(done).transpose(2, 0, 1)
    np.savez_compressed(HERE / "augmented.npz", **made)
    print(len(made), (HERE / "augmented.npz").stat().st_size)


if __name__ == "__main__":
    main()
