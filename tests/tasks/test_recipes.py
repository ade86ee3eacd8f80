"""The recipes for accelerators: each finds its columns in a table of the same features."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import write
from transformers_jax.data import prepared
from transformers_jax.data.config import Table
from transformers_jax.data.tables import open_table
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.runs import finetune as command
from transformers_jax.tasks import TASKS, SequenceClassification
from transformers_jax.training.config import load
from transformers_jax.training.resolve import resolve

ROOT = Path(__file__).parents[2]
TEXT = "a film of a few words , and it was good"
PEOPLE = {"tokens": "Ann was in Rome".split(), "ner": ["B-PER", "O", "O", "B-LOC"]}
ANSWERED = {
    "id": "1", "title": "Ann", "question": "Who was good ?", "context": TEXT + " for Ann",
    "answers": {"text": ["Ann"], "answer_start": [len(TEXT) + 5]},
}  # fmt: skip
RECORDS = {
    "cola": [{"sentence": TEXT, "label": "acceptable"}, {"label": "unacceptable"}],
    "sst2": [{"sentence": TEXT, "label": "positive"}, {"label": "negative"}],
    "mrpc": [{"sentence1": TEXT, "sentence2": TEXT, "label": "equivalent"},
             {"label": "not_equivalent"}],
    "stsb": [{"sentence1": TEXT, "sentence2": TEXT, "label": 3.25}, {"label": 5.0}],
    "qqp": [{"question1": TEXT, "question2": TEXT, "label": "duplicate"},
            {"label": "not_duplicate"}],
    "mnli": [{"premise": TEXT, "hypothesis": TEXT, "label": "entailment"},
             {"label": "neutral"}, {"label": "contradiction"}],
    "qnli": [{"question": TEXT, "sentence": TEXT, "label": "entailment"},
             {"label": "not_entailment"}],
    "rte": [{"sentence1": TEXT, "sentence2": TEXT, "label": "entailment"},
            {"label": "not_entailment"}],
    "squad": [ANSWERED],
    "squad_v2": [{**ANSWERED, "is_impossible": False, "plausible_answers": []},
                 {"answers": {"text": [], "answer_start": []}, "is_impossible": True}],
    "conll2003": [{**PEOPLE, "pos": ["NN"] * 4, "chunks": ["O"] * 4}],
    "xsum": [{"document": TEXT, "summary": "a film"}],
    "wmt16_en_ro": [{"ro": "un film", "en": "a film"}],
}  # fmt: skip
"""Features of the data sets; further records are the first with other values."""
COLUMNS = {
    "cola": "sentence label", "sst2": "sentence label", "mrpc": "sentence1 sentence2 label",
    "stsb": "sentence1 sentence2 label", "qqp": "question1 question2 label",
    "mnli": "premise hypothesis label", "qnli": "question sentence label",
    "rte": "sentence1 sentence2 label", "squad": "question context answers",
    "squad_v2": "question context answers", "conll2003": "tokens ner",
    "xsum": "document summary", "wmt16_en_ro": "en ro",
}  # fmt: skip
GLUE = [name for name in RECORDS if (ROOT / f"configs/glue/{name}.py").exists()]
SETTINGS = {  # task, rate, rows, passes, tokens, as their sources have them
    **dict.fromkeys(GLUE, ("sequence_classification", 2e-05, 32, 3, 128)),
    "mrpc": ("sequence_classification", 2e-5, 32, 5, 128),
    "stsb": ("regression", 2e-5, 32, 3, 128),
    "squad": ("question_answering", 3e-5, 12, 2, 384),
    "squad_v2": ("question_answering", 1e-4, 32, 2, 512),
    "conll2003": ("token_classification", 2e-5, 32, 3, 128),
    "xsum": ("summarization", 5e-5, 512, 6, 512),
    "wmt16_en_ro": ("translation", 1e-3, 128, None, 512),
}


def path_of(name):
    return ROOT / "configs" / ("glue" if name in GLUE else "finetune") / f"{name}.py"


def table_of(name, folder):
    first = RECORDS[name][0]
    records = [{**first, **more} for more in RECORDS[name]] * 8
    return write(folder / f"{name}.jsonl", [{**one, "idx": n} for n, one in enumerate(records)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The directories of a tiny BERT and a tiny T5, by the task's sides."""
    texts = [TEXT, *RECORDS["conll2003"][0]["tokens"], "Who for un ?"] * 4
    folders = {}
    for sides, kind, roles in ((1, "wordpiece", "pad unk cls sep mask"), (2, "unigram", "pad eos")):
        folder = folders[sides] = tmp_path_factory.mktemp(kind)
        roles = (*roles.split(), *["unk"][: sides - 1])
        tokenizer = train_tokenizer(kind, texts, 300, roles=roles)
        tokenizer.save(folder)
        size = dict(vocab_size=tokenizer.max_id + 1)
        bert = tj.BertConfig(
            **size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )
        t5 = tj.T5Config(
            **size, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, num_decoder_layers=1,
            pad_token_id=tokenizer.special_id("pad"), decoder_start_token_id=0,
            eos_token_id=tokenizer.special_id("eos") if sides == 2 else 1,
        )  # fmt: skip
        config, head = ((bert, "masked_lm"), (t5, "seq2seq_lm"))[sides - 1]
        tj.save_pretrained(tj.from_config(config, head=head, key=jax.random.key(0)), folder)
    return folders


