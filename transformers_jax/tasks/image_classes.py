"""ImageClassification: one of several classes for a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.tasks.images import IMAGE, PictureExamples, pictures_of
from transformers_jax.tasks.rows import Form, Rows
from transformers_jax.tasks.sequences import LABEL, SequenceClassification


@dataclass(frozen=True)
class ImageClassification(SequenceClassification):
    """One of several classes for a picture: a table with columns "image" and "label", such as a
    folder of pictures whose folders are the classes. Loss, weights of classes and metrics are those
    of texts."""

    head: ClassVar[str] = "image_classification"
    reads: ClassVar[tuple[str, ...]] = ("images",)
    needed: ClassVar[tuple[str, ...]] = ("image", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image": IMAGE,
        "label": (*LABEL, "fine_label"),
    }
    peak: ClassVar[float] = 1e-4

    def tabled(self, data: Table) -> Table:
        """All rows are of one length: none are sorted by it."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, pictures, notes = pictures_of(form, records, answered=answered)
        once: list[dict[str, Any]] = [{} for _ in range(len(pictures))]
        references = None
        if answered:
            references, note = self.labels(form, records)
            once = [{"labels": label} for label in references]
            notes = [*notes, f"{records.name}: {note}"]
        examples = PictureExamples(pictures, once)
        owners = np.arange(len(examples))
        return Rows(records, examples, owners, references, notes=tuple(notes))
