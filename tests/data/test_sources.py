"""Every file format of text, read twice, and every error in one."""

import bz2
import dataclasses
import gzip
import json
import lzma

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.sources import open_source
from transformers_jax.data.tables import open_table

TEXTS = ["first text, é", "second\n\ntext", "third 雪"]
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def read(path, split="train", **options):
    source = open_source(str(path), **options)
    once, twice = list(source.splits[split]), list(source.splits[split])
    assert once == twice
    return once


def jsonl(field="text"):
    return "".join(json.dumps({field: text, "n": 1}) + "\n" for text in TEXTS).encode()


@pytest.mark.parametrize("suffix", ["", *PACKERS])
def test_records_are_read_packed_or_not(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACKERS.get(suffix, bytes)(jsonl()))
    assert read(path) == TEXTS
    path.write_bytes(PACKERS.get(suffix, bytes)(jsonl("body")))
    assert read(path, field="body") == TEXTS


def test_zstandard_is_read_through_arrow(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    with pa.output_stream(str(path), compression="zstd") as file:
        file.write(jsonl())
    assert read(path) == TEXTS


def test_parquet_is_read_by_its_column(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"body": TEXTS, "n": [1, 2, 3]}), path)
    assert read(path, field="body") == TEXTS
    with pytest.raises(ValueError, match=r"no column 'text'; it has \['body', 'n'\]"):
        read(path)
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="no Parquet file"):
        read(path)


def test_tables_are_read_by_their_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,text\r\n1,"first, ""a""\nb"\r\n\r\n2,second\r\n')
    assert read(path) == ['first, "a"\nb', "second"]
    assert read(path, field="id") == ["1", "2"]
    assert open_source(str(path)).note == ""
    path = tmp_path / "b.tsv.gz"
    path.write_bytes(gzip.compress(f"review\n{'x' * 200_000}\n".encode()))
    assert read(path) == ["x" * 200_000]  # the only column, which is said
    assert open_source(str(path)).note == f"texts are from column 'review' of {path}"


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_an_encoding_can_be_given(tmp_path, name, encoding):
    content = {"a.jsonl": '{"text": "é\\nb"}\n', "a.csv": 'text\n"é\nb"\n'}.get(name, "é\nb")
    (tmp_path / name).write_bytes(content.encode(encoding))
    with pytest.raises(ValueError, match=r"--data\.encoding"):
        read(tmp_path / name)
    assert read(tmp_path / name, encoding=encoding) == ["é\nb"]


RECORDS = {
    ".CSV": b"id,text\n1,a b\n", ".tab": b"id\ttext\n1\ta b\n", ".TSV": b"text\na b\n",
    ".jsonlines": b'{"text": "a b"}\n', ".JSONL": b'{"text": "a b"}\n',
    ".Json.GZ": gzip.compress(b'{"text": "a b"}'), ".ldjson.xz": lzma.compress(b'{"text": "a b"}'),
}  # fmt: skip


