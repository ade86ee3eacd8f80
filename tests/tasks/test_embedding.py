"""Embeddings: rows of several texts, batches without duplicates, losses, figures, the journey."""

import dataclasses
import functools
import json
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import BAD, GOOD, OTHER, write
from transformers_jax import cli
from transformers_jax.data import packing
from transformers_jax.data.config import Table
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.stream import Cursor, Position, Stream
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.embedding.directory import read
from transformers_jax.models.plan import Plan
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.sentence import Normalise
from transformers_jax.pretrained import head_of
from transformers_jax.runs import evaluate
from transformers_jax.runs import finetune as command
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import Embedding
from transformers_jax.tasks.corpus import layout_of, read_task
from transformers_jax.tasks.embedding import EmbeddingObjective
from transformers_jax.tasks.nearest import ranked
from transformers_jax.tasks.parts import TaskPart, apart
from transformers_jax.tasks.rows import fingerprint_of, length_of
from transformers_jax.training.gradients import BatchLoss

FIXTURE = json.loads(Path(__file__).with_name("embedding.json").read_text())
WORDS = [*GOOD, *BAD, *OTHER]
QUICK = dict(learning_rate=1e-2, batch=16, epochs=3)


def pairs(count, seed=0, **more):
    """Records of a few words, and of the same in another order with one more."""
    draw, records = random.Random(seed), []
    for _ in range(count):
        words = draw.sample(WORDS, 3)
        other = [*draw.sample(words, 3), draw.choice(WORDS)]
        records.append({"query": " ".join(words), "document": " ".join(other), **more})
    return records


def corpus_of(encoder, records, task=None, **settings):
    """The rows of records, and an abstract model for them."""
    task = task or Embedding()
    tokenizer = load_tokenizer(encoder)
    config = tj.AutoConfig.from_pretrained(encoder)
    model = task.planned(Plan(config, head_of(config, "embedding"))).build()
    data = Table(train="t", validation_fraction=0, **settings)
    with pytest.MonkeyPatch.context() as patch:
        table = {"train": of_python("t", records)}
        patch.setattr("transformers_jax.tasks.corpus.read_tables", lambda *_: table)
        return read_task(data, task, tokenizer, model)


def encoder_of(params, dropout=0.0):
    """A model as an objective calls it: the mean of its tokens, through one layer."""

    def call(input_ids, attention_mask, key):
        x = jnp.tanh(params["table"][input_ids] @ params["layer"])
        if key is not None:
            x = x * jax.random.bernoulli(key, 1 - dropout, x.shape)
        mask = attention_mask[..., None]
        return {"sentence_embedding": (x * mask).sum(1) / jnp.maximum(mask.sum(1), 1)}

    return call


def parameters(width=6):
    keys = jax.random.split(jax.random.key(2))
    return {
        "table": jax.random.normal(keys[0], (40, width)),
        "layer": jax.random.normal(keys[1], (width, width)),
    }


def batch_of(rows=8, empty=2, negatives=1, seed=0):
    """A batch of texts of unlike length; the last rows are empty."""
    draw = np.random.default_rng(seed)
    names = ["anchor", "positive", *(f"negative_{n}" for n in range(1, negatives + 1))]
    batch = {}
    for width, name in enumerate(names, 4):
        ids = draw.integers(1, 40, (rows, width)).astype(np.int32)
        mask = (np.arange(width) < draw.integers(2, width + 1, (rows, 1))).astype(np.int32)
        mask[rows - empty :] = 0
        batch[name] = {"input_ids": ids * mask, "attention_mask": mask}
    number = np.arange(rows, dtype=np.int32)
    number[rows - empty :] = IGNORED
    return {**batch, "number": number}


# ---------------------------------------------------------------- rows of several texts


