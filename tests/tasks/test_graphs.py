"""Classes of nodes and of graphs: batches, answers, whole runs, and what they refuse."""

import json

import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Table
from transformers_jax.data.generated import imports
from transformers_jax.data.tables import of_python
from transformers_jax.models.plan import Plan
from transformers_jax.optim import AdamW, Constant
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import GraphClassification, NodeClassification
from transformers_jax.tasks.corpus import read_task
from transformers_jax.training.config import Evaluation, Sample, TrainConfig
from transformers_jax.training.metrics import read

GAT = dict(in_channels=3, hidden_channels=8, num_layers=2, out_channels=2, heads=2)


def graphs(count, whole=False, seed=0):
    """Records of graphs of several sizes, whose nodes are of the class that their neighbours' sum
    says, or all of one; nothing of that is in the node itself."""
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        nodes = 6 + number % 5
        ring = np.array([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
        edges = np.concatenate([ring, ring[:, : number % 3]], 1)
        x = rng.normal(size=(nodes, 3))
        if whole:
            x[:, 0] = 2 * (number % 2) - 1
            label = ["low", "high"][number % 2]
        else:
            above = np.roll(x[:, 0], 1) > 0
            label = [["low", "high"][int(a)] if n else None for n, a in enumerate(above)]
        records.append({"x": x.tolist(), "edge_index": edges.tolist(), "label": label})
    return records


def config_of(records, out, task=None, **changes):
    file = out.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    settings = dict(
        model=tj.GatConfig(**GAT),
        objective=task or NodeClassification(),
        data=Table(train=str(file), validation=str(file), batch=4),
        optimizer=AdamW(peak=0.03, schedule=Constant(warmup=5)),
        evaluation=Evaluation(every=100),
        log_every=1,
        sample=Sample(count=0),
        steps=60,
        out=str(out),
    )
    return TrainConfig(**{**settings, **changes})


def corpus_of(records, task=None, **changes):
    task = task or NodeClassification()
    data = Table(train="records", batch=3)
    model = Plan(tj.GatConfig(**GAT), task.head).build()
    tables = {"train": of_python("train", records)}
    return read_task(data, task, None, model, tables=tables)


def test_batches_are_filled_up_to_what_they_hold():
    corpus = corpus_of(graphs(9))
    part = corpus.part(corpus.train, 0, shuffle=False)
    example = part.example(0, 1)
    assert example.once["x"].shape == (10, 3)
    assert example.once["attention_mask"].sum() == 7
    assert example.once["edge_mask"].sum() == 8
    assert (example.once["labels"][7:] == -100).all()
    assert example.once["labels"][0] == -100  # no class is known
    batch = {name: np.stack([value, value]) for name, value in example.once.items()}
    sized = corpus.train.examples.sized(batch, 8)
    assert sized["x"].shape == (2, 8, 3)
    assert sized["labels"].shape == (2, 8)
    assert "WARNING" not in "".join(corpus.notes)


def losses(folder):
    return {line["step"]: line["loss_hex"] for line in read(folder / "metrics.jsonl")}


def accuracy(folder, records):
    """Of the nodes whose class is known."""
    predicted = tj.predict(folder, [{k: r[k] for k in ("x", "edge_index")} for r in records])
    assert [len(one["labels"]) for one in predicted] == [len(r["x"]) for r in records]
    pairs = [zip(row["labels"], one["label"]) for row, one in zip(predicted, records)]
    return np.mean([a == b for pair in pairs for a, b in pair if b is not None])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(config_of(graphs(40), folder))
    return folder


def test_a_run_learns_what_edges_say_and_no_node(run, tmp_path):
    more = graphs(20, seed=3)
    assert accuracy(run, more) > 0.75
    fit(config_of(graphs(40), tmp_path / "alone", NodeClassification(edges=False)))
    assert accuracy(tmp_path / "alone", more) < 0.7  # the control


def test_a_run_that_is_continued_has_the_same_bits(run, tmp_path):
    config = config_of(graphs(40), tmp_path / "parts")
    fit(config.replace(steps=23, schedule_steps=60))
    fit(config)
    assert losses(tmp_path / "parts") == losses(run)
    fit(config_of(graphs(40), tmp_path / "other", seed=1, steps=1))
    assert losses(tmp_path / "other")[1] != losses(run)[1]  # the control


def test_graphs_are_classified_as_a_whole(tmp_path):
    records = graphs(24, whole=True)
    fit(config_of(records, tmp_path / "graphs", GraphClassification(), steps=40))
    given = [{name: one[name] for name in ("x", "edge_index")} for one in records[:3]]
    assert [p["label"] for p in tj.predict(tmp_path / "graphs", given)] == ["low", "high", "low"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"edge_index": [[0, 9], [1, 1]]},
            r"train\[0\].*edge_index\[0, 1\] is 9, which names no node",
        ),
        ({"label": ["low"]}, r"train\[0\].*expected a list with the class of each of the 6 nodes"),
        ({"x": [[0.0, 1.0]] * 6}, r"train\[0\].*x has shape \(6, 2\); expected \(nodes, 3\)"),
    ],
)
def test_what_is_no_graph_is_refused_with_its_place(change, message):
    records = graphs(2)
    corpus_of(records)  # the control
    with pytest.raises(ValueError, match=message):
        corpus_of([{**records[0], **change}, records[1]])


def test_the_import_graph_is_one_graph_in_all_splits():
    """Its classes are on one side each; json.decoder imports json.scanner, and is not told what
    package it is of by its words."""
    splits = {split: imports.records(split)[0] for split in ("train", "validation", "test")}
    names = splits["train"]["name"]
    known = np.array([[label is not None for label in one["label"]] for one in splits.values()])
    assert known.sum(0).max() == 1
    classes = {label for label in splits["test"]["label"] if label is not None}
    for split, count in imports.FEW.items():
        found = [label for label in splits[split]["label"] if label is not None]
        assert len(found) == count * len(classes)
        assert {*found} == classes
    edges = splits["test"]["edge_index"].T.tolist()
    decoder, scanner = names.index("json.decoder"), names.index("json.scanner")
    assert [decoder, scanner] in edges
    assert [scanner, decoder] in edges
    assert [decoder, names.index("asyncio.events")] not in edges
    assert splits["train"]["x"].shape == (len(names), imports.WORDS)
