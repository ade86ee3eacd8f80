"""Documents ranked for a query: rows, losses, figures and predictions."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax.data.packing import assemble
from transformers_jax.data.tables import hold_out, of_python
from transformers_jax.runs.finetune import main
from transformers_jax.tasks import Reranking
from transformers_jax.tasks.base import TaskObjective, in_order
from transformers_jax.tasks.corpus import layout_of
from transformers_jax.tasks.reranking import IDENTITY, SIGMOID, activation

LISTS = [
    {"query": "a good film", "documents": ["fine story", "a sad plot", "the book was bad"],
     "labels": [1, 0, 0]},
    {"query": "a bad book", "documents": ["awful", "nice film"], "labels": [1, 0]},
]  # fmt: skip
PAIRS = [
    {"query": one["query"], "document": document, "label": label}
    for one in LISTS
    for document, label in zip(one["documents"], one["labels"])
]
MARKED = [
    {"query": one["query"], "positive": one["documents"][0], "negatives": one["documents"][1:]}
    for one in LISTS
]
LISTWISE = [Reranking(ranking_loss="softmax"), Reranking(ranking_loss="list_net")]


def model_for(encoder, corpus):
    config = corpus.task.fitted(tj.AutoConfig.from_pretrained(encoder), ())
    config = config.replace(initializer_range=0.5)  # so that rows are answered unlike
    return tj.from_config(config, head=corpus.task.head, key=jax.random.key(3))


def batch_of(corpus, empty=0):
    examples = corpus.train.examples
    return assemble([[one] for one in examples] + [[]] * empty, layout_of(corpus))


def logits_of(model, encoder):
    """The logit of each pair, each alone in a batch."""
    tokenizer = tj.load_tokenizer(encoder)
    rows = [tokenizer.batch([one["query"]], [one["document"]]) for one in PAIRS]
    return np.array([model(**row).logits[0, 0] for row in rows], np.float64)


def test_pairs_lists_and_marked_documents_are_the_same_rows(encoder):
    corpus = corpus_of(encoder, PAIRS, Reranking())
    tokenizer = tj.load_tokenizer(encoder)
    expected = tokenizer.batch(*zip(*((p["query"], p["document"]) for p in PAIRS)), padding=False)
    for number, example in enumerate(corpus.train.examples):
        for name in ("input_ids", "token_type_ids"):
            assert (example.tokens[name] == expected[name][number]).all()
    for records in (LISTS, MARKED):
        assert corpus_of(encoder, records, Reranking()).fingerprint == corpus.fingerprint
    apart = [
        {"query": one["query"], "positive": one["positive"], "negative_1": one["negatives"][:1],
         "negative_2": one["negatives"][1:]}
        for one in MARKED
    ]  # fmt: skip
    assert corpus_of(encoder, apart, Reranking()).fingerprint == corpus.fingerprint
    assert "2 queries with 2 to 3 candidates, 40.0% of them relevant" in "\n".join(corpus.notes)
    other = corpus_of(encoder, [*PAIRS[:-1], {**PAIRS[-1], "label": 1}], Reranking())
    assert other.fingerprint != corpus.fingerprint  # the control


def test_losses_of_single_candidates_are_those_of_pytorch(encoder):
    labels = np.array([one["label"] for one in PAIRS], float)
    for name in ("binary_cross_entropy", "mean_squared_error"):
        corpus = corpus_of(encoder, PAIRS, Reranking(ranking_loss=name))
        model = model_for(encoder, corpus)
        logits = logits_of(model, encoder)
        p = 1 / (1 + np.exp(-logits))
        expected = np.mean((logits - labels) ** 2)
        if name == "binary_cross_entropy":  # torch.nn.BCEWithLogitsLoss
            expected = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
        loss, sums = TaskObjective(corpus.task)(model, batch_of(corpus, empty=2), None)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert sums["loss"][1] == 5


@pytest.mark.parametrize("task", LISTWISE, ids=lambda task: task.ranking_loss)
def test_losses_of_lists_compare_the_candidates_of_a_query_alone(encoder, task):
    """Neither rows that fill up a shorter list count, nor empty ones."""
    corpus = corpus_of(encoder, LISTS, task)
    assert corpus_of(encoder, PAIRS, task).fingerprint == corpus.fingerprint
    batch = batch_of(corpus, empty=1)
    assert batch["input_ids"].shape[:2] == (3, 3)
    assert batch["candidates"].tolist() == [3, 2, -100]
    model = model_for(encoder, corpus)
    loss, sums = TaskObjective(task)(model, batch, None)
    softmax = lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    parts = []
    for part, one in zip(np.split(logits_of(model, encoder), [3]), LISTS):
        labels = np.array(one["labels"], float)
        target = labels / labels.sum() if task.ranking_loss == "softmax" else softmax(labels)
        parts.append(-(target * np.log(softmax(part))).sum())
    assert loss == pytest.approx(np.mean(parts), rel=1e-5)
    assert sums["loss"][1] == 2
    counted = {**batch, "candidates": np.array([3, 3, -100])}
    assert TaskObjective(task)(model, counted, None)[0] != pytest.approx(np.mean(parts), rel=1e-3)
    gradient = jax.grad(lambda x: task.compare(tj.Output(logits=x), batch)[0])(np.ones((3, 3)))
    assert np.asarray(gradient[2]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("task", [Reranking(), *LISTWISE], ids=lambda task: task.ranking_loss)
def test_figures_and_answers_are_of_queries_whatever_the_form(encoder, task):
    found = []
    for records in (PAIRS, LISTS):
        corpus = corpus_of(encoder, records, task)
        model = model_for(encoder, corpus)
        measured = [task.measure(model, batch_of(corpus, empty=1))[1]]
        answers, rows = in_order([{k: np.asarray(v) for k, v in measured[0].items()}], corpus.train)
        found.append(task.metrics(answers, rows, corpus.form))
    logits = np.split(logits_of(model, encoder), [3])
    expected = tj.metrics.reranking(logits, [one["labels"] for one in LISTS])
    assert found[0] == pytest.approx(expected)
    assert found[1] == pytest.approx(expected)
    assert set(expected) == {"ndcg@10", "mrr@10", "map"}


def test_predictions_are_scores_of_pairs_and_rankings_of_lists(encoder):
    corpus = corpus_of(encoder, LISTS, Reranking())
    model = model_for(encoder, corpus)
    tokenizer = tj.load_tokenizer(encoder)
    probabilities = 1 / (1 + np.exp(-logits_of(model, encoder)))
    single = tj.predict(model, [{**one, "label": None} for one in PAIRS], tokenizer=tokenizer)
    assert [one["score"] for one in single] == pytest.approx(list(probabilities), abs=1e-5)
    bare = [{"query": one["query"], "documents": one["documents"]} for one in LISTS]
    ranked = tj.predict(model, bare, tokenizer=tokenizer)
    for one, some, scores in zip(ranked, LISTS, np.split(probabilities, [3])):
        assert [part["number"] for part in one["ranking"]] == np.argsort(-scores).tolist()
        assert one["ranking"][0]["document"] == some["documents"][int(scores.argmax())]


def test_an_activation_that_is_not_known_is_refused(encoder):
    config = Reranking().fitted(tj.AutoConfig.from_pretrained(encoder), ())
    assert activation(config)(0.0) == 0.5
    other = config.replace(sentence_transformers={"activation_fn": "torch.nn.Tanh"})
    with pytest.raises(ValueError, match=r"activation_fn in config.json is 'torch\.nn\.Tanh'"):
        activation(other)


def test_a_query_is_held_out_with_all_of_its_pairs():
    records = of_python(
        "t", [{"query": f"q{n // 5}", "document": f"d{n}", "label": n % 2} for n in range(200)]
    )
    parts = hold_out(records, 0.3, Reranking().usual["text"])
    sides = [{one["query"] for one in parts[name].records} for name in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert len(parts["validation"]) == 5 * len(sides[1])
    apart = hold_out(records, 0.3)  # the control
    assert {r["query"] for r in apart["train"].records} & {
        r["query"] for r in apart["validation"].records
    }


@pytest.mark.parametrize(
    ("records", "task", "words"),
    [
        ([{"query": "a", "text": "b"}], Reranking(), "expected a query, a document and a label"),
        ([{**PAIRS[0], "label": 3}], Reranking(), r"t\[0\]: 'label' holds 3; expected 0, 1 or"),
        ([{**PAIRS[0], "label": None}], Reranking(), "holds None"),
        ([PAIRS[0], {**PAIRS[1], "document": ["a"]}], Reranking(), r"t\[1\].*expected a text, as"),
        ([LISTS[0], {**LISTS[1], "documents": "a"}], Reranking(), "expected a list of texts"),
        ([{**LISTS[0], "labels": [1, 0]}], Reranking(), "a number for each of 3 documents"),
        ([{**LISTS[0], "documents": [], "labels": []}], Reranking(), "no document to rank"),
        ([{**MARKED[0], "positive": [], "negatives": []}], Reranking(), "no document to rank"),
        ([{**MARKED[0], "negatives": 3}], Reranking(), "holds 3; expected a text, or a list"),
        ([{**LISTS[0], "labels": [0, 0, 0]}], LISTWISE[0], "no candidate of the query is relevant"),
        ([{**LISTS[0], "labels": [0, 0, -1]}], LISTWISE[1], "expected numbers not below 0"),
    ],
)
def test_a_record_that_cannot_be_ranked_is_refused(encoder, records, task, words):
    with pytest.raises(ValueError, match=words):
        corpus_of(encoder, records, task)


def test_grades_need_a_loss_of_grades(encoder):
    """The advice of the error is good."""
    graded = [{**one, "label": 2 * one["label"]} for one in PAIRS]
    for name in ("mean_squared_error", "list_net", "softmax"):
        assert corpus_of(encoder, graded, Reranking(ranking_loss=name))


def test_a_command_trains_a_cross_encoder_that_ranks(encoder, tmp_path, capsys):
    draw, table = np.random.default_rng(0), tmp_path / "train.jsonl"
    words = ["good", "bad", "sad", "fine"]
    records = []
    for _ in range(120):
        query, *others = (str(word) for word in draw.permutation(words)[:3])
        records.append({"query": query, "positive": f"a {query} film", "negatives": others})
    table.write_text("".join(json.dumps(record) + "\n" for record in records))
    out = tmp_path / "run"
    flags = (
        f"--task reranking --model {encoder} --data.train {table} --out {out} --epochs 2 --batch 8 "
        "--learning-rate 1e-2 --objective.ranking-loss softmax"
    )
    assert main(flags.split()) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    figures = [line for line in lines if "eval_ndcg@10" in line]
    assert {"eval_loss", "eval_mrr@10", "eval_map"} <= figures[-1].keys()
    assert max(line["eval_mrr@10"] for line in figures) > 0.8
    kept = json.loads((out / "model" / "config.json").read_text())
    assert kept["id2label"] == {"0": "LABEL_0"}
    assert "problem_type" not in kept
    assert kept["sentence_transformers"] == {"activation_fn": IDENTITY}
    assert Reranking().fitted(tj.AutoConfig.from_pretrained(encoder), ()).sentence_transformers[
        "activation_fn"
    ] == SIGMOID  # fmt: skip
    ranked = tj.predict(
        out / "model", [{"query": "sad", "documents": ["a bad film", "a sad film"]}]
    )
    assert ranked[0]["ranking"][0]["number"] == 1
    assert tj.evaluate(out, records)["mrr@10"] > 0.8


def test_negatives_have_the_columns_that_are_named(encoder):
    named = [
        {
            "query": one["query"],
            "positive": one["positive"],
            "hard": one["negatives"],
            "negative": "a",
        }
        for one in MARKED
    ]
    own = corpus_of(encoder, named, Reranking(), negatives="hard")
    assert own.fingerprint == corpus_of(encoder, MARKED, Reranking()).fingerprint
    usual = corpus_of(encoder, named, Reranking())  # the control
    assert usual.fingerprint != own.fingerprint


def test_empty_documents_are_told(encoder):
    some = [{**LISTS[0], "documents": ["fine story", "", " "]}, LISTS[1]]
    assert "2 documents are empty" in "\n".join(corpus_of(encoder, some, Reranking()).notes)
    assert "are empty" not in "\n".join(corpus_of(encoder, LISTS, Reranking()).notes)


def test_figures_of_some_batches_are_of_whole_queries(encoder):
    task = Reranking()
    corpus = corpus_of(encoder, LISTS, task)
    logits = np.array([3.0, 1.0, 2.0, 0.0, 1.0])
    rows = corpus.train.some([0, 1, 2, 3])  # the second query lacks a candidate
    found = task.metrics({"logits": logits[:4]}, rows, corpus.form)
    assert found == {"ndcg@10": 1.0, "mrr@10": 1.0, "map": 1.0}
    every = task.metrics({"logits": logits}, corpus.train, corpus.form)
    assert every["mrr@10"] == 0.75
    with pytest.raises(ValueError, match="raise --evaluation"):
        task.metrics({"logits": logits[:2]}, corpus.train.some([0, 1]), corpus.form)
