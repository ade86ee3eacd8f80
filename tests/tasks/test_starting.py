"""Where a run of fine-tuning starts: a head of other classes, layers drawn anew, no weights."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.nn.param import flatten, params
from transformers_jax.runs.recipe import Recipe, finetune
from transformers_jax.training.initial import start_model

RECORDS = reviews(60)
MNLI = {0: "entailment", 1: "neutral", 2: "contradiction"}
BERT = dict(hidden_size=16, num_attention_heads=2, intermediate_size=32, max_position_embeddings=48)


def saved(folder, encoder, family=tj.BertConfig, head="sequence_classification", **settings):
    """A checkpoint of two layers and these classes, with the tokenizer of `encoder`."""
    tokenizer = load_tokenizer(encoder)
    sizes = dict(vocab_size=tokenizer.max_id + 1, num_hidden_layers=2, **BERT)
    config = family(**sizes, **settings)
    model = tj.from_config(config, head=head, key=jax.random.key(5))
    model = tj.bind(model, jax.tree.map(lambda x: x + 0.125, params(model)))  # biases too
    tj.save_pretrained(model, folder)
    tokenizer.save(folder)
    return model


def started(folder, classes, task="sequence_classification", **settings):
    """(parameters that a run with these classes starts from, what run.json says, what is said)."""
    said: list[str] = []
    config = Recipe(task, str(folder)).config().replace(seed=3, **settings)
    model = config.objective.fitted(config.model, classes)
    model, facts = start_model(config.replace(model=model), None, said.append)
    return flatten(params(model)), facts, said


def unlike(one, other):
    return {path for path in other if not np.array_equal(one.get(path), other[path])}


HEAD = {"head.classify.weight", "head.classify.bias"}


@pytest.mark.parametrize(
    ("names", "classes", "anew"),
    [
        (MNLI, ("no", "yes"), HEAD),
        (MNLI, ("a", "b", "c"), HEAD),  # as many, but others
        (MNLI, tuple(MNLI.values()), set()),
        ({0: "LABEL_0", 1: "LABEL_1"}, ("no", "yes"), set()),  # which names none
        ({0: "LABEL_0", 1: "LABEL_1"}, ("a", "b", "c"), HEAD),
    ],
)
def test_a_head_of_other_classes_is_drawn_anew_and_nothing_else(
    encoder, tmp_path, names, classes, anew
):
    own = flatten(params(saved(tmp_path, encoder, id2label=names)))
    found, facts, said = started(tmp_path, classes)
    assert unlike(found, own) == anew
    assert {*facts["drawn"]} == anew
    assert (len(said) == 2) == bool(anew)
    if anew:
        some = ", ".join(names.values())
        assert f"is of {len(names)} classes ({some}), and the data has {len(classes)} c" in said[1]
        again = started(tmp_path, classes)[0]
        new = tj.from_config(
            tj.AutoConfig.from_pretrained(tmp_path).replace(id2label=dict(enumerate(classes))),
            head="sequence_classification", key=jax.random.key(3),
        )  # fmt: skip
        for path in anew:
            assert np.array_equal(found[path], again[path])
            assert np.array_equal(found[path], flatten(params(new))[path])


def test_a_body_of_another_size_is_still_refused(encoder, tmp_path):
    saved(tmp_path, encoder, id2label=MNLI)
    config = Recipe("sequence_classification", str(tmp_path)).config()
    model = config.objective.fitted(config.model.replace(hidden_size=32), ("a", "b"))
    with pytest.raises(ValueError, match=r"do not fit this run's model \(.*hidden_size is 32"):
        start_model(config.replace(model=model), None, str)


def test_the_inner_part_of_a_head_stays(encoder, tmp_path):
    """Of RoBERTa's head the first matrix knows no classes."""
    own = saved(tmp_path, encoder, tj.RobertaConfig, id2label=MNLI)
    found, facts, _ = started(tmp_path, ("a", "b"))
    assert {*facts["drawn"]} == HEAD
    assert unlike(found, flatten(params(own))) == HEAD


def test_a_run_goes_on_from_a_run_of_other_classes(encoder, tmp_path):
    """Of a model of three classes, by the folder of the run that has made it."""
    saved(tmp_path / "run/model", encoder, id2label=MNLI)
    (tmp_path / "run/metrics.jsonl").touch()
    load_tokenizer(encoder).save(tmp_path / "run")
    labels = [dict(one, label=n % 4) for n, one in enumerate(RECORDS)]
    run = finetune(
        tmp_path / "run", "sequence_classification", labels, out=str(tmp_path / "b"), steps=1,
        epochs=None, per_epoch=0, final_batches=0, batch=16, length=16, keep_best=False,
    )  # fmt: skip
    facts = json.loads((run.folder / "run.json").read_text())["init_from"]
    assert {*facts["drawn"]} == HEAD
    config = json.loads((run.folder / "model/config.json").read_text())
    assert config["id2label"] == {"0": "0", "1": "1", "2": "2", "3": "3"}
    assert "drawn were head.classify" in (run.folder / "report.md").read_text()
