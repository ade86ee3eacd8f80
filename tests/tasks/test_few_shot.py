"""Classes from a few examples: pairs, the regression behind the vectors, the journey."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

import transformers_jax as tj
from tests.tasks.conftest import write
from transformers_jax.data.config import Table
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.runs.finetune import main
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import FewShot
from transformers_jax.tasks.corpus import read_task
from transformers_jax.tasks.few_shot import classifies
from transformers_jax.tasks.paired import ANCHOR, POSITIVE
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.initial import abstract_model

TRAIN = [
    {"sentence": text, "label": label}
    for label, texts in {
        "good": ("a good film", "the great book", "a fine plot"),
        "bad": ("a bad film", "the sad book"),
        "other": ("it was and it was", "the very book"),
    }.items()
    for text in texts
]
HELD_OUT = [{"sentence": "a nice film", "label": "good"}, {"sentence": "awful", "label": "bad"}]


def corpus_of(encoder, task, train=TRAIN, held_out=HELD_OUT):
    data, tokenizer = Table(train="t", batch=4), load_tokenizer(encoder)
    config = TrainConfig(model=tj.AutoConfig.from_pretrained(encoder), objective=task, data=data)
    tables = {"train": of_python("t", train), "validation": of_python("v", held_out)}
    return read_task(data, task, tokenizer, abstract_model(config), tables=tables)


def pairs_of(corpus):
    """(numbers of the two examples, label) of every pair."""
    ids = [tuple(some.tolist()) for some in texts_of(corpus)]
    return [
        (ids.index(ids_of(one, ANCHOR)), ids.index(ids_of(one, POSITIVE)), one.once["labels"])
        for one in corpus.train.examples
    ]


def ids_of(example, part):
    return tuple(example.parts[part].tokens["input_ids"].tolist())


def texts_of(corpus):
    """The ids of the examples, by their number."""
    texts = [one["sentence"] for one in corpus.train.records.records]
    return [corpus.tokenizer.batch([text])["input_ids"][0] for text in texts]


def test_pairs_are_of_one_class_or_of_two_and_the_seed_draws_them(encoder):
    corpus = corpus_of(encoder, FewShot(iterations=4))
    pairs, classes = pairs_of(corpus), corpus.train.references
    assert len(pairs) == 7 * 4 * 2
    assert [label for _, _, label in pairs] == [1, 0] * 28
    assert all((classes[a] == classes[b]) == (label == 1) for a, b, label in pairs)
    assert all(a != b for a, b, _ in pairs)
    assert [a for a, _, _ in pairs] == np.repeat(np.arange(7), 8).tolist()
    assert "56 pairs of 7 examples of 3 classes" in "\n".join(corpus.notes)
    assert corpus_of(encoder, FewShot(iterations=4)).fingerprint == corpus.fingerprint
    other = corpus_of(encoder, FewShot(iterations=4, pairs_seed=1))
    assert other.fingerprint != corpus.fingerprint


def test_classes_are_those_of_the_examples_whatever_the_model_names(encoder, tmp_path):
    """A class of the model without an example would end the run at its first evaluation."""
    config = tj.AutoConfig.from_pretrained(encoder)
    config = config.replace(id2label={0: "bad", 1: "good", 2: "other", 3: "none"})
    data, tokenizer = Table(train="t", batch=4), load_tokenizer(encoder)
    model = abstract_model(TrainConfig(model=config, objective=FewShot(), data=data))
    tables = {"train": of_python("t", TRAIN), "validation": of_python("v", HELD_OUT)}
    corpus = read_task(data, FewShot(), tokenizer, model, tables=tables)
    assert corpus.form.classes == ("bad", "good", "other")


def test_so_many_examples_of_each_class_are_drawn(encoder):
    corpus = corpus_of(encoder, FewShot(shots=2, iterations=1))
    assert sorted(corpus.train.references) == [0, 0, 1, 1, 2, 2]
    held_out = corpus.evaluation[""]
    assert held_out.details == [True] * 6 + [False] * 2
    with pytest.raises(ValueError, match=r"the class of t\[3\] has 2 examples .* 3 are needed"):
        corpus_of(encoder, FewShot(shots=3))
    with pytest.raises(ValueError, match=r"the class of t\[0\] has 1 examples"):
        corpus_of(encoder, FewShot(), TRAIN[2:])


def test_figures_are_those_of_the_regression_of_the_examples(encoder):
    """The examples themselves are not counted (the control: their labels do not matter there)."""
    task = FewShot(iterations=1)
    corpus = corpus_of(encoder, task, held_out=HELD_OUT * 6)
    rows = corpus.evaluation[""]
    x = np.random.default_rng(0).normal(size=(len(rows), 5))
    y = np.asarray(rows.references)
    theirs = LogisticRegression(tol=1e-8, max_iter=1000).fit(x[:7], y[:7])
    figures = task.metrics({ANCHOR: x}, rows, corpus.form)
    assert figures["accuracy"] == pytest.approx(theirs.score(x[7:], y[7:]))
    assert figures["accuracy"] != theirs.score(x, y)


def short(seed):
    """Reviews of three words, of which one of a few decides."""
    draw, words = np.random.default_rng(seed), {"pos": ["great", "good"], "neg": ["sad", "bad"]}
    return [
        {"sentence": f"a {draw.choice(some)} {thing}", "label": label}
        for thing in ("film", "book", "story", "plot", "and", "very")
        for label, some in words.items()
        for _ in range(2)
    ]


def test_a_command_trains_and_exports_a_directory_that_classifies(encoder, tmp_path, capsys):
    train, held_out = short(0), short(1)
    out = tmp_path / "run"
    tables = [write(tmp_path / f"{n}.jsonl", some) for n, some in enumerate((train, held_out))]
    flags = (
        f"--task few_shot --model {encoder} --data.train {tables[0]} --data.validation {tables[1]} "
        f"--out {out} --objective.shots 6 --objective.iterations 10 --epochs 1 --batch 16 "
        "--learning-rate 1e-2 --data.rows padded"
    )
    assert main(flags.split()) == 0, capsys.readouterr().err
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    best = max(line["eval_accuracy"] for line in lines if "eval_accuracy" in line)
    assert best > 0.9
    shown = json.loads((out / "figure.json").read_text())
    counts = np.asarray(shown["counts"])  # of what is held out, not of the examples
    assert (shown["kind"], shown["names"]) == ("confusion", ["neg", "pos"])
    assert (counts.sum(), counts.trace() / counts.sum()) == (len(held_out), best)
    assert tj.evaluate(out, held_out)["accuracy"] == best
    found = tj.predict(out / "model", ["a great film", "a sad film"])
    assert [one["label"] for one in found] == ["pos", "neg"]
    assert sum(found[0]["scores"].values()) == pytest.approx(1)
    layer = load_file(out / "model" / "classifier" / "model.safetensors")
    assert {name: x.shape for name, x in layer.items()} == {
        "linear.weight": (2, 16), "linear.bias": (2,)
    }  # fmt: skip
    model = tj.from_pretrained(out / "model", head="embedding")
    assert classifies(model)
    scores = model.encode(["a great film", "a sad film"])
    logs = jax.nn.log_softmax(scores)
    assert np.allclose(np.exp(logs[0, 1]), found[0]["scores"]["pos"], atol=1e-5)
    with pytest.raises(ValueError, match="this model classifies already"):
        finetune(out / "model", "few_shot", train, held_out, out=str(tmp_path / "again"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(scale=1.0), "scale: of the task embedding"),
        (dict(iterations=0), "iterations"),
        (dict(penalty=0.0), "penalty"),
        (dict(loss="triplet"), "loss"),
    ],
)
def test_settings_that_are_none_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        FewShot(**settings)


def test_a_model_of_vectors_has_no_classes(encoder):
    model = tj.from_pretrained(encoder, head="embedding")
    tokenizer = tj.load_tokenizer(encoder)
    with pytest.raises(ValueError, match="train it with --task few_shot"):
        tj.predict(model, ["a film"], task="few_shot", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="leave the adapter out"):
        finetune(encoder, "few_shot", TRAIN, HELD_OUT, adapter="bitfit", out="unused")
