"""Embeddings: vectors of texts, by which those that belong together are found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.embedding.directory import Sentence, of_texts
from transformers_jax.embedding.plan import EmbeddingPlan, with_sentence
from transformers_jax.metrics import sentence_similarity
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.plan import Plan
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.sentence import Pool
from transformers_jax.objectives.distances import CosineSimilarity, Triplet
from transformers_jax.objectives.example import Example
from transformers_jax.objectives.metrics import Batch, LossAndMetrics
from transformers_jax.objectives.pairs import ComparesRows, Contrastive, matryoshka
from transformers_jax.tasks import nearest
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import histogram_of_ranks, scatter_of
from transformers_jax.tasks.paired import ANCHOR, POSITIVE, labels_of, negative_columns, texts_of
from transformers_jax.tasks.rows import NUMBER, Form, LongRow, Rows, encode, numbered

LABELS = "labels"


@dataclass(frozen=True)
class Embedding(Task):
    """Vectors of texts (Reimers and Gurevych 2019): of pairs that belong together, with hard
    negatives or without, or of pairs with a number that says how alike they are.

    A record has a text and one that belongs to it, and as many negatives as the others have: texts
    that do not. They are a list, or columns of their own. Instead, `label` may be a number.
    """

    head: ClassVar[str] = "embedding"
    needed: ClassVar[tuple[str, ...]] = ("text",)
    further: ClassVar[tuple[str, ...]] = ("negatives",)
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("anchor", "query", "question", "sentence1", "sentence", "text", "premise"),
        "text_pair": (
            *("positive", "answer", "document", "passage", "context", "sentence2"),
            *("text_pair", "hypothesis"),
        ),
        "label": ("label", "labels", "score", "similarity"),
    }
    answered: ClassVar[tuple[str, ...]] = ("sentence_embedding",)

    loss: Literal["contrastive", "cosine", "triplet"] | None = None  # type: ignore[assignment]
    """contrastive: a text is to find its own among those of the whole batch and all negatives;
    cosine: the cosine of a pair is to be its label; triplet: a negative is to be farther away, by
    `margin`. By default cosine where there is a label, else contrastive"""
    scale: float = 20.0
    """multiplies similarities in the contrastive loss: one over its temperature"""
    similarity: Literal["cosine", "dot"] | None = None
    """how vectors are compared; by default as the model's directory says, else by their cosine"""
    symmetric: bool = False
    """contrastive: the positive is to find its text as well"""
    margin: float = 1.0
    label_scale: float = 1.0
    """what the labels are divided by, so that they lie from -1 to 1 (STS-B: 5)"""
    matryoshka: tuple[int, ...] = ()
    """lengths of the beginnings of vectors that are vectors of their own, such as 768,256,64"""
    no_duplicates: bool = True
    """contrastive: no text is twice in a batch, where it would be a negative of itself"""
    pooling: (
        Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"] | None
    ) = None
    """which vector stands for a text; by default as the model's directory says, else the mean"""
    normalise: bool = False
    """vectors get length one"""
    query_prompt: str | None = None
    """what is put in front of every text; by default the prompt "query" of the directory"""
    document_prompt: str | None = None
    """what is put in front of the texts that belong to it, and of negatives; by default the prompt
    "document" of the directory"""
    modules: tuple[tuple[str, str], ...] = ()
    """(file, JSON) of the directory of sentence-transformers that the model is from; found there"""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = dict(scale=self.scale, margin=self.margin, label_scale=self.label_scale)
        if wrong := [f"{name} ({value})" for name, value in positive.items() if not value > 0]:
            raise ValueError(f"{', '.join(wrong)} must be above 0")
        if self.matryoshka:
            matryoshka(Contrastive(), self.matryoshka)  # which checks the lengths
        if self.pooling is not None and self.modules:
            raise ValueError(
                f"pooling={self.pooling!r}, but the modules.json of the model says how tokens are "
                "pooled; leave it out"
            )

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Of pairs with labels their correlation, else that of retrieval."""
        return "spearman" if self.loss == "cosine" else "ndcg@10"

    @property
    def apart(self) -> bool:
        return self.no_duplicates and self.loss != "triplet" and self.loss != "cosine"

    # ------------------------------------------------------------ model

    def planned(self, plan: Plan) -> Plan:
        """The plan with the modules behind the transformer.

        Raises:
            ValueError: a prompt that the pooling leaves out.
        """
        steps = () if self.pooling is None else (Pool((self.pooling,)),)
        sentence = of_texts(dict(self.modules)) if self.modules else Sentence(steps)
        whole = with_sentence(plan, sentence)
        return dataclasses.replace(whole, sentence=self._changed(whole.sentence))

    def equipped(self, model: Model) -> Model:
        plan = model.plan
        if not isinstance(plan, EmbeddingPlan):
            raise ValueError(
                f"a model with the head {plan.head!r} makes no vectors of texts; load it with "
                "head='embedding'"
            )
        plan = dataclasses.replace(plan, sentence=self._changed(plan.sentence))
        return model if plan == model.plan else rebuilt(model, plan)

    def _changed(self, sentence: Sentence) -> Sentence:
        """The record of a directory with the settings of this task."""
        given = {"query": self.query_prompt, "document": self.document_prompt}
        prompts = {name: text for name, text in given.items() if text is not None}
        changed = sentence.changed(
            normalised=self.normalise, prompts=prompts, similarity=self.similarity
        )
        left_out = any(isinstance(one, Pool) and not one.include_prompt for one in changed.steps)
        if left_out and any(changed.prompts.values()):
            raise ValueError(
                "the pooling of this model leaves prompts out (include_prompt), which is not done "
                'here: set --objective.query-prompt "" --objective.document-prompt "", or let '
                "model.encode make the vectors"
            )
        return changed

    # ------------------------------------------------------------ data

    def held_together(self, data):
        return (data.text,) if data.text else self.usual["text"]

    def columns(self, data: Table, records: Records, *, answered: bool = True) -> dict[str, str]:
        columns = super().columns(data, records, answered=answered)
        negatives = negative_columns(data, records)
        if not answered:
            return {role: name for role, name in columns.items() if role != "label"}
        if "text_pair" not in columns:
            raise ValueError(
                f"{records.name} has the columns {', '.join(map(repr, records.columns))}, and none "
                f"of {', '.join(map(repr, self.usual['text_pair']))}: pass --data.text-pair NAME"
            )
        if self.loss == "cosine" and "label" not in columns:
            raise ValueError(
                f"{records.name} has no column with how alike its texts are: pass --data.label NAME"
            )
        if self.loss in ("contrastive", "triplet") and data.label is None:
            columns.pop("label", None)
        if "label" in columns and (negatives or self.loss in ("contrastive", "triplet")):
            raise ValueError(
                f"{records.name} has labels ({columns['label']!r}) and "
                f"{f'negatives ({negatives})' if negatives else f'the loss {self.loss}'}; say with "
                "--objective.loss contrastive or triplet, and without --data.label, that labels "
                "are not read"
            )
        if self.loss == "triplet" and not negatives:
            raise ValueError(
                f"{records.name} has no column of negatives, which triplets need: pass "
                "--data.negatives NAME"
            )
        return columns | ({"negatives": negatives} if negatives else {})

    def _texts(self, form: Form, records: Records) -> dict[str, list[str]]:
        """The texts of each part, with their prompts."""
        sentence: Sentence = form.model.plan.sentence  # type: ignore[attr-defined]
        default = sentence.prompts.get(sentence.default_prompt or "", "")
        query = sentence.prompts.get("query", default)
        document = sentence.prompts.get("document", default)
        query = query if self.query_prompt is None else self.query_prompt
        document = document if self.document_prompt is None else self.document_prompt
        texts = {}
        for name, some in texts_of(form, records).items():
            prompt = query if name == ANCHOR else document
            texts[name] = [prompt + (one.lower() if sentence.lower else one) for one in some]
        return texts

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        notes, sides = [], dict[str, list[dict[str, np.ndarray]]]()
        for name, texts in self._texts(form, records).items():
            try:
                encoded = encode(form, texts)
            except LongRow as error:
                raise ValueError(f"{records.places[error.number]} {error}") from None
            sides[name] = encoded.sides
            notes.append(encoded.note(f"{records.name}, {name}", form.length))
        for name, texts in texts_of(form, records).items():
            blank = sum(not text.strip() for text in texts)
            notes += [f"{records.name}, {name}: {blank:,} texts are empty"] if blank else []
        for name, some in sides.items():
            if empty := [n for n, side in enumerate(some) if not len(side["input_ids"])]:
                raise ValueError(
                    f"{records.places[empty[0]]}: the text of {name!r} is empty; take the record "
                    "out"
                )
        once: list[dict[str, Any]] = [{} for _ in records.records]
        references: list[Any] | None = None
        if answered:
            references = [None] * len(records)
        if answered and "label" in form.columns:
            references = labels_of(form, records, self.label_scale)
            once = [{LABELS: np.float32(label)} for label in references]
        examples = [
            Example({}, once=own, parts={name: Example(side) for name, side in zip(sides, row)})
            for own, row in zip(once, zip(*sides.values()))
        ]
        owners = np.arange(len(examples))
        return Rows(records, numbered(examples), owners, references, notes=tuple(notes))

    def learned(self, rows, form):
        """The task with the loss that the columns say, and the similarity of the directory.

        Raises:
            ValueError: lengths of beginnings that vectors do not have.
        """
        size = form.model.head.spec.size
        if max(self.matryoshka, default=0) > size:
            raise ValueError(
                f"objective.matryoshka {self.matryoshka}: vectors of this model have {size} numbers"
            )
        loss = self.loss or ("cosine" if "label" in form.columns else "contrastive")
        similarity = form.model.plan.sentence.similarity
        if similarity not in ("cosine", "dot"):
            raise ValueError(
                f"the directory of the model compares vectors by their {similarity} distance; say "
                "with --objective.similarity cosine or dot how they are compared"
            )
        return dataclasses.replace(self, loss=loss, similarity=similarity)

    # ------------------------------------------------------------ training

    @property
    def objective(self) -> EmbeddingObjective:
        return EmbeddingObjective(self)

    @property
    def compared(self) -> ComparesRows:
        """The loss, of vectors."""
        similarity = self.similarity or "cosine"
        losses: dict[str, Callable[[], ComparesRows]] = {
            "contrastive": lambda: Contrastive(self.scale, similarity, self.symmetric),
            "cosine": CosineSimilarity,
            "triplet": lambda: Triplet(self.margin),
        }
        loss = losses[self.loss or "contrastive"]()
        return matryoshka(loss, self.matryoshka) if self.matryoshka else loss

    def minimise(self, model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
        return self.objective(model, batch, key)

    def measure(self, model, batch):
        vectors = self.objective.vectors(model, batch, None)
        named = dict(zip(in_order_of_loss(batch), vectors))
        return self.objective.of(vectors)[1], {**named, NUMBER: batch[NUMBER]}

    def respond(self, model, batch):
        calls = {name: batch[name] for name in parts_in(batch)}
        found = {name: model(**inputs).sentence_embedding for name, inputs in calls.items()}
        return {**jax.device_get(found), NUMBER: np.asarray(batch[NUMBER])}

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        vectors = nearest.vectors_of(answers, form)
        if "label" in form.columns:
            labels = np.asarray(rows.references, np.float64)
            return sentence_similarity(vectors[ANCHOR], vectors[POSITIVE], labels)
        texts = texts_of(form, rows.records)
        return nearest.figures(texts, vectors, ANCHOR, POSITIVE, self._similarity(form))

    def figure(self, answers, rows, form):
        vectors = nearest.vectors_of(answers, form)
        if "label" in form.columns:
            cosines = nearest.cosines(vectors[ANCHOR], vectors[POSITIVE])
            return scatter_of(rows.references, cosines.tolist())
        texts = texts_of(form, rows.records)
        found = nearest.ranks(texts, vectors, ANCHOR, POSITIVE, self._similarity(form))
        return histogram_of_ranks("the text that belongs to it", found)

    def _similarity(self, form: Form) -> str:
        return self.similarity or form.model.plan.sentence.similarity  # type: ignore[attr-defined]

    def predictions(self, answers, rows, form):
        vectors = nearest.vectors_of(answers, form)
        found = [{"embedding": row.tolist()} for row in vectors[ANCHOR]]
        if POSITIVE not in vectors:
            return found
        cosines = nearest.cosines(vectors[ANCHOR], vectors[POSITIVE])
        return [
            {**one, "embedding_pair": b.tolist(), "similarity": float(cosine)}
            for one, b, cosine in zip(found, vectors[POSITIVE], cosines)
        ]


@dataclass(frozen=True)
class EmbeddingObjective(ComparesRows):
    """The loss of a task of embeddings, in two stages (see `ComparesRows`): behind the vectors of
    the parts there are two columns, which rows count and their labels."""

    task: Embedding

    def vectors(self, model, batch, key):
        parts = {name: batch[name] for name in parts_in(batch)}
        known = _column(batch[NUMBER] != IGNORED)
        labels = _column(batch[LABELS]) if LABELS in batch else jnp.zeros_like(known)
        return [*super().vectors(model, parts, key), known, labels]

    def of(self, vectors, known=None, labels=None):
        *texts, known, labels = vectors
        return self.task.compared.of(texts, known[:, 0] > 0, labels[:, 0])

    def inputs(self, model, batch):
        return [batch[name] for name in parts_in(batch)]


def parts_in(batch: Batch) -> list[str]:
    """The names of the parts of a batch."""
    return [name for name, value in batch.items() if isinstance(value, Mapping)]


def in_order_of_loss(batch: Batch) -> list[str]:
    """The parts of a batch, in the order of their vectors."""
    return [ANCHOR, POSITIVE, *sorted({*parts_in(batch)} - {ANCHOR, POSITIVE})]


def _column(values: Array) -> Float[Array, "B 1"]:
    return jnp.asarray(values).astype(jnp.float32)[:, None]