def test_every_text_is_a_part_of_its_own_width(encoder):
    long = " ".join(["very good film"] * 12)
    records = [{"query": "a film", "document": long, "negative": "bad"} for _ in range(3)]
    corpus = corpus_of(encoder, records, batch=4, length=40)
    batch = evaluation_batches(corpus.part(corpus.train, 0, shuffle=False), "t")[0]
    shapes = {name: batch[name]["input_ids"].shape for name in ("anchor", "positive", "negative")}
    assert shapes == {"anchor": (4, 32), "positive": (4, 40), "negative": (4, 32)}
    counts = [4, 38, 3]
    rows = int((batch["number"] != IGNORED).sum())
    assert batch["anchor"]["attention_mask"].sum() == rows * counts[0]
    held, size = packing.held(batch)
    assert (held, size) == (rows * sum(counts), 4 * (32 + 40 + 32))
    assert packing.positions(batch, 0) == size
    assert packing.rows_of(batch) == 4
    assert length_of(corpus.train.examples[0]) == sum(counts)


def test_the_fingerprint_knows_every_part_by_its_name(encoder):
    one, other = (corpus_of(encoder, pairs(4, seed)).train for seed in (0, 1))
    examples = list(one.examples)
    again = corpus_of(encoder, pairs(4)).train
    assert again.fingerprint == one.fingerprint != other.fingerprint
    parts = examples[2].parts
    swapped = {"anchor": parts["positive"], "positive": parts["anchor"]}
    examples[2] = dataclasses.replace(examples[2], parts=swapped)
    assert fingerprint_of(examples) != one.fingerprint


# ---------------------------------------------------------------- no duplicates


def repeated(count=90):
    """Records of which many share a text."""
    return [
        {"query": f"the {WORDS[n % 21]} {WORDS[n // 21]}", "document": WORDS[n % 13]}
        for n in range(count)
    ]


def texts_in(batch):
    """The texts of each row of a batch, by their ids."""
    rows = []
    for number, row in enumerate(zip(batch["anchor"]["input_ids"], batch["positive"]["input_ids"])):
        if batch["number"][number] != IGNORED:
            rows.append({tuple(ids[ids > 0].tolist()) for ids in row})
    return rows


@pytest.mark.parametrize("rows", ["padded", "bucketed"])
def test_no_text_is_twice_in_a_batch_and_every_record_is_read_once(encoder, rows):
    corpus = corpus_of(encoder, repeated(), batch=8, window=30, rows=rows)
    part = corpus.part(corpus.train, 5)
    stream = Stream([part], [1.0], part.data)
    limit, size = sum(stream.groups_of(2)), lambda step: 8
    found = list(stream.batches(stream.start, size, 0, limit))
    for batch, _ in found:
        texts = texts_in(batch)
        assert sum(map(len, texts)) == len(set().union(*texts))
    numbers = np.concatenate([batch["number"] for batch, _ in found])
    numbers = numbers[numbers != IGNORED]
    assert sorted(numbers[:90]) == sorted(numbers[90:]) == list(range(90))
    assert numbers[:90].tolist() != numbers[90:].tolist()
    assert len(found) * 8 == limit
    assert found[-1][1].parts[0] == Cursor(2, 0, 0)

    again = Stream([corpus.part(corpus.train, 5)], [1.0], part.data)
    middle = Position.from_json(found[4][1].to_json())
    for (batch, _), (expected, _) in zip(again.batches(middle, size, 5, limit), found[5:]):
        jax.tree.map(np.testing.assert_array_equal, batch, expected)

    plain = TaskPart(corpus.train, part.data, layout_of(corpus), 5)  # the control
    batches = [batch for batch, _ in Stream([plain], [1.0], part.data).batches(
        stream.start, size, 0, 90)]  # fmt: skip
    assert any(sum(map(len, texts)) > len(set().union(*texts)) for texts in map(texts_in, batches))
    moved = int(part.note.split()[0])
    assert moved > 10
    assert f"{moved} of 90 records are moved to another batch" in part.note


def test_examples_wait_only_for_a_text_of_their_own():
    texts = [frozenset({b"a", b"b"}), frozenset({b"a"}), frozenset({b"c"}), frozenset({b"d"})]
    assert apart(texts, 2) == ([[0, 2], [1, 3]], 1)
    assert apart(texts[2:] * 1, 2) == ([[0, 1]], 0)
    twice = [frozenset({text}) for text in (b"a", b"b", b"c", b"c")]  # the last two exchange
    assert apart(twice, 2) == ([[3, 1], [2, 0]], 1)
    assert apart([frozenset({b"a"})] * 3, 2) == ([[0], [1], [2]], 2)


