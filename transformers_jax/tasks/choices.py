"""Multiple choice: which of several texts fits another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tables import Records
from transformers_jax.metrics import classification
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.base import OfClasses
from transformers_jax.tasks.figures import histogram_of
from transformers_jax.tasks.rows import Form, LongRow, Rows, encode, numbered
from transformers_jax.tasks.sequences import softmax


@dataclass(frozen=True)
class MultipleChoice(OfClasses):
    """Which of the candidates fits a text: each is read behind it, and the scores are compared
    (Devlin et al. 2018, section 4.4).

    The candidates of a record are a list, or columns of their own (`--data.text-pair
    ending0,ending1,ending2,ending3`); the label is the number of the right one, from 0, or its
    text.
    """

    head: ClassVar[str] = "multiple_choice"
    metric: ClassVar[str] = "accuracy"
    needed: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("text", "context", "sentence", "question", "startphrase", "premise"),
        "text_pair": ("choices", "endings", "candidates", "options"),
        "label": ("label", "labels", "answer"),
    }

    # ------------------------------------------------------------ data

    def names_in(self, role: str, named: str) -> list[str]:
        if role != "text_pair":
            return [named]
        return [name.strip() for name in named.split(",")]

    def _candidates(self, form: Form, records: Records) -> list[list[str]]:
        """The candidates of each record.

        Raises:
            ValueError: no list of texts, or not as many as another record has.
        """
        column = form.columns["text_pair"]
        if "," in column:
            names = self.names_in("text_pair", column)
            columns = [records.texts(name, "data.text-pair") for name in names]
            return [list(row) for row in zip(*columns)]
        found = form.values(records, "text_pair")
        for where, value in zip(records.places, found):
            good = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
            if not good or len(value) < 2:
                raise ValueError(
                    f"{where}: {column!r} holds {value!r:.60}; expected a list of candidates"
                )
            if len(value) != len(found[0]):
                raise ValueError(
                    f"{where} has {len(value)} candidates and {records.places[0]} has "
                    f"{len(found[0])}; all have as many"
                )
        return [list(value) for value in found]

    def _pairs(self, form: Form, records: Records) -> tuple[list[str], list[str], int]:
        """(texts, candidates, how many of a record), flat."""
        candidates = self._candidates(form, records)
        count = len(candidates[0])
        texts = [text for text in form.texts(records, "text") for _ in range(count)]
        return texts, [one for some in candidates for one in some], count

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        texts, candidates, count = self._pairs(form, records)
        try:
            encoded = encode(form, texts, candidates)
        except LongRow as error:
            raise ValueError(f"{records.places[error.number // count]} {error}") from None
        notes = [encoded.note(f"{records.name}, {count} candidates each", form.length)]
        some = [encoded.sides[n : n + count] for n in range(0, len(encoded.sides), count)]
        references = self._labels(form, records, candidates, count) if answered else None
        once: list[dict[str, int]] = [{} for _ in some]
        if references is not None:
            once = [{"labels": number} for number in references]
        examples = [Example(together(sides), once=one) for sides, one in zip(some, once)]
        owners = np.arange(len(examples))
        return Rows(records, numbered(examples), owners, references, notes=tuple(notes))

    def _labels(self, form: Form, records: Records, candidates: list[str], count: int) -> list[int]:
        """The number of the right candidate of each record.

        Raises:
            ValueError: it is neither the number nor the text of one.
        """
        column, found = form.columns["label"], []
        for number, (where, value) in enumerate(zip(records.places, form.values(records, "label"))):
            own = candidates[number * count : (number + 1) * count]
            label = own.index(value) if value in own else _whole(value)
            if not 0 <= label < count:
                raise ValueError(
                    f"{where}: {column!r} holds {value!r:.60}; expected the number of a candidate, "
                    f"from 0 to {count - 1}, or its text"
                )
            found.append(label)
        return found

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        logits = answers["logits"]
        figures = classification(logits.argmax(-1), np.asarray(rows.references), logits.shape[-1])
        return {"accuracy": figures["accuracy"]}

    def figure(self, answers, rows, form):
        scores = softmax(answers["logits"])
        right = scores[np.arange(len(scores)), np.asarray(rows.references)]
        return histogram_of("probability of the right candidate", right, 0.0, 1.0)

    def predictions(self, answers, rows, form):
        candidates = self._candidates(form, rows.records)
        return [
            {"choice": int(row.argmax()), "text": some[row.argmax()], "scores": row.tolist()}
            for row, some in zip(softmax(answers["logits"]), candidates)
        ]


def _whole(value: Any) -> int:
    """A whole number, or the text of one; -1 for anything else."""
    try:
        return -1 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return -1


def together(sides: list[dict[str, Any]], pad: int = 0) -> dict[str, Int[np.ndarray, "C T"]]:
    """The rows of the candidates of a record as one, filled up to the longest; with their mask."""
    lengths = np.array([len(side["input_ids"]) for side in sides])
    width = int(lengths.max())
    filled = {
        name: np.array(
            [
                np.pad(side[name], (0, width - len(side[name])), constant_values=fill)
                for side in sides
            ]
        )
        for name, fill in {**dict.fromkeys(sides[0], 0), "input_ids": pad}.items()
    }
    mask = (np.arange(width) < lengths[:, None]).astype(np.int32)
    return {**filled, "attention_mask": mask}