@pytest.mark.parametrize("ending", RECORDS)
def test_the_kinds_of_records_have_several_endings_in_any_letters(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(RECORDS[ending])
    assert read(tmp_path / f"a{ending}") == ["a b"]
    assert read(tmp_path) == ["a b"]


def test_parquet_has_capitals_too(tmp_path):
    parquet.write_table(pa.table({"text": TEXTS}), tmp_path / "u.Parquet")
    assert read(tmp_path / "u.Parquet") == TEXTS


@pytest.mark.parametrize(
    ("ending", "advice"),
    {
        ".csv.zip": "unpack it", ".tar.gz": "unpack it", ".TGZ": "unpack it",
        ".html": "make it plain text", ".HTM": "make it plain text", ".pdf": "make it plain text",
        ".png": "make it plain text", ".arrow": "write its texts as .jsonl", ".pt": "are weights",
    }.items(),
)  # fmt: skip
def test_what_is_no_text_is_refused_with_what_to_do(tmp_path, ending, advice):
    (tmp_path / f"a{ending}").write_bytes(b"<b>text</b>")
    (tmp_path / "a.txt").write_bytes(b"text")
    for path in (tmp_path / f"a{ending}", tmp_path):
        with pytest.raises(
            ValueError, match=f"a{ending} is no plain text, by its ending.*{advice}"
        ):
            read(path)
    assert read(tmp_path / "*.txt") == ["text"]  # as advised


def test_token_ids_in_a_folder_are_no_text(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(9))
    with pytest.raises(ValueError, match="token ids are given as a file"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.md", "a.py", "a.log", "a", "a.v2", "A.TXT", "a.xml.gz"])
def test_plain_text_has_any_other_ending_and_no_nul(tmp_path, name):
    pack = gzip.compress if name.endswith(".gz") else bytes
    (tmp_path / name).write_bytes(pack(b"plain\n\ntext"))
    assert read(tmp_path / name) == ["plain\n\ntext"]
    (tmp_path / name).write_bytes(pack("plain text".encode("utf-16-le")))
    for documents in ("file", "line"):
        with pytest.raises(ValueError, match=r"holds NUL at character 1; .*--data\.encoding"):
            read(tmp_path / name, documents=documents)
    assert read(tmp_path / name, encoding="utf-16-le") == ["plain text"]


@pytest.mark.parametrize("documents", ["file", "paragraph", "line"])
def test_the_mark_of_the_byte_order_is_no_text(tmp_path, documents):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfplain text")
    assert read(tmp_path / "a.txt", documents=documents) == ["plain text"]
    assert read(tmp_path / "a.txt", rules=2) == ["\ufeffplain text"]  # of runs that had it


def test_unknown_encodings_are_refused():
    for name in ("utf-9", "hex", ""):
        with pytest.raises(ValueError, match=r"data\.encoding .* is unknown; Python's names"):
            Data(encoding=name)


def test_documents_of_a_text_are_files_paragraphs_or_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\n\n \nthree\r\n")
    assert read(path) == ["one\ntwo\n\n \nthree\r\n"]
    assert read(path, documents="paragraph") == ["one\ntwo", "three"]
    assert read(path, documents="line") == ["one", "two", "three"]
    with pytest.raises(ValueError, match="'word' is not one of"):
        open_source(str(path), documents="word")


def test_folders_and_patterns_are_read_in_order_with_their_splits(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden"):
        (tmp_path / name).write_text(name)
    assert read(tmp_path) == ["a.txt", "b.txt", "sub/c.txt"]
    assert read(tmp_path / "*.txt") == ["a.txt", "b.txt"]
    assert read(tmp_path / "**" / "*.txt")[-1] == "sub/c.txt"
    split = tmp_path / "split"
    split.mkdir()
    (split / "train.txt").write_text("t")
    (split / "validation.txt").write_text("v")
    assert (read(split), read(split, "validation")) == (["t"], ["v"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "line 2 is not JSON"),
        ("a.json", b'[{"text": "a"}]\n', "line 1 is list, not a record"),
        ("a.json", b'[\n{"text": "a"}]\n', "a record is a line, not an array"),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', r"line 2 has no field 'text'.*\['body'\]"),
        ("a.jsonl", b'{"text": 5}\n', "line 1: 'text' holds int"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": "\xff"}\n',
            "not UTF-8 .* byte 24, in line 2.*--data.enc",
        ),
        ("a.jsonl", b'{"text": "a"}\n{"text": null}\n', "line 2: 'text' holds null, not text"),
        ("a.txt", b"ab\xff", "not UTF-8 text .* at byte 2, in line 1.*--data.encoding NAME"),
        (
            "a.txt.gz",
            gzip.compress(b"a\n" * 2**20 + b"\xff", mtime=0),
            "byte 2097152, in line 1048577",
        ),
        (
            "a.csv",
            b"id,body\n1,a\n",
            r"no column 'text'; .* \['id', 'body'\]: pass --data.field NAME",
        ),
        ("a.csv", b"id;body\n1;a\n", "no column 'text'.*part the columns with ','"),
        ("a.csv", b"text,text\na,b\n", "2 column 'text'"),
        ("a.csv", b'id,text\n1,"a\nb"\n2,c,d\n', "line 4 has 3 cells and the first line 2"),
        ("a.csv", b'text\n"a" b\n', "line 2 is no row of a table"),
        ("a.csv", b"id,text\n1,\n", "is empty"),
        ("a.jsonl", b"\n", "is empty"),
        ("a.txt", b"", "is empty"),
        ("a.txt.gz", b"plain", "cannot be unpacked"),
        ("a.jsonl.xz", b"plain", "cannot be unpacked"),
        # `mtime`: a header with the hour would give each worker a test of another name.
        ("a.txt.gz", gzip.compress(b"text" * 99, mtime=0)[:-9], "cannot be unpacked"),
    ],
)
def test_an_error_in_a_source_names_file_and_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_sources_that_are_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for path, message in (
        (tmp_path / "none.txt", "is not a file; give a text"),
        (tmp_path / "*.txt", "a pattern that no file fits"),
        (tmp_path, "a folder without files"),
        ("tfds:wiki40b/en", "nothing is downloaded here.*tfds build wiki40b/en"),
        (f"tfds:{tmp_path}", "has no dataset_info.json"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(str(path))
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ValueError, match=r"transformers-jax\[data\]"):
        open_source("hf:some/name")


class Prepared:
    """What `open_hf` calls of the library."""

    def __init__(self, dataset):
        self.load_dataset = lambda *name: dataset
        self.load_from_disk = lambda folder: dataset


def test_data_sets_of_hugging_face_are_read_by_split(monkeypatch):
    rows = [{"text": text} for text in TEXTS]
    modules = __import__("sys").modules
    monkeypatch.setitem(modules, "datasets", Prepared({"train": rows, "validation": rows[:1]}))
    assert read("hf:some/name:config") == TEXTS
    assert read("hf:some/name", "validation") == TEXTS[:1]
    monkeypatch.setitem(modules, "datasets", Prepared({"test": rows}))
    with pytest.raises(ValueError, match="has no split train"):
        open_source("hf:some/name")


def prepare(folder, features, rows, form="array_record"):
    """A small prepared TFDS dataset, written by TFDS."""
    import tensorflow_datasets as tfds

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features(tfds.features))
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            return enumerate(rows)

    from transformers_jax.data.python_docs.builder import quietly

    builder = Small(data_dir=str(folder), file_format=form)
    quietly(builder.download_and_prepare)
    return builder


def test_data_sets_of_tfds_are_read_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    prepare(tmp_path, lambda f: {"text": f.Text()}, [{"text": text} for text in TEXTS])
    assert sorted(read("tfds:small")) == sorted(TEXTS) == sorted(read("tfds:small:1.0.0"))
    assert sorted(read(f"tfds:{tmp_path}/small/1.0.0")) == sorted(TEXTS)
    with pytest.raises(ValueError, match="has no feature 'body'"):
        open_source("tfds:small", field="body")
    with pytest.raises(ValueError, match="is not prepared"):
        open_source("tfds:small:2.0.0")


def test_ids_of_tfds_are_tokens(tmp_path, monkeypatch):
    from transformers_jax.data.config import Data
    from transformers_jax.data.corpus import load_corpus

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    rows = [{"text": np.arange(n, n + 5, dtype=np.uint16)} for n in range(30)]
    prepare(tmp_path, lambda f: {"text": f.Tensor(shape=(None,), dtype=np.uint16)}, rows)
    corpus = load_corpus(Data(path="tfds:small", tokenizer="none", eval_fraction=0.3))
    assert sum(corpus.documents.values()) == 30
    assert np.diff(corpus.parts[0].tokens.starts)[0] == 5


def test_other_features_of_tfds_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    features = lambda f: {"text": f.Text(), "many": f.Sequence(f.Text())}
    prepare(tmp_path, features, [{"text": "a", "many": ["b"]}])
    with pytest.raises(ValueError, match=r"feature 'many' is Sequence.*JSON"):
        open_source("tfds:small")
    features = lambda f: {
        "text": f.Tensor(shape=(None, 2), dtype=np.int32),
        "n": f.Scalar(np.int32),
    }
    prepare(tmp_path / "more", features, [{"text": np.zeros((1, 2), np.int32), "n": 1}])
    folder = f"tfds:{tmp_path}/more/small/1.0.0"
    for field, what in (("text", "Tensor of int32"), ("n", "Scalar of int32")):
        with pytest.raises(ValueError, match=rf"'{field}' is {what}.*, neither text nor one row"):
            open_source(folder, field=field)


def test_an_empty_path_is_not_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    for settings in (Data(path=""), Data(path=" "), Data(path="a.txt", eval_path="")):
        with pytest.raises(ValueError, match=r"data\.path is empty; give a text"):
            load_corpus(dataclasses.replace(settings, tokenizer="byte"))
    with pytest.raises(ValueError, match=r"data\.validation is empty"):
        open_table("", "data.validation")
    assert load_corpus(Data(path=".", tokenizer="byte")).documents["train"] == 1
