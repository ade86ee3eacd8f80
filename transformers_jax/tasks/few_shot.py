"""Classes of texts from a few examples of each, without prompts: SetFit (Tunstall et al. 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.tables import Records
from transformers_jax.embedding.directory import CLASSIFIER, Sentence, with_classifier
from transformers_jax.metrics import classification
from transformers_jax.models.base import Model
from transformers_jax.nn.param import bind, flatten, params, unflatten
from transformers_jax.objectives.example import Example
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.base import Task, in_order
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.tasks.embedding import LABELS, Embedding
from transformers_jax.tasks.linear import Linear, solve, usual_penalty
from transformers_jax.tasks.paired import ANCHOR, POSITIVE
from transformers_jax.tasks.rows import Form, Rows, numbered
from transformers_jax.tasks.sequences import FIRST, LABEL, SequenceClassification

CLASSES = SequenceClassification()


@dataclass(frozen=True)
class FewShot(Embedding):
    """One of several classes for a text, from a few examples of each (Tunstall et al. 2022, section
    3): the cosine of pairs of examples learns to be 1 within a class and 0 between classes, and a
    logistic regression of the classes follows on the vectors.

    In evaluations the regression is that of the examples, on the vectors of the moment. The model
    that is exported has it as its last module.
    """

    needed: ClassVar[tuple[str, ...]] = ("text", "label")
    scorer: ClassVar[tuple[str, str] | None] = ("sklearn.linear_model", "few_shot")
    further: ClassVar[tuple[str, ...]] = ()
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {"text": FIRST, "label": LABEL}

    loss: Literal["cosine"] = "cosine"
    shots: int = 0
    """so many examples of each class are drawn from the table; 0: all are used"""
    iterations: int = 20
    """pairs of each kind for every example: so many of its class, so many of another"""
    pairs_seed: int = 0
    """draws the examples and their pairs"""
    penalty: float | None = None
    """of large weights of the regression; by default that of scikit-learn, C = 1"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("objective.", shots=0, iterations=1, pairs_seed=0)
        unused = dict(scale=20.0, symmetric=False, margin=1.0, label_scale=1.0, matryoshka=())
        if wrong := [name for name, value in unused.items() if getattr(self, name) != value]:
            raise ValueError(f"{', '.join(wrong)}: of the task embedding; few_shot has none")
        if self.penalty is not None and not self.penalty > 0:
            raise ValueError(f"penalty ({self.penalty}) must be above 0")

    @property
    def metric(self) -> str:  # type: ignore[override]
        return "accuracy"

    # ------------------------------------------------------------ data

    def held_together(self, data):
        return ()

    def columns(self, data, records, *, answered=True):
        columns = Task.columns(self, data, records, answered=answered)
        return {role: name for role, name in columns.items() if answered or role == "text"}

    def classes(self, form, records):
        """Those of the table: the head of the model, if it has one, is not used, and a regression
        of classes without an example would not be determined."""
        column = form.columns["label"]
        values = zip(records.places, form.values(records, "label"))
        found = {names.name_of(value, where, column) for where, value in values}
        source = records.classes.get(column, ())
        return source if found == {*source} else names.learned(found)

    def fitted(self, model, classes):
        return model.replace(id2label=dict(enumerate(classes)))

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        text = {"text": form.columns["text"]}
        rows = super().read(dataclasses.replace(form, columns=text), records, answered=False)
        if not answered:
            return rows
        numbers, note = CLASSES.labels(form, records)
        return dataclasses.replace(
            rows, references=numbers, notes=(*rows.notes, f"{records.name}: {note}")
        )

    def _texts(self, form: Form, records: Records) -> dict[str, list[str]]:
        """The texts, with the default prompt of the directory, as sentence-transformers has it."""
        sentence: Sentence = form.model.plan.sentence  # type: ignore[attr-defined]
        prompt = sentence.prompts.get(sentence.default_prompt or "", "")
        texts = form.texts(records, "text")
        return {ANCHOR: [prompt + (one.lower() if sentence.lower else one) for one in texts]}

    def used(self, train: Rows, held_out: Rows | None) -> tuple[Rows, Rows | None]:
        """Pairs of examples to train on; to evaluate on, the examples in front of the records that
        are held out.

        Raises:
            ValueError: a class without two examples.
        """
        draw = np.random.default_rng(self.pairs_seed)
        chosen = self._chosen(train, draw)
        pairs = self._pairs(chosen, draw)
        if held_out is None:
            return pairs, None
        support = len(chosen)
        records = dataclasses.replace(
            held_out.records,
            records=[*chosen.records.records, *held_out.records.records],
            places=[*chosen.records.places, *held_out.records.places],
        )
        examples = numbered([*chosen.examples, *held_out.examples])
        references = [*(chosen.references or ()), *(held_out.references or ())]
        known = [n < support for n in range(len(examples))]
        owners = np.arange(len(examples))
        return pairs, Rows(records, examples, owners, references, known, held_out.notes)

    def _chosen(self, rows: Rows, draw: np.random.Generator) -> Rows:
        """The examples of each class.

        Raises:
            ValueError: a class with fewer than two, or than are asked for.
        """
        numbers = np.asarray(rows.references)
        chosen: list[int] = []
        for number in np.unique(numbers):
            own = np.flatnonzero(numbers == number)
            if len(own) < max(self.shots, 2):
                where = rows.records.places[own[0]]
                raise ValueError(
                    f"the class of {where} has {len(own)} examples to train on, and "
                    f"{max(self.shots, 2)} are needed: add some, or lower --objective.shots"
                )
            chosen += (draw.choice(own, self.shots, replace=False) if self.shots else own).tolist()
        some = rows.some(sorted(chosen))
        return dataclasses.replace(some, examples=numbered(some.examples), notes=rows.notes)

    def _pairs(self, rows: Rows, draw: np.random.Generator) -> Rows:
        """For every example and iteration one pair with another of its class, and one with that of
        another class."""
        numbers, parts, owners = (
            np.asarray(rows.references),
            [one.parts for one in rows.examples],
            [],
        )
        examples = []
        for first, number in enumerate(numbers):
            alike = np.flatnonzero((numbers == number) & (np.arange(len(numbers)) != first))
            unlike = np.flatnonzero(numbers != number)
            for _ in range(self.iterations):
                for label, among in ((1.0, alike), (0.0, unlike)):
                    second = parts[int(draw.choice(among))][ANCHOR]
                    both = {ANCHOR: parts[first][ANCHOR], POSITIVE: second}
                    examples.append(Example({}, once={LABELS: np.float32(label)}, parts=both))
                    owners.append(first)
        note = (
            f"{rows.records.name}: {len(examples):,} pairs of {len(numbers):,} examples of "
            f"{len(np.unique(numbers))} classes"
        )
        return Rows(
            rows.records, numbered(examples), np.array(owners), rows.references,
            notes=(*rows.notes, note),
        )  # fmt: skip

    # ------------------------------------------------------------ model

    def planned(self, plan):
        whole = super().planned(plan)
        if CLASSIFIER in whole.sentence.folders:  # type: ignore[attr-defined]
            raise ValueError(
                f"this model classifies already: modules.json has {CLASSIFIER!r}. Start from the "
                "model of sentences that it was made of"
            )
        return whole

    def equipped(self, model):
        return model if classifies(model) else super().equipped(model)

    def finished(self, model: Model, corpus: TaskCorpus) -> Model:
        """The model with the regression of its examples as its last module."""
        rows = corpus.train
        first = [int(np.flatnonzero(rows.owners == n)[0]) for n in range(len(rows.records))]
        plain = [Example({}, parts={ANCHOR: rows.examples[n].parts[ANCHOR]}) for n in first]
        form = dataclasses.replace(corpus.form, model=model.abstract())
        own = Rows(rows.records, numbered(plain), np.arange(len(plain)), rows.references)
        part = TaskCorpus(self, form, own, {}).part(own, 0, shuffle=False)
        found = [self.respond(model, batch) for batch in evaluation_batches(part, "examples")]
        answers, own = in_order(found, own)
        layer = self._solved(answers[ANCHOR], own.references, form)
        plan: Any = model.plan
        sentence = with_classifier(plan.sentence, model.stack.spec.width, layer.weight.shape)  # type: ignore[attr-defined]
        plan = dataclasses.replace(plan, sentence=sentence)
        values, place = flatten(params(model)), f"head.steps.{len(sentence.steps) - 1}.linear"
        dtype = next(iter(values.values())).dtype
        new = {f"{place}.weight": layer.weight, f"{place}.bias": layer.bias}
        values |= {path: np.asarray(x, dtype) for path, x in new.items()}
        return bind(plan.build(), unflatten(values))

    def _solved(self, vectors: np.ndarray, labels: Any, form: Form) -> Linear:
        count = len(form.classes)
        usual = usual_penalty(CLASSES, len(vectors), count)
        penalty = usual if self.penalty is None else self.penalty
        return solve(CLASSES, vectors.astype(np.float64), labels, count, penalty, True)

    # ------------------------------------------------------------ training

    def measure(self, model, batch):
        if POSITIVE in batch:
            return super().measure(model, batch)
        vectors = model(**batch[ANCHOR], key=None).sentence_embedding
        return {}, {ANCHOR: vectors, "number": batch["number"]}

    # ------------------------------------------------------------ answers

    def _logits(self, answers: Any, rows: Rows, form: Form) -> tuple[np.ndarray, np.ndarray]:
        """(the scores of the records that are asked for, which these are).

        Raises:
            ValueError: a model that makes vectors, and no examples of classes.
        """
        vectors = answers[ANCHOR]
        if classifies(form.model):
            return vectors, np.ones(len(vectors), bool)
        known = np.array(rows.details or [False] * len(rows), bool)
        if not known.any():
            raise ValueError(
                "this model makes vectors, and has no classes: train it with --task few_shot"
            )
        labels = np.asarray(rows.references)
        layer = self._solved(vectors[known], labels[known], form)
        return vectors[~known] @ layer.weight + layer.bias, ~known

    def metrics(self, answers, rows, form):
        logits, asked = self._logits(answers, rows, form)
        labels = np.asarray(rows.references)[asked]
        return classification(logits.argmax(-1), labels, logits.shape[-1])

    def figure(self, answers, rows, form):
        logits, asked = self._logits(answers, rows, form)
        return CLASSES.figure({"logits": logits}, rows.some(np.flatnonzero(asked).tolist()), form)

    def predictions(self, answers, rows, form):
        logits, _ = self._logits(answers, rows, form)
        return CLASSES.predictions({"logits": logits}, rows, form)


def classifies(model: Any) -> bool:
    """Whether the last module of a model of sentences gives the scores of classes."""
    sentence = getattr(model.plan, "sentence", None)
    return isinstance(sentence, Sentence) and CLASSIFIER in sentence.folders
