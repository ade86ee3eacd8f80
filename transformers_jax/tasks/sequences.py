"""Tasks with one answer for a text, or for a pair of texts: classes, several labels, a number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import wide
from transformers_jax.data.tables import Records
from transformers_jax.json_files import errors_of
from transformers_jax.metrics import classification, multi_label, regression
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.base import OfClasses
from transformers_jax.tasks.figures import MOST_ROWS, Listing, confusion_of, scatter_of
from transformers_jax.tasks.rows import NUMBER, Form, LongRow, Rows, encode, numbered

FIRST = ("text", "sentence", "sentence1", "premise", "question1", "question", "review", "content")
SECOND = ("text_pair", "sentence2", "hypothesis", "question2")
LABEL = ("label", "labels", "class", "category", "target")


class OfSequences(OfClasses):
    """What the three tasks share: a text or a pair of texts, and a head on the whole row."""

    head: ClassVar[str] = "sequence_classification"
    needed: ClassVar[tuple[str, ...]] = ("text", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": FIRST, "text_pair": SECOND, "label": LABEL,
    }  # fmt: skip
    problem: ClassVar[str]
    """what config.json calls it"""

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        labels = dict(enumerate(classes)) if classes else {0: "LABEL_0"}
        return model.replace(id2label=labels, problem_type=self.problem)

    def _texts(self, form: Form, records: Records) -> tuple[list[str], list[str] | None]:
        second = form.texts(records, "text_pair") if "text_pair" in form.columns else None
        return form.texts(records, "text"), second

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        texts, pairs = self._texts(form, records)
        try:
            encoded = encode(form, texts, pairs)
        except LongRow as error:
            raise ValueError(f"{records.places[error.number]} {error}") from None
        if empty := [n for n, side in enumerate(encoded.sides) if not len(side["input_ids"])]:
            raise ValueError(f"{records.places[empty[0]]}: the text is empty; take the record out")
        blank = sum(not text.strip() for text in texts)
        notes = [encoded.note(records.name, form.length)]
        notes += [f"{records.name}: {blank:,} texts are empty"] if blank else []
        labels = references = None
        if answered:
            labels, note = self.labels(form, records)
            references, notes = labels, [*notes, f"{records.name}: {note}"]
        once = [{}] * len(texts) if labels is None else [{"labels": label} for label in labels]
        examples = [Example(side, once=one) for side, one in zip(encoded.sides, once)]
        owners = np.arange(len(examples))
        return Rows(records, numbered(examples), owners, references, notes=tuple(notes))

    def labels(self, form: Form, records: Records) -> tuple[list[Any], str]:
        """The label of each record, and what is told of them all."""
        raise NotImplementedError


@dataclass(frozen=True)
class SequenceClassification(OfSequences):
    """One of several classes for a text, or for a pair of texts (Devlin et al. 2018, section 4.1).

    The loss is the cross-entropy, of each row times the weight of its class, over the sum of these
    weights.
    """

    metric: ClassVar[str] = "accuracy"
    problem: ClassVar[str] = "single_label_classification"

    class_weights: tuple[tuple[str, float], ...] = ()
    """(class, weight); others weigh 1"""
    balanced: bool = False
    """weights by which all classes count alike: the number of rows over that of a class and of the
    classes, of what is trained on"""
    resolved: tuple[float, ...] = ()
    """weights by number of the class; found from the other two when the data is read"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.balanced and self.class_weights:
            raise ValueError("class_weights and balanced exclude each other")
        if any(weight <= 0 for _, weight in self.class_weights):
            raise ValueError(f"class_weights {self.class_weights}: weights are above 0")

    def classes(self, form, records):
        values = zip(records.places, form.values(records, "label"))
        column = form.columns["label"]
        found = [names.name_of(value, where, column) for where, value in values]
        source = records.classes.get(column, ())
        with errors_of(records.name):
            return names.chosen(form.model.config, found, source, several=True)

    def labels(self, form, records):
        values = zip(records.places, form.values(records, "label"))
        column, known = form.columns["label"], form.classes
        numbers = [names.number_of(names.name_of(v, w, column), known, w) for w, v in values]
        return numbers, names.counts(numbers, known)

    def learned(self, rows, form):
        """The task with the weight of each class.

        Raises:
            ValueError: a weight of a class that there is not.
        """
        classes, numbers = form.classes, rows.references
        if not (self.balanced or self.class_weights):
            return self
        if self.balanced:
            counts = np.bincount(numbers, minlength=len(classes))
            weights = [len(numbers) / (len(classes) * max(int(n), 1)) for n in counts]
        else:
            weights = [1.0] * len(classes)
            for name, weight in self.class_weights:
                weights[names.number_of(name, classes, "class_weights")] = weight
        return dataclasses.replace(self, resolved=tuple(weights))

    def compare(self, output, batch):
        loss, figures = super().compare(output, batch)
        if not self.resolved:
            return loss, figures
        logits, labels = output.logits, batch["labels"]
        known = labels != IGNORED
        weights = jnp.asarray(self.resolved)[jnp.where(known, labels, 0)] * known
        logs = jax.nn.log_softmax(logits.astype(wide(logits)))
        picked = jnp.take_along_axis(logs, jnp.where(known, labels, 0)[:, None], 1)[:, 0]
        total, count = -(weights * picked).sum(), weights.sum()
        return total / jnp.maximum(count, 1e-9), {**figures, "loss": (total, count)}

    def metrics(self, answers, rows, form):
        logits = answers["logits"]
        return classification(logits.argmax(-1), np.asarray(rows.references), logits.shape[-1])

    def figure(self, answers, rows, form):
        predicted = answers["logits"].argmax(-1)
        return confusion_of(form.classes, predicted, np.asarray(rows.references))

    def predictions(self, answers, rows, form):
        scores = softmax(answers["logits"])
        return [
            {"label": form.classes[row.argmax()], "score": float(row.max()),
             "scores": dict(zip(form.classes, map(float, row)))}
            for row in scores
        ]  # fmt: skip


