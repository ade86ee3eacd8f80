"""Tables that are made on the spot: the same on every call, with splits that share nothing."""

import sys

import pytest

from transformers_jax.data import generated, python_docs
from transformers_jax.data.config import Table
from transformers_jax.data.generated import TABLES, packages
from transformers_jax.data.generated.splits import SPLITS, split_of
from transformers_jax.data.python_docs import Document
from transformers_jax.data.tables import open_table, read_tables
from transformers_jax.json_files import json_text


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_same_again_and_its_splits_share_no_record(name):
    tables = {split: TABLES[name](split) for split in SPLITS}
    assert tables == {split: TABLES[name](split) for split in SPLITS}
    whole = [json_text(record) for records in tables.values() for record in records]
    assert len({*whole}) == len(whole)
    sizes = {split: len(records) for split, records in tables.items()}
    assert min(sizes.values()) > 50, sizes
    assert sizes["train"] > 2 * sizes["validation"], sizes


def test_two_in_ten_are_held_out():
    found = [split_of(f"key {n}") for n in range(2000)]
    assert all(150 < found.count(split) < 250 for split in ("validation", "test"))


def test_a_run_reads_two_splits_and_an_evaluation_one(monkeypatch):
    made = lambda split: [{"text": f"{split} {n}"} for n in range(3)]
    monkeypatch.setitem(generated.TABLES, "some", made)
    tables = read_tables(Table(train="generated:some"))
    assert {name: table.records for name, table in tables.items()} == {
        "train": made("train"),
        "validation": made("validation"),
    }
    assert tables["validation"].places[2] == "generated:some, validation 2"
    assert open_table("generated:some:test", "data")["test"].records == made("test")
    with pytest.raises(ValueError, match="'soem'; did you mean 'some'"):
        open_table("generated:soem", "data")
    with pytest.raises(ValueError, match=r"'tests' is no split; .*generated:some:test"):
        open_table("generated:some:tests", "data")


def test_texts_that_differ_in_spaces_and_case_alone_come_once(monkeypatch):
    texts = ["Return the name.", "return the\n name.", "Return the names."]
    documents = [Document(f"package{n}.module", "f", text) for n, text in enumerate(texts)]
    monkeypatch.setattr(python_docs, "documents", lambda: iter(documents))
    found = packages._docstrings.__wrapped__()
    assert [*found.values()] == [(texts[0], "package0"), (texts[2], "package2")]


def test_packages_are_those_of_the_standard_library():
    records = [record for split in SPLITS for record in packages.records(split)]
    names = {record["label"] for record in records}
    assert len(names) == packages.CLASSES
    assert names <= {*sys.stdlib_module_names}