def test_losses_of_single_rows_are_read_as_they_come(encoder):
    records = [{**record, "label": 0.5} for record in repeated(20)]
    corpus = corpus_of(encoder, records, batch=8)
    assert corpus.task.loss == "cosine"
    assert type(corpus.part(corpus.train, 0)) is TaskPart
    off = corpus_of(encoder, repeated(20), Embedding(no_duplicates=False), batch=8)
    assert type(off.part(off.train, 0)) is TaskPart


# ---------------------------------------------------------------- losses


def of_fixture(task, names, labels=None, extra=0):
    """The loss of the vectors of the fixture, with rows that are not known behind them."""
    parts = [np.array(FIXTURE["parts"][name]) for name in names]
    filled = [jnp.asarray(np.concatenate([x, np.full((extra, 6), 3.0 + n)]), jnp.float32)
              for n, x in enumerate(parts)]  # fmt: skip
    known = jnp.arange(5 + extra) < 5
    labels = np.zeros(5) if labels is None else np.array(labels)
    labels = jnp.asarray(np.concatenate([labels, np.full(extra, 0.7)]), jnp.float32)
    loss, figures = task.compared.of(filled, known, labels)
    np.testing.assert_allclose(figures["loss"][0] / figures["loss"][1], loss, rtol=1e-6)
    return float(loss)


ALL = ("anchor", "positive", "negative_1", "negative_2")
LOSSES = {
    "contrastive": (Embedding(), ALL, None),
    "contrastive without negatives": (Embedding(loss="contrastive"), ALL[:2], None),
    "cosine": (Embedding(loss="cosine"), ALL[:2], FIXTURE["labels"]),
    "triplet": (Embedding(loss="triplet"), ALL[:3], None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_sentence_transformers_and_empty_rows_count_for_nothing(name):
    task, names, labels = LOSSES[name]
    expected = FIXTURE["losses"][name]
    assert of_fixture(task, names, labels) == pytest.approx(expected, rel=1e-5)
    assert of_fixture(task, names, labels, extra=3) == pytest.approx(expected, rel=1e-5)
    parts = [jnp.asarray(FIXTURE["parts"][one] + [[3.0] * 6]) for one in names]
    counted = task.compared.of(parts, None, jnp.zeros(6))[0]  # the control: the row counts
    assert abs(counted - expected) > 1e-3


CONTRASTIVE = EmbeddingObjective(Embedding(loss="contrastive", symmetric=True))


def loss_of(batch, accumulate, dropout=0.0, objective=CONTRASTIVE):
    model_of = functools.partial(encoder_of, dropout=dropout)
    return BatchLoss(model_of, objective, batch, jax.random.key(7), accumulate)


def gradients(*arguments, **options):
    """(gradient, loss) of a batch, in so many micro-batches."""
    grads, sums, _ = jax.jit(loss_of(*arguments, **options).gradients)(parameters())
    return grads, float(sums["loss"][0] / sums["loss"][1])


def differ(one, other):
    """The largest difference, relative to the largest number."""
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(one))
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()) / scale, one, other)
    return max(jax.tree.leaves(differences))


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    batch = batch_of()
    whole, loss = gradients(batch, 1)
    parts, same = gradients(batch, 4)
    assert same == pytest.approx(loss, rel=1e-5)
    assert differ(whole, parts) < 1e-5

    class Apart(EmbeddingObjective):  # the control: negatives of the micro-batch alone
        vectors = None

        def __call__(self, model, batch, key):
            return CONTRASTIVE.of(EmbeddingObjective.vectors(self, model, batch, key))

    assert differ(whole, gradients(batch, 4, objective=Apart(CONTRASTIVE.task))[0]) > 0.05


