"""The steps from a picture to pixel values, each a small record that is called with a picture.

A picture is `[C H W]`, uint8 or float32. What a step does depends on the library where the three
differ: in resizing, in the side that is padded by one more, and in the order of float operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from transformers_jax.processing.image.resize import resize
from transformers_jax.processing.image.sizes import Rule, Size

Image = Num[np.ndarray, "C H W"]


@dataclass(frozen=True)
class Resize:
    """The size of a rule, by a filter of one of the libraries.

    Floats are resized as transformers does it: Pillow makes 8 bits of them first, of those between
    0 and 1 as of levels, so that its results are multiples of 1/255; the others stay in floats.
    """

    rule: Rule
    resample: str
    backend: str
    antialias: bool = True

    def __call__(self, image: Image) -> Image:
        size: Size = self.rule(*image.shape[1:])
        if min(size) < 1:
            raise ValueError(
                f"a picture of {image.shape[1]} x {image.shape[2]} would become {size[0]} x "
                f"{size[1]} by {self.rule}; cut it to a less oblong shape first"
            )
        if self.backend == "pil" and image.dtype != np.uint8:
            levels, factor = _eight_bits(image)
            small = resize(levels, size, self.resample, "pil")
            return small * np.float32(factor) if factor != 1 else small
        return resize(image, size, self.resample, self.backend, antialias=self.antialias)


def _eight_bits(image: Image) -> tuple[Image, float]:
    """A float picture in 8 bits, cut off, and what its levels are to be multiplied with."""
    if np.allclose(image, image.astype(int)):
        if image.min() >= 0 and image.max() <= 255:
            return image.astype(np.uint8), 1.0
    elif image.min() >= 0 and image.max() <= 1:
        return (image.astype(np.float64) * 255).astype(np.float32).astype(np.uint8), 1 / 255
    raise ValueError(
        f"a picture in floats from {image.min():.6g} to {image.max():.6g} cannot be resized by "
        "Pillow, which takes whole levels from 0 to 255 or fractions between 0 and 1; the backends "
        "'torchvision' and 'tf' take any"
    )


@dataclass(frozen=True)
class CenterCrop:
    """The middle of a picture; where it is smaller, zeros around it.

    `more` is the side that gets the odd row or column of zeros: "before" in the PIL processors of
    transformers, "after" in those of torchvision. Of an odd margin the smaller half is cut off
    above and to the left, or what `round` makes of the half, as torchvision crops for timm.
    """

    height: int
    width: int
    more: str = "before"
    rounds: bool = False

    def __call__(self, image: Image) -> Image:
        pads = []
        for edge, wanted in zip(image.shape[1:], (self.height, self.width)):
            missing = max(wanted - edge, 0)
            before = missing - missing // 2 if self.more == "before" else missing // 2
            pads.append((before, missing - before))
        if any(sum(pad) for pad in pads):
            image = np.pad(image, ((0, 0), *pads))
        half = (lambda x: round(x / 2)) if self.rounds else (lambda x: x // 2)
        top, left = half(image.shape[1] - self.height), half(image.shape[2] - self.width)
        return image[:, top : top + self.height, left : left + self.width]


@dataclass(frozen=True)
class CropShare:
    """The middle of a picture: as high and as wide as these shares of its shorter edge (Perceiver,
    which crops before it resizes); `more` as of `CenterCrop`."""

    high: float
    wide: float
    more: str = "before"

    def __call__(self, image: Image) -> Image:
        edge = min(image.shape[1:])
        return CenterCrop(int(self.high * edge), int(self.wide * edge), self.more)(image)


@dataclass(frozen=True)
class PadToSquare:
    """The picture in the middle of a square of its longer edge, on one colour (LLaVA)."""

    colour: tuple[int, ...]

    def __call__(self, image: Image) -> Image:
        channels, height, width = image.shape
        if len(self.colour) != channels:
            raise ValueError(
                f"the picture has {channels} channels and the ground {len(self.colour)}"
            )
        edge = max(height, width)
        ground = np.empty((channels, edge, edge), image.dtype)
        ground[:] = np.array(self.colour)[:, None, None]
        top, left = (edge - height) // 2, (edge - width) // 2
        ground[:, top : top + height, left : left + width] = image
        return ground


@dataclass(frozen=True)
class Rescale:
    """Levels times a factor, such as 1/255, in float32."""

    factor: float

    def __call__(self, image: Image) -> Image:
        levels = np.ascontiguousarray(image)  # of a file the channels of a pixel are neighbours
        return (levels.astype(np.float64) * self.factor).astype(np.float32)


@dataclass(frozen=True)
class Normalize:
    """(x - mean) / std of each channel, in float32."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image) -> Image:
        if len(self.mean) != image.shape[0]:
            in_rgb = "pass do_convert_rgb=True to load_processor, or a picture in RGB"
            in_grey = "pass a picture in levels of grey, such as Image.open(file).convert('L')"
            raise ValueError(
                f"the picture has {image.shape[0]} channels and the model's mean {len(self.mean)}; "
                f"{in_grey if len(self.mean) == 1 else in_rgb}"
            )
        mean, std = (np.array(x, np.float32)[:, None, None] for x in (self.mean, self.std))
        made = np.subtract(np.ascontiguousarray(image), mean, dtype=np.float32)
        return np.divide(made, std, out=made)


