"""How a task reads the pictures of a table: each when it is needed, by the model's processor."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Num

from transformers_jax.data.augment.crops import RandomResizedCrop
from transformers_jax.data.augment.mixing import one_hot
from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.damaged import check_pictures
from transformers_jax.data.pictures import Picture, in_column
from transformers_jax.data.tables import Records
from transformers_jax.inputs.checks import OtherSize
from transformers_jax.json_files import errors_of
from transformers_jax.models.base import Model
from transformers_jax.models.shared.interleaved import ImagesEmbedder
from transformers_jax.nn.param import merge, split
from transformers_jax.objectives.example import Example
from transformers_jax.processing.image.steps import Normalize, Rescale, Resize
from transformers_jax.processing.processor import Processor
from transformers_jax.processing.readers import vision_of
from transformers_jax.tasks.rows import NUMBER, Drawn, Form

IMAGE = ("image", "img", "picture", "pixel_values", "jpg", "png")
"""Usual names of the column of pictures."""
PIXELS = "pixel_values"
LEVELS = (Rescale, Normalize)  # the steps that a picture of the right size still needs
Image = Num[np.ndarray, "C H W"]


@dataclass(frozen=True)
class Pictures:
    """The pictures of records, which are read one by one.

    Attributes:
        pictures: where each is.
        processor: of the model.
        model: that reads them, without arrays.
    """

    pictures: Sequence[Picture]
    processor: Processor
    model: Model

    def __len__(self) -> int:
        return len(self.pictures)

    def image(self, number: int) -> Image:
        """A picture as its file has it.

        Raises:
            ValueError: it is damaged, by its name.
        """
        processor: Any = self.processor.image_processor
        return self.pictures[number].read(processor.rgb, processor.white, processor.grey)

    def arguments(self, number: int) -> dict[str, np.ndarray]:
        """What the model takes for a picture, without the axis of rows: {"pixel_values": [C H W]},
        and what else its processor makes.

        Raises:
            ValueError: as of `image`; a picture that the processor does not take.
        """
        return self.processed(self.image(number), number)

    def augmented(
        self, number: int, augment: Augment, noise: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The same of a picture that is changed at random.

        Raises:
            ValueError: as of `arguments`; a crop for a processor whose results have no one size.
        """
        processor: Any = self.processor.image_processor
        image = self.image(number)
        with errors_of(self.pictures[number].name):
            if augment.crop is not None:
                image = self._crop(augment)(image, noise)
                kept = [step for step in processor.steps if isinstance(step, LEVELS)]
                processor = dataclasses.replace(processor, steps=tuple(kept))
            image = augment.flipping(image, noise)
            if augment.affine is not None:
                image = augment.affine(image, noise)
            if augment.layers:
                image = augment.operations(image, noise)
        arrays = self.processed(image, number, processor)
        if augment.erase:
            arrays[PIXELS] = augment.erasing(arrays[PIXELS], noise)
        return arrays

    def _crop(self, augment: Augment) -> RandomResizedCrop:
        processor: Any = self.processor.image_processor
        try:
            size = processor.fixed_size
        except ValueError as error:
            raise ValueError(f"augment.crop: {error}; leave it out") from None
        found = [step.resample for step in processor.steps if isinstance(step, Resize)]
        crop = augment.cropping(size, [*found, "bicubic"][0], processor.backend)
        assert crop is not None
        return crop

    def processed(self, image: Image, number: int, processor: Any = None) -> dict[str, np.ndarray]:
        """What the model takes for an image, by its processor or another."""
        processor = self.processor.image_processor if processor is None else processor
        with errors_of(self.pictures[number].name):
            arrays = processor([image], input_data_format="channels_first")
        return {name: array[0] for name, array in arrays.items()}

    def select(self, numbers: Sequence[int]) -> Pictures:
        """Some of them."""
        return dataclasses.replace(self, pictures=[self.pictures[number] for number in numbers])

    @property
    def tokens(self) -> int:
        """How many tokens the model makes of one of them.

        Raises:
            ValueError: the model does not read pictures of this size.
        """
        return tokens_of(self.model, self.arguments(0))

    @property
    def fingerprint(self) -> str:
        """16 hex digits: which pictures these are, and what is made of them. Of files it is the
        names and the sizes, not the content, so that a large table need not be read."""
        sums = hashlib.sha256(repr(self.processor.image_processor).encode())
        for picture in self.pictures:
            sums.update(_known_by(picture))
        return sums.hexdigest()[:16]


def _known_by(picture: Picture) -> bytes:
    if picture.file is None:
        return hashlib.sha256(picture.encoded()).digest()
    try:
        size = picture.file.stat().st_size if picture.size is None else picture.size
    except OSError:
        size = -1
    return f"{picture.file.name} {picture.start} {size}\n".encode()


