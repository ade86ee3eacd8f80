"""Classes of the nodes of graphs, and of graphs: records hold x, edge_index and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.data.tables import Records
from transformers_jax.json_files import errors_of
from transformers_jax.metrics import classification
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.base import OfClasses
from transformers_jax.tasks.figures import confusion_of
from transformers_jax.tasks.rows import NUMBER, Drawn, Form, Rows
from transformers_jax.tasks.sequences import LABEL, SequenceClassification, softmax

GRAPH = {
    "x": ("x", "node_feat", "features"),
    "edge_index": ("edge_index", "edges"),
    "edge_attr": ("edge_attr", "edge_features"),
}
"""Usual names of the columns of a graph."""
OF_NODES = ("x", "attention_mask", "labels")
OF_EDGES = ("edge_index", "edge_attr", "edge_mask")
UNIT = 64  # edges by which the lists of batches differ: a program is compiled for each length


class GraphExamples(Drawn):
    """Examples of graphs, filled up to the largest, each with what else there is of it.

    Args:
        graphs: of each, the arguments of a model.
        once: of each, such as its label.
    """

    def __init__(
        self, graphs: Sequence[Mapping[str, np.ndarray]], once: Sequence[Mapping[str, Any]]
    ):
        self.graphs, self.once = graphs, once
        self.nodes = np.array([len(graph["x"]) for graph in graphs])
        self.length = int(self.nodes.max())
        self.edges = max(graph["edge_index"].shape[1] for graph in graphs)
        sums = hashlib.sha256()
        for some in (*graphs, *once):
            for name, value in sorted(some.items()):
                sums.update(name.encode() + np.ascontiguousarray(value).tobytes())
        self.fingerprint = sums.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def lengths(self):
        return np.stack([self.nodes, np.zeros_like(self.nodes)], axis=1)

    def __getitem__(self, number: Any) -> Any:
        graph, nodes = self.graphs[number], self.nodes[number]
        filled = {
            "attention_mask": (np.arange(self.length) < nodes).astype(np.int32),
            "edge_mask": np.arange(self.edges) < graph["edge_index"].shape[1],
        }
        filled["edge_mask"] = filled["edge_mask"].astype(np.int32)
        for name, array in graph.items():
            axis = 1 if name == "edge_index" else 0
            short = (self.edges if name in OF_EDGES else self.length) - array.shape[axis]
            room = [(0, short if n == axis else 0) for n in range(array.ndim)]
            filled[name] = np.pad(array, room, constant_values=IGNORED * (name == "labels"))
        return Example(once={**filled, **self.once[number], NUMBER: number}, size=int(nodes))

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        return self[number]

    def sized(self, batch, width):
        """The batch without columns that hold nothing in any of its rows."""
        used = np.flatnonzero(batch["edge_mask"].any(0))
        most = min(-(-(int(used[-1]) + 1 if len(used) else 1) // UNIT) * UNIT, self.edges)
        for name in OF_NODES:
            if name in batch and np.ndim(batch[name]) > 1:
                batch[name] = batch[name][:, :width]
        for name in OF_EDGES:
            if name in batch:
                cut = (..., slice(most)) if name != "edge_attr" else (slice(None), slice(most))
                batch[name] = batch[name][cut]
        return batch

    def select(self, numbers: Sequence[int]) -> GraphExamples:
        kept = lambda values: [values[number] for number in numbers]
        return GraphExamples(kept(self.graphs), kept(self.once))


def graphs_of(form: Form, records: Records, edges: bool = True) -> list[dict[str, np.ndarray]]:
    """The arguments of the model of each graph.

    Args:
        edges: whether the model sees them.

    Raises:
        ValueError: what is no graph, or none for this model, by its place.
    """
    roles = [role for role in GRAPH if role in form.columns]
    found = []
    for number, where in enumerate(records.places):
        record = records.records[number]
        with errors_of(where):
            graph = {role: np.asarray(record[form.columns[role]]) for role in roles}
            graph["x"] = graph["x"].astype(np.float32)
            if graph["edge_index"].size == 0:
                graph["edge_index"] = np.zeros((2, 0), np.int32)
            if "edge_attr" in graph:
                graph["edge_attr"] = graph["edge_attr"].astype(np.float32)
            form.model.check(graph)
            if not edges:
                graph["edge_index"] = graph["edge_index"][:, :0]
        graph["edge_index"] = graph["edge_index"].astype(np.int32)
        found.append(graph)
    return found


def note_of(records: Records, graphs: Sequence[Mapping[str, np.ndarray]]) -> str:
    """How many nodes and edges there are, in a line."""
    nodes = sum(len(graph["x"]) for graph in graphs)
    edges = sum(graph["edge_index"].shape[1] for graph in graphs)
    many = f"{len(graphs):,} graph{'s' * (len(graphs) > 1)}"
    return f"{records.name}: {many}, {nodes:,} nodes, {edges:,} edges"


@dataclass(frozen=True)
class NodeClassification(OfClasses):
    """One of several classes for each node of a graph (Kipf and Welling 2016, section 5): a table
    with columns "x" (numbers of each node), "edge_index" (two numbers of each edge) and "label" (a
    class of each node, or null where it is not known). Of one graph whose nodes are in several
    splits, each split has the whole graph, and the classes of its own nodes.

    The loss is the mean cross-entropy over the nodes whose class is known.
    """

    head: ClassVar[str] = "node_classification"
    metric: ClassVar[str] = "accuracy"
    reads: ClassVar[tuple[str, ...]] = ("graphs",)
    needed: ClassVar[tuple[str, ...]] = ("x", "edge_index", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {**GRAPH, "label": (*LABEL, "y")}
    peak: ClassVar[float] = 5e-3

    edges: bool = True
    """whether the model sees the edges: without them it says of each node what the node itself
    tells, as a feed-forward network does"""

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        return model.replace(out_channels=len(classes), id2label=dict(enumerate(classes)))

    def classes(self, form, records):
        column = form.columns["label"]
        found = [
            names.name_of(value, where, column)
            for where, values in self._values(form, records)
            for value in values
            if value is not None
        ]
        return names.chosen(form.model.config, found, several=True)

    def _values(self, form: Form, records: Records) -> list[tuple[str, Sequence[Any]]]:
        """(where it is, the class of each node or None) of each graph.

        Raises:
            ValueError: no class for each node.
        """
        column, pairs = form.columns["label"], []
        values = zip(form.values(records, "label"), form.values(records, "x"), records.places)
        for some, x, where in values:
            if not isinstance(some, list | tuple | np.ndarray) or len(some) != len(x):
                raise ValueError(
                    f"{where}: {column!r} holds {some!r:.40}; expected a list with the class of "
                    f"each of the {len(x)} nodes, null where it is not known"
                )
            pairs.append((where, some.tolist() if isinstance(some, np.ndarray) else some))
        return pairs

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        graphs, labels = graphs_of(form, records, self.edges), None
        notes, asked = [note_of(records, graphs)], None
        if answered:
            column = form.columns["label"]
            number = lambda value, where: (
                IGNORED
                if value is None
                else names.number_of(names.name_of(value, where, column), form.classes, where)
            )
            pairs = self._values(form, records)
            labels = [np.array([number(v, w) for v in some], np.int32) for w, some in pairs]
            known = [int(n) for some in labels for n in some if n != IGNORED]
            asked = len(known)
            notes.append(f"{records.name}: {names.counts(known, form.classes)}")
            graphs = [{**graph, "labels": one} for graph, one in zip(graphs, labels)]
        examples = GraphExamples(graphs, [{} for _ in graphs])
        owners = np.arange(len(graphs))
        return Rows(records, examples, owners, labels, notes=tuple(notes), asked=asked)

    def compare(self, output, batch):
        real = (batch[NUMBER] >= 0)[:, None]
        return super().compare(
            output, {**batch, "labels": jnp.where(real, batch["labels"], IGNORED)}
        )

    # ------------------------------------------------------------ answers

    def _answered(self, answers: Any, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """(predicted, expected) of all nodes whose class is known."""
        assert rows.references is not None
        pairs = [
            (logits[: len(labels)].argmax(-1)[labels != IGNORED], labels[labels != IGNORED])
            for logits, labels in zip(answers["logits"], rows.references)
        ]
        predicted, expected = zip(*pairs)
        return np.concatenate(predicted), np.concatenate(expected)

    def metrics(self, answers, rows, form):
        return classification(*self._answered(answers, rows), answers["logits"].shape[-1])

    def figure(self, answers, rows, form):
        return confusion_of(form.classes, *self._answered(answers, rows))

    def predictions(self, answers, rows, form):
        predicted = []
        for logits, count in zip(answers["logits"], rows.examples.nodes):  # type: ignore[attr-defined]
            scores = softmax(logits[:count])
            labels = [form.classes[best] for best in scores.argmax(-1)]
            predicted.append({"labels": labels, "scores": scores.max(-1).astype(float).tolist()})
        return predicted


@dataclass(frozen=True)
class GraphClassification(SequenceClassification):
    """One of several classes for each graph of a table, with columns "x", "edge_index" and "label".
    Loss, weights of classes and metrics are those of texts."""

    head: ClassVar[str] = "graph_classification"
    reads: ClassVar[tuple[str, ...]] = ("graphs",)
    needed: ClassVar[tuple[str, ...]] = ("x", "edge_index", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {**GRAPH, "label": (*LABEL, "y")}
    peak: ClassVar[float] = 1e-3

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        graphs, references = graphs_of(form, records), None
        notes, once = [note_of(records, graphs)], [dict[str, Any]() for _ in graphs]
        if answered:
            references, note = self.labels(form, records)
            once = [{"labels": label} for label in references]
            notes.append(f"{records.name}: {note}")
        examples, owners = GraphExamples(graphs, once), np.arange(len(graphs))
        return Rows(records, examples, owners, references, notes=tuple(notes))
