"""Tables by split: read from files and from Python, held out by the hash of records."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.tasks.conftest import reviews, write
from transformers_jax.data.config import Table
from transformers_jax.data.tables import hold_out, json_lines, of_python, open_table, read_tables
from transformers_jax.tasks import TASKS
from transformers_jax.tasks.rows import ROLES

RECORDS = reviews(200)


def columns(records, *names):
    return [[record[name] for name in names] for record in records.records]


def test_csv_tsv_jsonl_and_parquet_hold_the_same_records(tmp_path):
    write(tmp_path / "a.jsonl", RECORDS)
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        lines = [
            separator.join(record.values())
            for record in ({"a": "sentence", "b": "label"}, *RECORDS)
        ]
        (tmp_path / f"a{ending}").write_text("\n".join(lines) + "\n")
    parquet.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    for ending in (".jsonl", ".csv", ".tsv", ".parquet"):
        table = open_table(str(tmp_path / f"a{ending}"), "data.train")["train"]
        assert columns(table, "sentence", "label") == [list(r.values()) for r in RECORDS], ending
        assert "a" + ending in table.places[3]


def test_a_folder_with_splits_is_read_by_split(tmp_path):
    write(tmp_path / "train.jsonl", RECORDS[:8])
    write(tmp_path / "validation.jsonl", RECORDS[8:])
    tables = read_tables(Table(train=str(tmp_path)))
    assert {name: len(table) for name, table in tables.items()} == {"train": 8, "validation": 192}


def test_lists_columns_and_frames_are_tables():
    by_column = {name: [r[name] for r in RECORDS] for name in RECORDS[0]}

    class Frame:
        columns = list(by_column)

        def to_dict(self, kind):
            return dict(by_column) if kind == "list" else None

    numbers = of_python("train", [{"a": np.float32(1.5), "b": np.array([1, 2])}]).records[0]
    assert numbers == {"a": 1.5, "b": [1, 2]}
    for value in (RECORDS, by_column, Frame()):
        assert json_lines(of_python("train", value).records) == json_lines(RECORDS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "train is int; expected records"),
        ([], "train is empty"),
        (["a"], r"train\[0\] is str, not a record"),
        ({"a": [1], "b": [1, 2]}, "columns of unlike length"),
    ],
)
def test_what_is_no_table_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        of_python("train", value)


def test_records_are_held_out_by_their_hash_and_stay_where_they_are():
    whole = of_python("train", RECORDS + RECORDS[:50])
    parts = hold_out(whole, 0.2)
    assert 0.1 < len(parts["validation"]) / len(whole) < 0.3
    texts = [set(map(tuple, columns(parts[name], "sentence", "label"))) for name in parts]
    assert not texts[0] & texts[1]  # equal records are on one side
    fewer = hold_out(of_python("train", RECORDS), 0.2)
    assert set(map(tuple, columns(fewer["validation"], "sentence", "label"))) <= texts[1]


def test_of_two_records_one_is_held_out_and_of_one_none_can_be():
    assert [len(part) for part in hold_out(of_python("t", RECORDS[:2]), 0.01).values()] == [1, 1]
    with pytest.raises(ValueError, match=r"nothing can be held out of 1 record; give --data.valid"):
        hold_out(of_python("t", RECORDS[:1]), 0.5)


def test_errors_name_the_column_and_the_record(tmp_path):
    table = of_python("train", [{"text": "a"}, {"text": None}])
    with pytest.raises(ValueError, match=r"no column 'txt'; did you mean 'text'\?.*--data.text"):
        table.column("txt", "data.text")
    with pytest.raises(ValueError, match=r"train\[1\]: 'text' holds null, not text"):
        table.texts("text", "data.text")
    (tmp_path / "a.txt").write_text("no table")
    with pytest.raises(ValueError, match="is no table by its ending"):
        open_table(str(tmp_path / "a.txt"), "data.train")
    with pytest.raises(ValueError, match=r"nothing to train on; give .* with --data.train"):
        read_tables(Table())


@pytest.mark.parametrize("name", TASKS)
def test_a_column_that_a_task_does_not_read_is_refused(name):
    task, records = TASKS[name](), of_python("train", [{"column": "x"}])
    for role in ROLES.difference(task.usual, task.further):
        with pytest.raises(ValueError, match=f"data.{role} names 'column'.* leave it out") as error:
            task.columns(Table(**{role: "column"}), records)
        flag = f"--data.{role.replace('_', '-')} "
        assert flag not in str(error.value).partition("it reads")[2].replace(")", " ")
    if not task.writes:
        with pytest.raises(ValueError, match=r"data.target_length is 4, and .* leave it out"):
            task.columns(Table(target_length=4), records)


def test_a_misspelt_column_is_told_before_another_that_is_not_found():
    records = of_python("train", [{"body": "x"}])
    expected = r"no column 'bdy'; did you mean 'body'.*pass --data.text NAME"
    with pytest.raises(ValueError, match=expected):
        TASKS["sequence_classification"]().columns(Table(text="bdy"), records)
