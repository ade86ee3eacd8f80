"""ImageClassification: one of several classes for a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Float, wide
from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.models.config import FamilyConfig
from transformers_jax.objectives.metrics import LossAndMetrics
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

    augment: Augment = Augment()
    """how pictures that are trained on are changed at random"""
    smoothing: float = 0.0
    """share of the targets that all classes have alike (Szegedy et al. 2015, section 7)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing ({self.smoothing}) lies in [0, 1)")

    def tabled(self, data: Table) -> Table:
        """All rows are of one length: none are sorted by it."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        if not hasattr(model, "num_classes"):
            return super().fitted(model, classes)
        count, labels = len(classes), dict(enumerate(classes))  # timm counts them by itself
        return model.replace(num_classes=count, id2label=labels, problem_type=self.problem)

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, pictures, notes = pictures_of(form, records)
        once: list[dict[str, Any]] = [{} for _ in range(len(pictures))]
        references = None
        if answered:
            references, note = self.labels(form, records)
            once = [{"labels": label} for label in references]
            notes = [*notes, f"{records.name}: {note}"]
        examples = PictureExamples(pictures, once, self.augment, len(form.classes) * answered)
        owners = np.arange(len(examples))
        return Rows(records, examples, owners, references, notes=tuple(notes))

    def minimise(self, model, batch, key):
        output, labels = self.output(model, batch, key), batch["labels"]
        count = output.logits.shape[-1]
        if labels.ndim == 1 and not self.smoothing:
            return self.compare(output, batch)
        shares = labels if labels.ndim == 2 else jax.nn.one_hot(labels, count)  # of -100: zeros
        return self._of_shares(output.logits, shares)

    def _of_shares(self, logits: Any, shares: Float[Any, "B N"]) -> LossAndMetrics:
        """(mean cross-entropy with shares of classes, what is reported): a row counts as the sum of
        its shares, weighted by its classes."""
        right = (logits.argmax(-1) == shares.argmax(-1)) & (shares.sum(-1) > 0)
        rows = (shares.sum(-1) > 0).sum().astype("float32")
        smooth = shares.sum(-1, keepdims=True) * self.smoothing / shares.shape[-1]
        shares = (shares * (1 - self.smoothing) + smooth).astype(wide(logits))
        if self.resolved:
            shares = shares * jnp.asarray(self.resolved)
        logs = jax.nn.log_softmax(logits.astype(wide(logits)))
        total, count = -(shares * logs).sum(), shares.sum()
        figures = {"loss": (total, count), "accuracy": (right.sum().astype("float32"), rows)}
        return total / jnp.maximum(count, 1e-9), figures
