"""Which files of a folder are trained on: never those that are called validation or test."""

import json

import pytest

from transformers_jax.data.config import Data, Table
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.sources import open_source
from transformers_jax.data.splits import by_split
from transformers_jax.data.tables import open_table, read_tables
from transformers_jax.data.texts import RULES


def folder(root, names):
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"text": f"text of {name}"}) + "\n" if ".json" in name else name
        (root / name).write_text(content)
    return root


def split(root, names):
    """The names of the files by split, and what is said of others."""
    files = sorted(file for file in folder(root, names).rglob("*") if file.is_file())
    splits, note = by_split(files, str(root))
    return {name: " ".join(f.name for f in some) for name, some in splits.items()}, note


SPLITS = {
    "train.jsonl validation.jsonl README.md": ("train.jsonl", "validation.jsonl"),
    "train.txt validation.txt test.txt": ("train.txt", "validation.txt"),
    "train.txt test.txt": ("train.txt", None),
    "Train.csv DEV.csv LICENSE": ("Train.csv", "DEV.csv"),
    "train-0-of-2.txt train_1.txt val-0.txt a.json": ("train-0-of-2.txt train_1.txt", "val-0.txt"),
    "wiki.train.txt wiki.valid.txt wiki.test.txt": ("wiki.train.txt", "wiki.valid.txt"),
    "data/train-0.jsonl data/test-0.jsonl about.md": ("train-0.jsonl", None),
    "train/a.txt validation/a.txt info.json": ("a.txt", "a.txt"),
    "a.txt README.md sub/b.txt": ("README.md a.txt b.txt", None),
    "how-to-train.txt trains.txt testing.txt": ("how-to-train.txt testing.txt trains.txt", None),
}  # fmt: skip


@pytest.mark.parametrize("names", SPLITS)
def test_files_called_so_are_splits_and_others_are_left_out(tmp_path, names):
    train, validation = SPLITS[names]
    expected = {"train": train} | ({} if validation is None else {"validation": validation})
    splits, note = split(tmp_path, names)
    assert splits == expected
    read = {name for some in splits.values() for name in some.split()}
    for name in names.split():
        assert (name in note) is (name.rpartition("/")[2] not in read)
    tests = [name for name in names.split() if "test." in name or "test-" in name]
    assert ("neither trained on nor evaluated" in note) is bool(tests)


@pytest.mark.parametrize("names", ["train.txt more.txt", "validation.txt a.txt README.txt"])
def test_texts_beside_splits_are_asked_about(tmp_path, names):
    with pytest.raises(ValueError, match=r"holds splits .*(more|a)\.txt: are those .*\*\*/\*\.txt"):
        split(tmp_path, names)
    pattern = str(tmp_path / "**" / "*.txt")  # as advised
    source = open_source(pattern)
    assert list(source.splits) == ["train"]
    assert len(list(source.splits["train"])) == len(names.split())


@pytest.mark.parametrize("names", ["test.txt", "validation.txt", "dev.txt test.txt README.md"])
def test_what_is_for_evaluation_is_evaluated_and_never_trained_on(tmp_path, names):
    folder(tmp_path / "held", names)
    with pytest.raises(ValueError, match=r"for evaluation only .*--data\.eval-path"):
        load_corpus(Data(path=str(tmp_path / "held"), tokenizer="byte"))
    (tmp_path / "a.txt").write_text("to train on")
    settings = Data(
        path=str(tmp_path / "a.txt"), eval_path=str(tmp_path / "held"), tokenizer="byte"
    )
    corpus = load_corpus(settings)
    assert bytes(corpus.evaluation[""].ids.astype("uint8")).strip() == names.split()[0].encode()
    assert load_corpus(Data(**{**vars(settings), "tokenizer": "character"})).documents["train"] == 1


def test_runs_of_earlier_versions_keep_what_they_read(tmp_path):
    folder(tmp_path, "train.txt validation.txt README.md")
    read = lambda rules: [*open_source(str(tmp_path), rules=rules).splits["train"]]
    assert read(RULES) == ["train.txt"]
    assert read(2) == ["README.md", "train.txt", "validation.txt"]
    settings = Data(path=str(tmp_path), tokenizer="byte", eval_fraction=0.3)
    assert len({load_corpus(settings, rules=rules).fingerprint for rules in (RULES, 2)}) == 2


def test_tables_are_split_alike(tmp_path):
    folder(tmp_path, "train.jsonl dev.jsonl test.jsonl README.md")
    tables = read_tables(Table(train=str(tmp_path)))
    texts = {name: [record["text"] for record in rows.records] for name, rows in tables.items()}
    assert texts == {"train": ["text of train.jsonl"], "validation": ["text of dev.jsonl"]}
    assert all("README.md" in rows.note and "test.jsonl" in rows.note for rows in tables.values())
    folder(tmp_path / "held", "test.jsonl")
    assert list(open_table(str(tmp_path / "held"), "data.train")) == ["test"]
    with pytest.raises(ValueError, match=r"for evaluation only .*--data\.validation"):
        read_tables(Table(train=str(tmp_path / "held")))
    other = Table(train=str(tmp_path / "train.jsonl"), validation=str(tmp_path / "held"))
    assert len(read_tables(other)["validation"]) == 1
