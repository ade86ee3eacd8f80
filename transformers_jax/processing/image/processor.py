"""Pictures to the arguments of a model: the steps that a config stands for, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from transformers_jax.json_files import errors_of
from transformers_jax.processing.image import sizes, steps, timm
from transformers_jax.processing.image.labels import segmentation_labels
from transformers_jax.processing.image.read import ORDERS, Image, read_image
from transformers_jax.processing.image.resize import BACKENDS, RESAMPLE
from transformers_jax.processing.image.types import settings_of


@dataclass(frozen=True)
class ImageProcessor:
    """Pictures in, a dict of the model's arguments out.

    Attributes:
        kind: the class that it is of, without "ImageProcessor": "ViT", "CLIP", ...
        backend: the library that it resizes like: "pil", "torchvision" or "tf".
        rgb: whether all pictures are made RGB.
        rescales: whether it takes levels from 0 to 255, which it divides.
        steps: what is done with each picture.
        pad_size: what all pictures are padded to in the end; (): the largest of a batch; None: no.
        naflex: (edge of a patch, patches of a row) where the result is patches, not pictures.
        sequence: how many tokens a picture is, where the file says it.
        reduces: of maps of classes, whether 0 is none; None where the class takes no maps.
    """

    kind: str
    backend: str
    rgb: bool
    rescales: bool
    steps: tuple[steps.Step, ...]
    pad_size: tuple[int, ...] | None = None
    naflex: tuple[int, int] | None = None
    sequence: int | None = None
    reduces: bool | None = None

    @property
    def grey(self) -> bool:
        """Whether the model reads one channel, of files in levels of grey."""
        return any(isinstance(s, steps.Normalize) and len(s.mean) == 1 for s in self.steps)

    @property
    def fixed_size(self) -> tuple[int, int]:
        """(height, width) of every result.

        Raises:
            ValueError: it depends on the picture.
        """
        for step in reversed(self.steps):
            if isinstance(step, steps.CenterCrop):
                return step.height, step.width
            if isinstance(step, steps.Resize) and isinstance(step.rule, sizes.Exactly):
                return step.rule(0, 0)
        raise ValueError("the size of the result depends on the picture")

    @property
    def white(self) -> bool:
        """Whether the transparent colour of a file is laid on white. torchvision, which decodes
        files itself, and timm take no notice of it."""
        return self.rgb and self.backend != "torchvision" and self.kind != timm.KIND

    def __call__(
        self, images: Any, *, input_data_format: str | None = None
    ) -> dict[str, np.ndarray]:
        """{"pixel_values": Float `[B C H W]`}, and what else the model takes.

        Args:
            images: one of what `read_image` reads, a list of them, or an array of four axes.
            input_data_format: "channels_first" or "channels_last", where arrays do not say it.

        Raises:
            ValueError: no picture, one that cannot be read, or not all of one size in the end.
        """
        if input_data_format not in (None, *ORDERS):
            raise ValueError(
                f"input_data_format is {input_data_format!r}; expected one of {', '.join(ORDERS)}"
            )
        done = [
            self.one(source, order=input_data_format, name=name) for name, source in named(images)
        ]
        if self.naflex is not None:
            return dict(steps.patches(done, *self.naflex))
        if self.pad_size is not None:
            size = (self.pad_size[0], self.pad_size[1]) if self.pad_size else None
            done = steps.pad_to(done, size)
        return {"pixel_values": steps.stack(done)}

    def labels(self, maps: Any) -> Int[np.ndarray, "B H W"]:
        """Maps of classes in the size of the pictures that they are of; see `segmentation_labels`.

        Raises:
            ValueError: this class takes none; what is no map.
        """
        if self.reduces is None:
            raise ValueError(f"{self.kind}ImageProcessor takes no segmentation_maps; Beit's does")
        several = isinstance(maps, (list, tuple)) or np.ndim(maps) == 3
        geometry = [s for s in self.steps if isinstance(s, (steps.Resize, steps.CenterCrop))]
        return segmentation_labels(maps if several else [maps], geometry, self.reduces)

    def one(self, source: Any, *, order: str | None = None, name: str = "image") -> Image:
        """One picture after all steps, before it is padded or cut into patches."""
        image = read_image(
            source, rgb=self.rgb, white=self.white, grey=self.grey, order=order, name=name
        )
        with errors_of(name):
            self._check(image)
            for step in self.steps:
                image = step(image)
        return image

    def _check(self, image: Image) -> None:
        """Refuses floats that are no levels and would be divided by 255 all the same: what is
        rescaled or normalised already, and all else that Pillow could not resize either."""
        if image.dtype == np.uint8 or not self.rescales:
            return
        least, most = image.min(), image.max()
        if least >= 0 and most <= 255 and np.allclose(image, image.astype(int)):
            return
        if least >= 0 and most <= 1:
            raise ValueError(
                f"floats from {least:.6g} to {most:.6g} are rescaled already; pass "
                "do_rescale=False to load_processor, or levels from 0 to 255"
            )
        raise ValueError(
            f"floats from {least:.6g} to {most:.6g} are not whole levels from 0 to 255, which this "
            "processor rescales; pass do_rescale=False to load_processor where they are rescaled "
            "already, or np.rint(image).clip(0, 255) where they are levels"
        )


def named(images: Any) -> list[tuple[str, Any]]:
    """(what messages call it, picture) of one, of a list, or of an array of four axes.

    Raises:
        ValueError: there is none.
    """
    if isinstance(images, np.ndarray) or (hasattr(images, "__array__") and hasattr(images, "ndim")):
        images = list(images) if images.ndim == 4 else [images]
    elif isinstance(images, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(
        images, Iterable
    ):
        images = [images]
    flat = [i for one in images for i in (one if isinstance(one, (list, tuple)) else [one])]
    if not flat:
        raise ValueError("images holds no picture")
    paths = [f" ({image})" if isinstance(image, (str, Path)) else "" for image in flat]
    return [(f"image {n}{path}", image) for n, (path, image) in enumerate(zip(paths, flat))]


# ---------------------------------------------------------------- from a config


def image_processor(
    config: Mapping[str, Any], model_type: str | None = None, backend: str | None = None
) -> ImageProcessor:
    """The processor that preprocessor_config.json describes.

    Args:
        model_type: of the model's config, where the file names no class.
        backend: which library resizes; by default "torchvision" of classes that end in "Fast" (and
            of DINOv3's, which has no other), and "pil" of others.

    Raises:
        ValueError: an unknown class, or settings that it does not have or that mean nothing.
    """
    if config.get("image_processor_type") == f"{timm.KIND}ImageProcessor":
        backend = backend or "pil"
        return ImageProcessor(timm.KIND, backend, True, True, timm.timm_steps(config, backend))
    kind, found = settings_of(config, model_type)
    if backend is None:
        fast = str(config.get("image_processor_type", "")).endswith("Fast") or kind == "DINOv3ViT"
        backend = "torchvision" if fast else "pil"
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")
    resample = _resample(found["resample"])
    geometry = _geometry(kind, found, resample, backend)
    levels = _levels(found, fused=backend == "torchvision" and kind != "DINOv3ViT")
    if kind == "DINOv3ViT":  # rescales before it resizes, so that nothing is rounded to levels
        first = tuple(step for step in levels if isinstance(step, steps.Rescale))
        geometry, levels = (*first, *geometry), levels[len(first) :]
    square = _edges(found, "pad_size")
    pads = found["do_pad"] and kind != "Llava"
    return ImageProcessor(
        kind=kind,
        backend=backend,
        rgb=bool(found["do_convert_rgb"]),
        rescales=bool(found["do_rescale"]),
        steps=(*geometry, *levels),
        pad_size=((square["height"], square["width"]) if square else ()) if pads else None,
        naflex=(found["patch_size"], found["max_num_patches"]) if kind == "Siglip2" else None,
        sequence=config.get("image_seq_length"),
        reduces=found.get("do_reduce_labels"),
    )


def _resample(value: Any) -> str:
    if isinstance(value, str) and value.lower() in RESAMPLE:
        return value.lower()
    if type(value) is not int or not 0 <= value < len(RESAMPLE):
        names = ", ".join(f"{n} {name}" for n, name in enumerate(RESAMPLE))
        raise ValueError(f"resample is {value!r}; expected one of {names}")
    return RESAMPLE[value]


def _edges(found: Mapping[str, Any], name: str) -> dict[str, int] | None:
    """The edges of a size that has to be a height and a width."""
    if found[name] is None:
        return None
    edges = sizes.size_dict(found[name], True, name)
    if set(edges) != {"height", "width"}:
        raise ValueError(f"{name} has the edges {sorted(edges)}; expected 'height' and 'width'")
    return edges


def _geometry(
    kind: str, found: Mapping[str, Any], resample: str, backend: str
) -> tuple[steps.Step, ...]:
    """The steps that change the size."""
    made: list[steps.Step] = []
    crop = _edges(found, "crop_size")
    more = "after" if backend == "torchvision" else "before"
    if kind == "Llava" and found["do_pad"]:
        made.append(steps.PadToSquare(tuple(int(x * 255) for x in found["image_mean"])))
    if found["do_center_crop"] and kind == "Perceiver":
        size = _edges(found, "size")
        if size is None or crop is None:
            raise ValueError("do_center_crop=True needs a size and a crop_size")
        high, wide = size["height"] / crop["height"], size["width"] / crop["width"]
        made.append(steps.CropShare(high, wide, more))
    if found["do_resize"] and kind == "Siglip2":
        rule = sizes.PatchBudget(found["patch_size"], found["max_num_patches"])
        made.append(steps.Resize(rule, resample, backend))
    elif found["do_resize"]:
        size = found["size"] if found.get("image_size") is None else found["image_size"]
        edges = sizes.size_dict(size, found["default_to_square"] or kind == "Idefics", "size")
        if kind == "ConvNext":
            made.extend(_convnext(edges, found["crop_pct"], resample, backend, more))
        else:
            made.append(steps.Resize(sizes.rule_of(edges), resample, backend))
    if found["do_center_crop"] and kind != "Perceiver":
        if crop is None:
            raise ValueError("do_center_crop=True needs a crop_size")
        made.append(steps.CenterCrop(crop["height"], crop["width"], more))
    return tuple(made)


def _convnext(
    edges: dict[str, int], crop_pct: float, resample: str, backend: str, more: str
) -> Sequence[steps.Step]:
    """Below 384 a margin is cut off, as evaluation on ImageNet does; from there on it is not."""
    if set(edges) == {"height", "width"} and edges["height"] == edges["width"]:
        edges = {"shortest_edge": edges["height"]}
    if set(edges) != {"shortest_edge"}:
        raise ValueError(f"size has the edges {sorted(edges)}; ConvNeXt's has 'shortest_edge'")
    edge = edges["shortest_edge"]
    if edge >= 384:
        return [steps.Resize(sizes.Exactly(edge, edge), resample, backend)]
    larger = sizes.ShortestEdge(int(edge / crop_pct))
    return [steps.Resize(larger, resample, backend), steps.CenterCrop(edge, edge, more)]


def _levels(found: Mapping[str, Any], *, fused: bool) -> tuple[steps.Step, ...]:
    """Rescaling and normalising; `fused` into one step, as the processors of torchvision do it."""
    factor = found["rescale_factor"]
    rescale = (steps.Rescale(factor),) if found["do_rescale"] else ()
    if not found["do_normalize"]:
        return rescale
    mean, std = found["image_mean"], found["image_std"]
    mean, std = (tuple([x] * 3 if isinstance(x, (int, float)) else x) for x in (mean, std))
    if fused and rescale:
        inverse = 1 / factor
        return (steps.Normalize(tuple(m * inverse for m in mean), tuple(s * inverse for s in std)),)
    return (*rescale, steps.Normalize(mean, std))
