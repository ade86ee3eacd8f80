"""Distillation of a classifier: a student learns the answers of a teacher beside the labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from transformers_jax.nn.loss import IGNORED, sum_of_means
from transformers_jax.objectives.distillation import Distilled
from transformers_jax.objectives.metrics import Batch, LossAndMetrics
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.rows import NUMBER, Form
from transformers_jax.tasks.sequences import SequenceClassification

TYPES = "token_type_ids"


@dataclass(frozen=True)
class Distillation(Distilled, SequenceClassification):
    """One of the classes of a teacher for a text, or for a pair of texts: the student learns the
    teacher's softened logits, its hidden states and its attention, beside the labels
    (objectives/distillation.py).

    The classes are those of the teacher, in their order. Predictions are of the student alone.
    """

    types_for_teacher: bool = False
    """whether the teacher alone reads token types; found when the data is read"""

    def classes(self, form, records):
        """The classes of the teacher.

        Raises:
            ValueError: it lacks one that the table has.
        """
        if form.reference is None:
            return super().classes(form, records)
        column, config = form.columns["label"], form.reference.config
        values = zip(records.places, form.values(records, "label"))
        found = {names.name_of(value, where, column) for where, value in values}
        known, named = names.of(config), names.stored(config)
        numbers = tuple(map(str, range(len(known))))
        known = numbers if not named and found <= {*numbers} else known
        if not found <= {*known}:
            raise ValueError(
                f"{records.name} has the classes {', '.join(sorted(found - {*known})[:5])}, which "
                f"the teacher does not have; its classes are {', '.join(known[:8])}: choose a "
                "teacher that was trained on these classes"
            )
        return known

    def read(self, form, records, *, answered=True):
        return super().read(_with_types(form), records, answered=answered)

    def learned(self, rows, form):
        alone = _with_types(form) is not form
        return dataclasses.replace(super().learned(rows, form), types_for_teacher=alone)  # type: ignore[type-var]

    def inputs(self, batch):
        """The arguments of the student."""
        withheld = (*self.withheld, *[TYPES] * self.types_for_teacher)
        return {name: value for name, value in batch.items() if name not in withheld}

    def minimise(self, model, batch, key, reference=None):
        student = model(**self.inputs(batch), key=key, **self.options)
        return self._taught(student, batch, reference)

    def measure(self, model, batch, reference=None):
        student = model(**self.inputs(batch), key=None, **self.options)
        answers = {**self.answers(student), NUMBER: batch[NUMBER]}
        return self._taught(student, batch, reference)[1], answers

    def _taught(self, student: Any, batch: Batch, teacher: Any) -> LossAndMetrics:
        """(the sum of the terms, what is reported)."""
        figures = self.compare(student, batch)[1]
        inputs = {name: x for name, x in batch.items() if name not in self.withheld}
        rows = batch[NUMBER] != IGNORED
        tokens = (jnp.asarray(batch["attention_mask"]) > 0) & rows[:, None]
        found = self.teach(teacher, inputs)
        terms = self.terms(student, found, figures["loss"], rows, tokens)
        agree = (student.logits.argmax(-1) == found.logits.argmax(-1)) & rows
        agreement = (agree.sum().astype(jnp.float32), rows.sum().astype(jnp.float32))
        return sum_of_means(terms), {**figures, "loss": terms, "agreement": agreement}


def _with_types(form: Form) -> Form:
    """The form whose rows have token types, where only the teacher reads them."""
    teacher = form.reference
    if teacher is None or TYPES in form.model.arguments() or TYPES not in teacher.arguments():
        return form
    return dataclasses.replace(form, model=teacher)