def test_both_passes_of_micro_batches_have_the_same_dropout():
    """The gradient is that of the whole loss, with the noise that each micro-batch has."""
    batch = batch_of(empty=1)
    whole = loss_of(batch, 4, 0.3)

    def direct(params, noise):
        return CONTRASTIVE.of(dataclasses.replace(whole, noise=noise)._vectors(params))[0]

    own, other = (jax.grad(direct)(parameters(), jax.random.key(seed)) for seed in (7, 8))
    found = gradients(batch, 4, 0.3)[0]
    assert differ(own, found) < 1e-5
    assert differ(other, found) > 0.05


def test_memory_is_that_of_a_micro_batch():
    ids = np.ones((64, 32), np.int32)
    part = {"input_ids": ids, "attention_mask": ids}
    batch = {"anchor": part, "positive": part, "number": np.arange(64, dtype=np.int32)}

    def needed(count):
        program = jax.jit(loss_of(batch, count).gradients).lower(parameters(64)).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert needed(16) < needed(1) / 4


MESH = """
import jax, numpy as np
from tests.tasks.test_embedding import batch_of, differ, loss_of, parameters
from transformers_jax import shard

batch, mesh = batch_of(), shard.make_mesh({"data": 2})
def gradients(mesh, count):
    placed = batch if mesh is None else jax.device_put(batch, shard.batch_sharding(mesh))
    def of(params, batch):
        with shard.use(mesh):
            return loss_of(batch, count, 0.2).gradients(params)[0]
    return jax.device_get(jax.jit(of)(parameters(), placed))

one, two = gradients(None, 2), gradients(mesh, 2)
assert differ(one, two) < 1e-5, differ(one, two)
assert differ(gradients(None, 1), two) > 0.05  # the control: other noise
"""


def test_two_devices_compute_what_one_does(on_eight_devices):
    on_eight_devices(MESH)


# ---------------------------------------------------------------- figures


def of_texts(encoder, records, **task):
    corpus = corpus_of(encoder, records, Embedding(**task))
    return corpus.task, corpus.train, corpus.form


def test_retrieval_is_that_of_sentence_transformers(encoder):
    """Queries and documents that occur several times are one each."""
    records = [
        {"query": query, "document": one, "negative": f"d{number % 20}"}
        for number, (query, some) in enumerate(FIXTURE["relevant"].items(), 9)
        for one in some
    ]
    records += [{**records[0], "negative": f"d{n}"} for n in range(20)]
    task, rows, form = of_texts(encoder, records)
    every = FIXTURE["queries"] | FIXTURE["documents"]
    answers = {
        part: np.array([every[record[column]] for record in records], np.float32)
        for part, column in (
            ("anchor", "query"),
            ("positive", "document"),
            ("negative", "negative"),
        )
    }
    found = task.metrics(answers, rows, form)
    assert found == pytest.approx(FIXTURE["retrieval"], abs=1e-6)
    wrong = task.metrics({**answers, "anchor": answers["negative"]}, rows, form)
    assert wrong["ndcg@10"] < found["ndcg@10"]


def test_the_nearest_come_first_and_of_equally_near_ones_the_first():
    documents = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert ranked(np.array([[3.0, 0.0]]), documents, "cosine", 3).tolist() == [[1, 2, 3]]
    assert ranked(np.array([[1.0, 0.6]]), documents, "dot", 9).tolist() == [[1, 3, 2, 0]]


def test_numbers_are_compared_as_sts_does(encoder):
    records = [
        {"sentence1": query, "sentence2": f"d{n}", "score": 5 * score}
        for n, (query, score) in enumerate(zip(FIXTURE["queries"], FIXTURE["scores"]))
    ]
    task, rows, form = of_texts(encoder, records, label_scale=5.0)
    answers = {
        "anchor": np.array(list(FIXTURE["queries"].values())),
        "positive": np.array(list(FIXTURE["documents"].values()))[: len(records)],
    }
    assert task.metrics(answers, rows, form) == pytest.approx(FIXTURE["similarity"], abs=1e-6)
    assert task.metric == "spearman"
    assert Embedding().metric == "ndcg@10"


# ---------------------------------------------------------------- the journey

DATA = ((160, 0), (40, 1))