@dataclass(frozen=True)
class MultiLabel(OfSequences):
    """Any number of labels for a text: each holds or not, by itself.

    The column holds a list of names, or a text of them with `separator` between. The loss is the
    mean of binary cross-entropies over rows and labels.
    """

    metric: ClassVar[str] = "f1_micro"
    problem: ClassVar[str] = "multi_label_classification"

    separator: str = "|"
    """between the labels of a record, where they are one text"""
    threshold: float = 0.5
    """probability above which a label is predicted"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold ({self.threshold}) lies between 0 and 1")

    def _names(self, value: Any, where: str, column: str) -> list[str]:
        if value is None or value == "":
            return []
        parts = value.split(self.separator) if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected a list of labels")
        return [names.name_of(part, where, column) for part in parts]

    def _read(self, form, records):
        column = form.columns["label"]
        values = zip(form.values(records, "label"), records.places)
        return [self._names(value, where, column) for value, where in values]

    def classes(self, form, records):
        found = [name for some in self._read(form, records) for name in some]
        if not found:
            raise ValueError(f"{records.name}: no record has a label")
        return names.chosen(form.model.config, found)

    def labels(self, form, records):
        matrix = np.zeros((len(records), len(form.classes)), np.float32)
        for row, some, where in zip(matrix, self._read(form, records), records.places):
            row[[names.number_of(name, form.classes, where) for name in some]] = 1
        held = [int(number) for number in np.nonzero(matrix)[1]]
        mean = f"{len(held) / len(matrix):.2f} labels a record"
        return list(matrix), f"{mean}: {names.counts(held, form.classes)}"

    def compare(self, output, batch):
        logits, labels = output.logits.astype(wide(output.logits)), batch["labels"]
        known = (batch[NUMBER] != IGNORED)[:, None]
        losses = jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        total = jnp.where(known, losses, 0.0).sum()
        count = known.sum().astype(jnp.float32) * logits.shape[-1]
        return total / jnp.maximum(count, 1), {"loss": (total, count)}

    def metrics(self, answers, rows, form):
        predicted = answers["logits"] > math.log(self.threshold / (1 - self.threshold))
        return multi_label(predicted, np.asarray(rows.references) > 0)

    def figure(self, answers, rows, form):
        predicted = answers["logits"] > math.log(self.threshold / (1 - self.threshold))
        expected = np.asarray(rows.references) > 0
        hits, chosen, support = (predicted & expected).sum(0), predicted.sum(0), expected.sum(0)
        f1 = 2 * hits / np.maximum(chosen + support, 1)
        order = np.argsort(f1, kind="stable")[:MOST_ROWS].tolist()
        rates = hits / np.maximum(chosen, 1), hits / np.maximum(support, 1), f1
        cells = [[f"{rate[n]:.3f}" for rate in rates] for n in order]
        table = [[form.classes[n], *row, f"{support[n]:,}"] for n, row in zip(order, cells)]
        head = ["label", "precision", "recall", "F1", "records"]
        return Listing("The labels with the lowest F1", head, table)

    def predictions(self, answers, rows, form):
        scores = 1 / (1 + np.exp(-answers["logits"].astype(np.float64)))
        return [
            {"labels": [name for name, p in zip(form.classes, row) if p > self.threshold],
             "scores": dict(zip(form.classes, map(float, row)))}
            for row in scores
        ]  # fmt: skip


@dataclass(frozen=True)
class Regression(OfSequences):
    """A number for a text, or for a pair of texts, such as how alike they are (Cer et al. 2017).

    The loss is the mean squared error.
    """

    metric: ClassVar[str] = "pearson"
    problem: ClassVar[str] = "regression"
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": FIRST, "text_pair": SECOND, "label": (*LABEL, "score", "similarity"),
    }  # fmt: skip

    def labels(self, form, records):
        column = form.columns["label"]
        values = zip(form.values(records, "label"), records.places)
        numbers = [np.float32(number_in(value, where, column)) for value, where in values]
        mean, deviation = np.mean(numbers), np.std(numbers)
        low, high = min(numbers), max(numbers)
        note = f"numbers from {low:g} to {high:g}, mean {mean:.4g}, deviation {deviation:.4g}"
        return numbers, note

    def compare(self, output, batch):
        logits = output.logits.astype(wide(output.logits))[:, 0]
        known = batch[NUMBER] != IGNORED
        total = jnp.where(known, jnp.square(logits - batch["labels"]), 0.0).sum()
        count = known.sum().astype(jnp.float32)
        return total / jnp.maximum(count, 1), {"loss": (total, count)}

    def metrics(self, answers, rows, form):
        return regression(answers["logits"][:, 0], np.asarray(rows.references))

    def figure(self, answers, rows, form):
        return scatter_of(rows.references, answers["logits"][:, 0])

    def predictions(self, answers, rows, form):
        return [{"score": float(value)} for value in answers["logits"][:, 0]]


def number_in(value: Any, where: str, column: str) -> float:
    """A finite number, or the text of one.

    Raises:
        ValueError: it is none.
    """
    try:
        number = math.nan if isinstance(value, (bool, type(None))) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected a number")
    return number


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    exponents = np.exp(shifted)
    return exponents / exponents.sum(-1, keepdims=True)