def pictures_of(form: Form, records: Records) -> tuple[Records, Pictures, list[str]]:
    """(the records whose picture can be read, their pictures, what is told of them).

    Raises:
        ValueError: a value that is no picture, by its place; damaged pictures, all by their names,
            unless `data.damaged` leaves them out; a model that does not read such pictures.
    """
    assert form.processor is not None
    column = form.columns["image"]
    kept, _ = check_pictures(records, column, form.data.damaged)
    values = zip(kept.column(column, "data.image"), kept.places)
    found = [in_column(value, where, column) for value, where in values]
    pictures = Pictures(found, form.processor, form.model)
    shape = pictures.arguments(0)[PIXELS].shape
    try:
        tokens = pictures.tokens
    except OtherSize as error:
        raise ValueError(_other_size(form, shape[-2:], error)) from None
    size = " x ".join(map(str, shape))
    return (
        kept,
        pictures,
        [f"{records.name}: {len(found):,} pictures, as {size}, {tokens:,} tokens"],
    )


def _other_size(form: Form, size: Sequence[int], error: OtherSize) -> str:
    """What to do where the processor makes pictures that the model does not read."""
    (height, width), (high, wide) = size, error.trained
    edge, asked = error.patch[0], form.data.image_size
    fitting = -(-(asked or height) // edge) * edge
    fitting += edge * (fitting == high)
    flag = f" (--data.image-size {asked})" if asked else ""
    keep = "leave --data.image-size out" if asked else f"--data.image-size {high} makes them that"
    model = form.model.config
    place = next((n for n in ("vision_config.", "encoder.") if hasattr(model, n[:-1])), "")
    more = ""
    if hasattr(vision_of(model), "image_size"):
        name = f"--model.{place}image-size".replace("_", "-")
        more = (
            f"; or train the model for another size, a multiple of its patches of {edge} pixels: "
            f"--data.image-size {fitting} {name} {fitting}"
        )
    return (
        f"pictures become {height} x {width} pixels{flag}, and the model reads {high} x {wide}: "
        f"{keep}{more}"
    )


def tokens_of(model: Model, arguments: Mapping[str, np.ndarray]) -> int:
    """How many tokens the model's embedder makes of a picture.

    Raises:
        ValueError: it does not read one of this size.
    """
    definition, values = split(model)
    reader: Any = model
    name = next((n for n, one in reader.towers.items() if PIXELS in one.embed.raw), None)
    if name is None:
        raise ValueError(f"{model.config.model_type} reads no pictures")
    nested = isinstance(reader.towers[name].embed, ImagesEmbedder)
    rows = {n: np.asarray(array)[(None,) * (1 + nested)] for n, array in arguments.items()}
    reader.towers[name].embed.check({**rows, "key": jax.random.key(0)})  # hides patches (MAE)

    def embed(values: Any, rows: Any) -> Any:
        whole: Any = merge(definition, values)
        return whole.towers[name].embed(rows, dtype=jnp.dtype("float32")).x

    return int(jax.eval_shape(embed, values, rows).shape[1])


class PictureExamples(Drawn):
    """Examples of pictures, each with what else there is once a row.

    Args:
        once: of each picture, such as its label.
        augment: how those that are trained on are changed.
        classes: of the labels, which are mixed with the pictures; 0: nothing is mixed.
    """

    def __init__(
        self,
        pictures: Pictures,
        once: Sequence[Mapping[str, Any]],
        augment: Augment | None = None,
        classes: int = 0,
    ):
        self.pictures, self.once = pictures, once
        self.augment, self.classes = augment or Augment(), classes
        if self.augment.mixing is not None and classes:
            self.mixing = self._mixed
        self.length = pictures.tokens
        sums = hashlib.sha256(pictures.fingerprint.encode())
        for some in once:
            for name, value in sorted(some.items()):
                sums.update(name.encode() + np.ascontiguousarray(value).tobytes())
        self.fingerprint = sums.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: Any) -> Any:
        return self._example(number, self.pictures.arguments(number))

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        if self.augment == Augment():
            return self[number]
        return self._example(number, self.pictures.augmented(number, self.augment, noise))

    def _mixed(self, batch: dict[str, Any], count: int, noise: np.random.Generator) -> Any:
        """A batch whose labels are shares of classes [B classes], which are 0 in empty rows."""
        labels, pixels = batch["labels"], batch[PIXELS]
        targets = np.zeros((len(labels), self.classes), np.float32)
        targets[:count] = one_hot(labels[:count], self.classes)
        if count:
            assert self.augment.mixing is not None
            pixels = pixels.copy()
            pixels[:count], targets[:count] = self.augment.mixing(
                pixels[:count], targets[:count], noise
            )
        return {**batch, PIXELS: pixels, "labels": targets}

    def select(self, numbers: Sequence[int]) -> PictureExamples:
        kept = [self.once[number] for number in numbers]
        some = self.pictures.select(numbers)
        return PictureExamples(some, kept, self.augment, self.classes)

    def _example(self, number: int, arguments: Mapping[str, np.ndarray]) -> Example:
        return Example(once={**arguments, **self.once[number], NUMBER: number}, size=self.length)