@pytest.mark.parametrize("name", RECORDS)
def test_a_recipe_reads_a_table_of_the_same_features(name, models, tmp_path):
    config, table = load(path_of(name)), table_of(name, tmp_path)
    task, rate, rows, passes, tokens = SETTINGS[name]
    assert type(config.objective) is TASKS[task]
    assert (config.optimizer.peak, config.data.batch, config.epochs) == (rate, rows, passes)
    assert config.data.length == tokens
    assert config.data.train.startswith("tfds:")
    assert config.init_from.count("/") == 1  # an id of the hub
    config = config.replace(
        init_from=str(models[config.objective.sides]),
        data=replace(config.data, train=table, validation=table, batch=8),
    )
    resolved = resolve(config, tmp_path / "run", None, print)
    assert list(resolved.corpus.form.columns.values()) == COLUMNS[name].split()
    assert resolved.config.objective.head == TASKS[task].head
    labels = {str(record["label"]) for record in RECORDS[name] if "label" in record}
    if task == "sequence_classification":
        assert {*resolved.config.model.id2label.values()} == labels
    assert len(resolved.corpus.train) == 8 * len(RECORDS[name])
    assert resolved.stream.batch(resolved.stream.start, 8)[0]


@pytest.mark.parametrize("name", RECORDS)
def test_a_recipe_says_what_was_published_and_that_it_was_not_run_here(name):
    about = path_of(name).read_text().split('"""')[1]
    where = path_of(name).relative_to(ROOT).as_posix()
    assert f"Command:   python -m train.finetune {where}" in about
    assert "Published: " in about
    assert "not run here." in about


def test_the_command_trains_a_recipe_on_a_file(models, tmp_path, capsys):
    arguments = [str(path_of("cola")), "--init-from", str(models[1]), "--data.train"]
    arguments += [table_of("cola", tmp_path), "--epochs=1", "--batch=8", f"--out={tmp_path}/run"]
    assert command.main(arguments) == 0
    assert "eval_matthews" in (tmp_path / "run/metrics.jsonl").read_text()
    with pytest.raises(SystemExit) as stop:
        command.main([str(path_of("cola")), "--help"])
    assert stop.value.code == 0
    assert "--data.train" in capsys.readouterr().out


class Features(dict):
    """As TFDS has them: features by name, and classes with their names."""


class Classes:
    names = ["not_equivalent", "equivalent"]


class Prepared:
    """A builder of TFDS with three splits."""

    rows = [{"sentence": b"a", "label": np.int64(1)}, {"sentence": b"b", "label": np.int64(0)}]

    def __init__(self):
        splits = ("train", "validation_matched", "test")
        features = Features(sentence=object(), label=Classes())
        self.info = type("Info", (), dict(splits=splits, features=features))

    def as_data_source(self, split):
        return self.rows[: 1 + (split == "train")]


def test_a_split_is_named_and_classes_are_numbered_as_the_data_set_says(
    models, tmp_path, monkeypatch
):
    monkeypatch.setattr(prepared, "_open_builder", lambda name: (Path(name), Prepared()))
    monkeypatch.setattr(prepared, "_check_form", lambda *arguments: {})
    both = {name: open_table(f"tfds:small{name}", "data.train") for name in ("", "[test]")}
    assert {name: [*splits] for name, splits in both.items()} == {
        "": ["train"],
        "[test]": ["train"],
    }
    assert [len(splits["train"]) for splits in both.values()] == [2, 1]
    assert both[""]["train"].records[0] == {"sentence": "a", "label": "equivalent"}
    with pytest.raises(ValueError, match=r"has no split tets; it has \['test', 'train', 'valid"):
        open_table("tfds:small[tets]", "data.train")
    data = Table(train="tfds:small", validation="tfds:small[validation_matched]", batch=1)
    config = load(path_of("cola")).replace(
        init_from=str(models[1]), objective=SequenceClassification(), data=data
    )
    corpus = resolve(config, tmp_path / "run", None, print).corpus
    assert corpus.form.classes == ("not_equivalent", "equivalent")  # not those of the alphabet
    assert [int(e.once["labels"]) for e in corpus.train.examples] == [1, 0]
    assert json.dumps(corpus.evaluation[""].references) == "[1]"
