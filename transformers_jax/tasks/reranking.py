"""Reranking: how relevant a document is to a query, by a model that reads both together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import wide
from transformers_jax.data.tables import Records
from transformers_jax.metrics import reranking
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.frozen import Frozen
from transformers_jax.models.output import Output
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.candidates import (
    FORMS,
    Candidates,
    by_query,
    candidates,
    groups_of,
)
from transformers_jax.tasks.choices import together
from transformers_jax.tasks.figures import histogram_of_ranks
from transformers_jax.tasks.nearest import rank_of
from transformers_jax.tasks.paired import negative_columns
from transformers_jax.tasks.rows import NUMBER, Form, LongRow, Rows, encode, numbered

COUNT = "candidates"
"""The entry of a batch that says how many candidates a query has; -100 where there is no query."""
ACTIVATION = "activation_fn"
SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Reranking(Task):
    """How relevant a document is to a query: both are read as one row, by a head with one output
    (Nogueira and Cho 2019), as CrossEncoder of sentence-transformers has it.

    A record is a pair, or a query with several candidates; pairs of one query are ranked together.
    """

    head: ClassVar[str] = "sequence_classification"
    metric: ClassVar[str] = "ndcg@10"
    needed: ClassVar[tuple[str, ...]] = ("text",)
    further: ClassVar[tuple[str, ...]] = ("negatives",)
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("query", "question", "anchor", "text"),
        "text_pair": ("document", "documents", "passage", "passages", "docs", "text_pair"),
        "label": ("label", "labels", "relevance", "score", "scores"),
        "positive": ("positive", "positives"),
    }
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, COUNT, "labels")

    ranking_loss: Literal["binary_cross_entropy", "mean_squared_error", "softmax", "list_net"] = (
        "binary_cross_entropy"
    )
    """of each candidate by itself: binary_cross_entropy of labels from 0 to 1, mean_squared_error
    of grades; or of all candidates of a query: softmax over scores, whose target are the shares of
    the labels (Zhuang et al. 2023, section 4.2), list_net, whose target is the softmax of the
    labels (Cao et al. 2007)"""

    @property
    def listwise(self) -> bool:
        """Whether a loss compares the candidates of a query."""
        return self.ranking_loss in ("softmax", "list_net")

    @property
    def _most(self) -> float:
        """That a label may be."""
        return 1.0 if self.ranking_loss == "binary_cross_entropy" else math.inf

    # ------------------------------------------------------------ data

    def held_together(self, data):
        return (data.text,) if data.text else self.usual["text"]

    def columns(self, data, records, *, answered=True):
        columns = super().columns(data, records, answered=answered)
        negatives = negative_columns(data, records)
        if "text_pair" not in columns and "positive" in columns and negatives:
            columns.pop("label", None)
            return {**columns, "negatives": negatives}
        columns.pop("positive", None)
        if "text_pair" not in columns or (answered and "label" not in columns):
            raise ValueError(
                f"{records.name} has the columns {', '.join(map(repr, records.columns))}; expected "
                f"{FORMS}: name the first three with --data.text, --data.text-pair and --data.label"
            )
        return columns

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        some = candidates(form, records, self._most if answered else None)
        if answered and self.listwise and not some.listed:
            records, some = by_query(form, records, some)
        try:
            encoded = encode(form, *some.pairs)
        except LongRow as error:
            raise ValueError(f"{records.places[some.owners[error.number]]} {error}") from None
        notes = [encoded.note(records.name, form.length)]
        blank = sum(not one.strip() for documents in some.documents for one in documents)
        notes += [f"{records.name}: {blank:,} documents are empty"] if blank else []
        if some.grades is not None:
            notes += [self._told(form, records, some)]
        pad = form.model.config.pad_token_id or 0
        if answered and self.listwise:
            examples = _lists(some, encoded.sides, int(np.ravel([pad])[0]))
            owners = np.arange(len(examples))
        else:
            once = [{"labels": np.float32(grade)} for row in some.grades or () for grade in row]
            once = once or [{} for _ in encoded.sides]
            examples = [Example(side, once=one) for side, one in zip(encoded.sides, once)]
            owners = some.owners
        return Rows(records, numbered(examples), owners, some.grades, notes=tuple(notes))

    def _told(self, form: Form, records: Records, some: Candidates) -> str:
        """How many queries and candidates there are, in a line.

        Raises:
            ValueError: a query without a relevant candidate, where a loss needs one.
        """
        _, grades, first = _of_queries(some, some.grades or [])
        without = [number for number, row in zip(first, grades) if not any(row)]
        if without and self.ranking_loss == "softmax":
            raise ValueError(
                f"{records.places[without[0]]}: no candidate of the query is relevant, so that a "
                "softmax over them has no target; take the record out, or pass "
                "--objective.ranking-loss list_net"
            )
        counts = [len(row) for row in grades]
        relevant = sum(grade > 0 for row in grades for grade in row)
        line = (
            f"{records.name}: {len(grades):,} queries with {min(counts):,} to {max(counts):,} "
            f"candidates, {relevant / sum(counts):.1%} of them relevant"
        )
        return line + (f"; {len(without):,} queries have none and count as 0" if without else "")

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        sigmoid = self.ranking_loss == "binary_cross_entropy"
        kept = {ACTIVATION: SIGMOID if sigmoid else IDENTITY}
        own = Frozen({**_kept(model), **kept})
        return model.replace(id2label={0: "LABEL_0"}, problem_type=None, sentence_transformers=own)

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        inputs = super().inputs(batch)
        if np.ndim(batch["input_ids"]) == 2:
            return inputs
        flat = lambda x: x.reshape(-1, *x.shape[2:]) if np.ndim(x) > 2 else x
        return {name: flat(value) for name, value in inputs.items()}

    def output(self, model, batch, key):
        logits = model(**self.inputs(batch), key=key).logits[:, 0]
        return Output(logits=logits.reshape(batch["input_ids"].shape[:-1]))

    def compare(self, output, batch):
        logits = output.logits.astype(wide(output.logits))
        labels = batch["labels"]
        if self.listwise:
            known = batch[COUNT] != IGNORED
            candidates = jnp.arange(logits.shape[1]) < batch[COUNT][:, None]
            losses = jnp.where(known, self._of_lists(logits, labels, candidates), 0.0)
        else:
            known = batch[NUMBER] != IGNORED
            losses = jnp.where(known, self._of_pairs(logits, labels), 0.0)
        total, count = losses.sum(), known.sum().astype(jnp.float32)
        return total / jnp.maximum(count, 1), {"loss": (total, count)}

    def _of_pairs(self, logits: Any, labels: Any) -> Any:
        """The loss of each candidate, [B]."""
        if self.ranking_loss == "mean_squared_error":
            return jnp.square(logits - labels)
        return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))

    def _of_lists(self, logits: Any, labels: Any, candidates: Any) -> Any:
        """The cross-entropy of the candidates of each query, [B]."""
        far = jnp.finfo(logits.dtype).min
        logs = jax.nn.log_softmax(jnp.where(candidates, logits, far), axis=1)
        if self.ranking_loss == "list_net":
            target = jax.nn.softmax(jnp.where(candidates, labels, far), axis=1)
        else:
            target = labels / jnp.maximum(labels.sum(1, keepdims=True), 1e-9)
        return -jnp.where(candidates, target * logs, 0.0).sum(1)

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        return reranking(*_scored(answers["logits"], rows, form))

    def figure(self, answers, rows, form):
        """Of the queries that have a relevant candidate; of equal scores the later is in front, as
        MRR has it."""
        queries = zip(*_scored(answers["logits"], rows, form))
        ranks = [
            rank_of(np.asarray(scores[::-1]), np.flatnonzero(grades[::-1]).tolist())
            for scores, grades in queries
            if any(grades)
        ]
        return histogram_of_ranks("the first relevant candidate", ranks)

    def predictions(self, answers, rows, form):
        some = candidates(form, rows.records, None)
        active = activation(form.model.config)
        found = []
        for documents, logits in zip(some.documents, _scores(answers["logits"], rows, some)):
            scores = active(np.asarray(logits, np.float64)).tolist()
            if not some.listed:
                found.append({"score": scores[0]})
                continue
            order = np.argsort(-np.asarray(scores), kind="stable").tolist()
            found.append({"ranking": [
                {"number": n, "document": documents[n], "score": scores[n]} for n in order
            ]})  # fmt: skip
        return found


def activation(config: FamilyConfig) -> Any:
    """What makes a score of a logit: that of config.json, where sentence-transformers keeps it, and
    a sigmoid where it says none, as there.

    Raises:
        ValueError: a function that is not known.
    """
    name = _kept(config).get(ACTIVATION) or SIGMOID
    known = {"Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Identity": lambda x: x}
    if (short := str(name).rpartition(".")[2]) not in known:
        raise ValueError(
            f"sentence_transformers.{ACTIVATION} in config.json is {name!r}; known are {SIGMOID} "
            f"and {IDENTITY}"
        )
    return known[short]


def _kept(config: FamilyConfig) -> Mapping[str, Any]:
    """What sentence-transformers keeps in config.json."""
    return config.sentence_transformers or Frozen()


def is_reranker(config: FamilyConfig) -> bool:
    """Whether config.json is one of a CrossEncoder with one output."""
    return config.num_labels == 1 and ACTIVATION in _kept(config)


def _lists(some: Candidates, sides: list[dict[str, Any]], pad: int) -> list[Example]:
    """An example of each query, with as many rows as the most that a query has: beyond its own
    candidates the first is repeated, and counts for nothing."""
    most, start, examples = max(len(one) for one in some.documents), 0, []
    for documents, grades in zip(some.documents, some.grades or []):
        own = sides[start : start + len(documents)]
        start += len(documents)
        labels = np.zeros(most, np.float32)
        labels[: len(grades)] = grades
        once: dict[str, Any] = {"labels": labels, COUNT: len(own)}
        examples.append(Example(together(own + own[:1] * (most - len(own)), pad), once=once))
    return examples


def _scores(logits: np.ndarray, rows: Rows, some: Candidates) -> list[np.ndarray]:
    """The logits of the candidates of each record: of those that are in the batches."""
    if logits.ndim == 2:
        return [row[: len(documents)] for row, documents in zip(logits, some.documents)]
    counts = np.bincount(rows.owners, minlength=len(some.documents))  # owners are in order
    return np.split(logits, np.cumsum(counts)[:-1])


def _scored(
    logits: np.ndarray, rows: Rows, form: Form
) -> tuple[list[list[float]], list[list[float]]]:
    """(the scores, the grades) of the candidates of each query whose candidates are all scored:
    evaluations of some batches may end within a query.

    Raises:
        ValueError: there is no such query.
    """
    some = candidates(form, rows.records, None)
    scored = _scores(logits, rows, some)
    whole = [n for n, row in enumerate(scored) if len(row) == len(some.documents[n])]
    if not whole:
        raise ValueError(
            "in so few batches no query has all of its candidates: raise --evaluation.batches"
        )
    some = Candidates(
        [some.queries[n] for n in whole],
        [some.documents[n] for n in whole],
        [(rows.references or ())[n] for n in whole],
        some.listed,
    )
    return _of_queries(some, [scored[n] for n in whole])[:2]


def _of_queries(
    some: Candidates, values: Sequence[Any]
) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """(values, grades, the number of the first record) of each query: pairs of one query belong
    together, and a list is a query of its own."""
    grades = some.grades or []
    groups = (
        [[number] for number in range(len(grades))]
        if some.listed
        else list(groups_of(some.queries).values())
    )
    join = lambda of, numbers: [float(one) for number in numbers for one in of[number]]
    return (
        [join(values, numbers) for numbers in groups],
        [join(grades, numbers) for numbers in groups],
        [numbers[0] for numbers in groups],
    )