@pytest.fixture(scope="module")
def run(encoder, tmp_path_factory):
    """A model that finds the text of the same words."""
    out = tmp_path_factory.mktemp("embedding") / "run"
    settings = dict(query_prompt="the ", normalise=True, matryoshka=(16, 8), **QUICK)
    train, held_out = (pairs(*which) for which in DATA)
    return finetune(encoder, "embedding", train, held_out, out=str(out), accumulate=2, **settings)


def test_a_run_learns_and_the_best_by_ndcg_is_exported(run, encoder):
    before = tj.evaluate(encoder, pairs(40, 1), task="embedding")
    assert run.metrics["ndcg@10"] > before["ndcg@10"] + 0.05
    assert {"recall@1", "recall@5", "recall@10", "mrr@10", "accuracy_8"} <= run.metrics.keys()
    figures = [line["eval_ndcg@10"] for line in run.fitted.metrics if "eval_ndcg@10" in line]
    assert len(figures) == 3
    assert run.metrics["ndcg@10"] == max(figures)
    assert "ndcg@10" in (run.folder / "report.md").read_text()


def test_the_export_is_a_directory_of_sentence_transformers(run):
    folder = run.folder / "model"
    sentence = read(folder)
    assert sentence.folders == ("1_Pooling", "2_Normalize")
    assert sentence.prompts == {"query": "the "}
    model = tj.from_pretrained(folder, head="embedding")
    texts = ["good film", "a sad story"]
    expected = run.model.encode(texts, prompt_name="query")
    np.testing.assert_allclose(model.encode(texts, prompt_name="query"), expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    found = tj.predict(run.folder, texts)
    np.testing.assert_allclose([one["embedding"] for one in found], expected, atol=1e-5)
    plain = model.encode(texts)
    assert np.abs(plain - expected).max() > 0.01  # the control: without the prompt


def test_predictions_and_figures_come_from_the_run_its_model_and_the_command(run, tmp_path):
    records = pairs(40, 1)
    both = tj.predict(run.folder, records)
    assert set(both[0]) == {"embedding", "embedding_pair", "similarity"}
    cosine = np.dot(both[3]["embedding"], both[3]["embedding_pair"])
    assert both[3]["similarity"] == pytest.approx(cosine, abs=1e-5)
    figures = tj.evaluate(run.folder, records)
    assert figures == tj.evaluate(run.folder / "model", records)
    shared = {name: run.metrics[name] for name in figures}
    assert figures == pytest.approx(shared)
    table, out = write(tmp_path / "pairs.jsonl", records), tmp_path / "vectors.jsonl"
    arguments = ["predict", str(run.folder / "model"), "--input", table, "--out", str(out)]
    assert cli.main(arguments) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    np.testing.assert_allclose(
        [one["embedding"] for one in lines], [one["embedding"] for one in both], atol=1e-5
    )
    measured = ["--model", str(run.folder), "--data", table, "--out", str(tmp_path / "m.json")]
    assert evaluate.main(measured) == 0
    assert json.loads((tmp_path / "m.json").read_text()) == figures


def test_the_command_continues_where_it_was_interrupted(run, encoder, tmp_path):
    """In the midst of a pass, in micro-batches, with the bits of the run of Python."""
    train, held_out = (
        write(tmp_path / f"{n}.jsonl", pairs(*which)) for n, which in enumerate(DATA)
    )
    out = tmp_path / "parts"
    arguments = ["--task", "embedding", "--model", str(encoder), "--data.train", train]
    arguments += ["--data.validation", held_out, "--out", str(out), "--batch", "16"]
    arguments += ["--learning-rate", "1e-2", "--accumulate", "2", "--objective.normalise"]
    arguments += ["--objective.query-prompt", "the ", "--objective.matryoshka", "16", "8"]
    some = ["--epochs", "None", "--steps", "14", "--schedule-steps", "30"]
    assert command.main([*arguments, *some, "--evaluation.per-epoch", "0"]) == 0
    assert command.main([*arguments, "--epochs", "3"]) == 0
    hexes = lambda lines: [line["loss_hex"] for line in lines]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert hexes(lines) == hexes(run.fitted.metrics)
    assert len(lines) == 30


def test_modules_and_prompts_of_a_directory_are_kept(run, tmp_path):
    """A run that starts from a directory of sentence-transformers has its files, byte for byte."""
    first = run.folder / "model"
    settings = {**QUICK, "epochs": 1}
    records = [
        {"sentence1": r["query"], "sentence2": r["document"], "label": 1.0} for r in pairs(30)
    ]
    records += [
        {"sentence1": a["query"], "sentence2": b["document"], "label": 0.0}
        for a, b in zip(pairs(30), pairs(30, 1))
    ]
    again = finetune(first, "embedding", records, out=str(tmp_path / "run"), **settings)
    assert "spearman" in again.metrics
    for name in ("modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"):
        assert (tmp_path / "run/model" / name).read_bytes() == (first / name).read_bytes(), name
    assert isinstance(again.model.plan.sentence.steps[-1], Normalise)
    assert again.model.plan.sentence.prompts == {"query": "the "}
    with pytest.raises(ValueError, match="pooling='cls', but the modules"):
        finetune(first, "embedding", records, out=str(tmp_path / "no"), pooling="cls", **settings)


def test_negatives_are_texts_lists_or_columns(encoder):
    several = [
        {**PAIR, "negatives": ["c", "the film"]},
        {**PAIR, "negative_1": "c", "negative_2": "the film"},
        {**PAIR, "other": "c", "third": "the film"},
    ]
    found = []
    for record, columns in zip(several, (None, None, "other,third")):
        corpus = corpus_of(encoder, [record] * 2, Embedding(loss="triplet"), negatives=columns)
        found.append(corpus.train.fingerprint)
        parts = corpus.train.examples[0].parts
        assert list(parts) == ["anchor", "positive", "negative_1", "negative_2"]
    assert len(set(found)) == 1
    tokenizer = load_tokenizer(encoder)
    assert tokenizer.decode(parts["negative_2"].tokens["input_ids"][1:3]) == "the film"


PAIR = {"query": "a", "document": "b"}


@pytest.mark.parametrize(
    ("records", "settings", "words"),
    [
        ([{"query": "a"}] * 2, {}, "none of 'positive', .*: pass --data.text-pair NAME"),
        ([PAIR] * 2, {"loss": "cosine"}, "no column with how alike.*pass --data.label NAME"),
        ([PAIR] * 2, {"loss": "triplet"}, "no column of negatives.*pass --data.negatives NAME"),
        (
            [{**PAIR, "label": 1, "negative": "c"}] * 2, {},
            r"has labels \('label'\) and negatives \(negative\).*--objective.loss contrastive",
        ),
        ([{**PAIR, "label": 3}] * 2, {}, r"'label' holds 3; cosines lie.*--objective.label-scale"),
        ([{**PAIR, "label": "x"}] * 2, {}, "'label' holds 'x'; expected a number"),
        (
            [{**PAIR, "negatives": ["c"]}, {**PAIR, "negatives": ["c", "d"]}], {},
            r"t\[1\] has 2 negatives in 'negatives' and t\[0\] has 1; all have as many",
        ),
        ([{**PAIR, "negative": 3}] * 2, {}, "'negative' holds 3; expected a text, or a list"),
        ([PAIR] * 2, {"matryoshka": (99,)}, "vectors of this model have 16 numbers"),
        ([PAIR] * 2, {"rows": "packed"}, "Embedding answers one question per row.*not packed"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(encoder, records, settings, words):
    task = Embedding(**{name: value for name, value in settings.items() if name != "rows"})
    rows = settings.get("rows", "bucketed")
    with pytest.raises(ValueError, match=words):
        corpus_of(encoder, records, task, rows=rows)


def test_labels_are_left_out_where_the_loss_is_named(encoder):
    records = [{**PAIR, "label": 3, "negative": "c"}] * 2
    corpus = corpus_of(encoder, records, Embedding(loss="contrastive"))
    assert "label" not in corpus.form.columns
    assert corpus.task.loss == "contrastive"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(scale=0.0), r"scale \(0.0\) must be above 0"),
        (dict(matryoshka=(8, 8)), "expected different dims"),
        (dict(loss="infonce"), "loss"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Embedding(**settings)
