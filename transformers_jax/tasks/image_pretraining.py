"""ImagePretraining: pictures without a label, of which a part is hidden (MAE, SimMIM), or which are
made again of a few latents (Perceiver)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int, Key
from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.models.config import FamilyConfig
from transformers_jax.objectives.losses import supervised
from transformers_jax.tasks.base import Task, TaskObjective
from transformers_jax.tasks.images import IMAGE, PIXELS, PictureExamples, pictures_of
from transformers_jax.tasks.rows import NUMBER, Form, Rows

FIXED = 0  # the seed of what evaluations hide
HEADS = {
    "mae": "pretraining",
    "simmim": "masked_image_modeling",
    "autoencoding": "image_autoencoding",
}
METHODS = {"vit_mae": "mae", "perceiver": "autoencoding"}
"""By the family, where it is not SimMIM."""


@dataclass(frozen=True)
class ImagePretraining(Task):
    """The pixels of patches that are hidden: a table with a column "image". Which are hidden is
    drawn in each step, from the seed of the run and the number of the step; evaluations hide the
    same ones always.

    A masked autoencoder (vit_mae; He et al. 2022, section 3) reads the others alone; the share that
    is hidden (`mask_ratio`) and whether the pixels of a patch are normalised (`norm_pix_loss`) are
    settings of the model. Models with the head "masked_image_modeling" (vit, deit, swin, swinv2)
    read a learned vector in place of what is hidden (SimMIM, Xie et al. 2022, section 3). Of a
    Perceiver nothing is hidden: its latents are all that the queries for the pixels may attend to
    (autoencoding, Jaegle et al. 2021b, section 4.3).

    Raises:
        ValueError: settings that are no fraction or count.
    """

    masked: float = 0.6
    """of SimMIM, the share of the picture that is hidden"""
    unit: int = 32
    """of SimMIM, the edge in pixels of the squares that are hidden, at least that of a patch"""
    method: Literal["mae", "simmim", "autoencoding"] = "simmim"
    """the model says it"""
    augment: Augment = Augment()
    """how pictures that are trained on are changed, such as Augment(crop=(0.2, 1.0), flip=0.5)"""

    head: ClassVar[str] = "masked_image_modeling"
    metric: ClassVar[str] = "loss"
    lower: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("images",)
    needed: ClassVar[tuple[str, ...]] = ("image",)
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {"image": IMAGE}
    answered: ClassVar[tuple[str, ...]] = ()
    peak: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.masked < 1 or self.unit < 1:
            raise ValueError(
                f"masked ({self.masked}) lies between 0 and 1, and unit ({self.unit}) is at least 1"
            )
        if self.augment.mixing is not None:
            raise ValueError("augment mixes pictures with their labels, and here are none")
        object.__setattr__(self, "head", HEADS[self.method])

    def of_family(self, family: FamilyConfig) -> Task:
        method: Any = METHODS.get(family.model_type, "simmim")
        return dataclasses.replace(self, method=method)

    def tabled(self, data: Table) -> Table:
        """All rows are of one length: none are sorted by it."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    @property
    def generates(self) -> bool:
        return False

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        if form.model.config.model_type == "beit":
            raise ValueError(
                "beit predicts the words that a tokenizer of images has for hidden patches, which "
                "a table of pictures has not; choose vit_mae, vit, deit, swin, swinv2 or perceiver"
            )
        records, pictures, notes = pictures_of(form, records)
        examples = PictureExamples(pictures, [{}] * len(pictures), self.augment)
        return Rows(records, examples, np.arange(len(examples)), None, notes=tuple(notes))

    # ------------------------------------------------------------ training

    @property
    def objective(self):
        return HiddenPatches(self)

    def given(self, model: Any, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """The arguments of the model; what is hidden is drawn from the key."""
        pixels = batch[PIXELS]
        if self.method == "autoencoding":
            return {PIXELS: pixels}
        embed: Any = model.last.embed
        grid = tuple(n // edge for n, edge in zip(pixels.shape[2:], embed.spec.patch))
        if self.method == "mae":
            noise = jax.random.uniform(key, (len(pixels), grid[0] * grid[1]), jnp.float32)
            return {PIXELS: pixels, "noise": noise}
        unit = tuple(max(1, self.unit // edge) for edge in embed.spec.patch)
        hidden = hidden_patches(
            key, len(pixels), (grid[0], grid[1]), (unit[0], unit[1]), self.masked
        )
        real = (batch[NUMBER] >= 0)[:, None]
        return {PIXELS: pixels, "bool_masked_pos": hidden * real}

    def minimise(self, model, batch, key):
        drawn, noise = jax.random.split(jax.random.key(FIXED) if key is None else key)
        return self._loss(model, batch, drawn, None if key is None else noise)

    def measure(self, model, batch):
        return self.minimise(model, batch, None)[1], {}

    def respond(self, model, batch):
        """Raises ValueError: there is nothing to predict."""
        raise ValueError(
            "pretraining on pictures predicts nothing; evaluate() gives its loss, and the task "
            "image_classification goes on with such a model"
        )

    def _loss(self, model: Any, batch: Any, drawn: Key, noise: Key | None) -> Any:
        """The loss, of patches that are hidden by one key, in a model with the noise of another."""
        given = self.given(model, batch, drawn)
        output = model(**given, key=noise)
        if self.method == "simmim":
            return supervised(lambda **_: output, {}, None)
        if self.method == "autoencoding":
            errors = model.head.errors(output.reconstruction, given[PIXELS]).mean((1, 2, 3))
            real = (batch[NUMBER] >= 0).astype(errors.dtype)
            total, count = (errors * real).sum(), real.sum()
            return total / jnp.maximum(count, 1), {"loss": (total, count)}
        targets = model.head.targets(SimpleNamespace(arguments=given))
        errors = jnp.square(output.logits.astype(targets.dtype) - targets).mean(-1)
        hidden = output.mask * (batch[NUMBER] >= 0)[:, None]
        total, count = (errors * hidden).sum(), hidden.sum()
        return total / jnp.maximum(count, 1), {"loss": (total, count)}


@dataclass(frozen=True)
class HiddenPatches(TaskObjective):
    """The loss of the task, whose arguments say what is hidden."""

    task: ImagePretraining

    def inputs(self, model, batch):
        return [self.task.given(model, batch, jax.random.key(FIXED))]


def hidden_patches(
    key: Key, rows: int, grid: tuple[int, int], unit: tuple[int, int], share: float
) -> Int[Array, "B P"]:
    """1 for patches that are hidden: of the squares of `unit` patches this share, rounded up, each
    as likely (SimMIM, section 3.2)."""
    squares = tuple(-(-n // edge) for n, edge in zip(grid, unit))
    number = squares[0] * squares[1]
    chance = jax.random.uniform(key, (rows, number), jnp.float32)
    rank = jnp.argsort(jnp.argsort(chance, axis=1), axis=1)
    hidden = (rank < math.ceil(number * share)).reshape(rows, *squares)
    hidden = hidden.repeat(unit[0], 1).repeat(unit[1], 2)[:, : grid[0], : grid[1]]
    return hidden.reshape(rows, -1).astype(jnp.int32)