Step = Resize | CenterCrop | CropShare | PadToSquare | Rescale | Normalize


def stack(images: Sequence[Image]) -> Num[np.ndarray, "B C H W"]:
    """Pictures as one batch.

    Raises:
        ValueError: they are of different sizes.
    """
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"the pictures of a batch have the shapes {sorted(shapes)} after all steps, and this "
            "processor neither crops nor pads them to one; pass them one by one"
        )
    return np.stack([np.ascontiguousarray(image) for image in images])


def pad_to(images: Sequence[Image], size: Size | None) -> list[Image]:
    """Zeros below and to the right of each, up to a size or to the largest of them.

    Raises:
        ValueError: a picture is larger than the size.
    """
    height, width = size or (max(i.shape[1] for i in images), max(i.shape[2] for i in images))
    for image in images:
        if image.shape[1] > height or image.shape[2] > width:
            raise ValueError(
                f"a picture of {image.shape[1]} x {image.shape[2]} cannot be padded to "
                f"{height} x {width}; pass a larger pad_size"
            )
    return [np.pad(i, ((0, 0), (0, height - i.shape[1]), (0, width - i.shape[2]))) for i in images]


def patches(images: Sequence[Image], patch: int, most: int) -> dict[str, Num[np.ndarray, "B ..."]]:
    """Pictures of any sizes as rows of `most` patches (SigLIP 2): {"pixel_values" `[B most P*P*C]`,
    "pixel_attention_mask" `[B most]`, "spatial_shapes" `[B 2]`, patches down and across}.

    Raises:
        ValueError: a picture is smaller than a patch, or has more than `most`.
    """
    rows, masks, shapes = [], [], []
    for image in images:
        channels, height, width = image.shape
        down, across = height // patch, width // patch
        if height % patch or width % patch or not 1 <= down * across <= most:
            raise ValueError(
                f"a picture of {height} x {width} is not 1 to {most} whole patches of {patch} x "
                f"{patch}; do_resize=True makes it fit"
            )
        cut = image.reshape(channels, down, patch, across, patch).transpose(1, 3, 2, 4, 0)
        row = np.zeros((most, patch * patch * channels), cut.dtype)
        row[: down * across] = cut.reshape(down * across, -1)
        rows.append(row)
        masks.append(np.arange(most) < down * across)
        shapes.append((down, across))
    return {
        "pixel_values": np.stack(rows),
        "pixel_attention_mask": np.stack(masks).astype(np.int32),
        "spatial_shapes": np.array(shapes, np.int64),
    }
