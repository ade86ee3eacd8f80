"""Proteins as text: FASTA files, and the tokenizer of ESM, which refuses what is no residue."""

import gzip

import pytest

from transformers_jax.data.classes.residues import TOKENS
from transformers_jax.data.learned import train_tokenizer
from transformers_jax.data.records import read_records
from transformers_jax.data.sources import open_source
from transformers_jax.data.tokenizers import load_tokenizer

# what EsmTokenizer of transformers 5.24 makes of the vocabulary of ESM-2
THEIRS = {
    "MKTAYIAK": [0, 20, 15, 11, 5, 19, 12, 5, 15, 2],
    "M K T\nAY": [0, 20, 15, 11, 5, 19, 2],
    "MK<mask>AY<pad>": [0, 20, 15, 32, 5, 19, 1, 2],
    "XBUZO.-": [0, 24, 25, 26, 27, 28, 29, 30, 2],
    "<null_1>MK": [0, 31, 20, 15, 2],
    "M<cls>K <eos>": [0, 20, 0, 15, 2, 2],
}


@pytest.fixture
def folder(tmp_path):
    """A folder as the hub has it: a vocabulary and the name of the class."""
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "EsmTokenizer"}')
    return tmp_path


@pytest.mark.parametrize("text", THEIRS)
def test_ids_are_those_of_the_class(text, folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.batch([text])["input_ids"][0].tolist() == THEIRS[text]


def test_a_pair_and_the_way_back(folder):
    tokenizer = load_tokenizer(folder)
    pair = tokenizer.batch(["MK"], ["AY"])
    assert pair["input_ids"].tolist() == [[0, 20, 15, 2, 5, 19, 2]]
    assert "token_type_ids" not in pair
    assert tokenizer.decode([0, 20, 15, 32, 2]) == "<cls> M K <mask> <eos>"
    assert tokenizer.decode([0, 20, 15, 32, 2], skip_special_tokens=True) == "M K"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MKJAY", r"'J' at place 3 \('MKJAY'\) is no amino acid; the letters are -\.ABC.*write X"),
        ("MK AY1", r"'1' at place 5 \('MKAY1'\) is no amino acid"),
        ("mk", r"'m' at place 1 .* residues are capitals: .*text\.upper\(\)"),
        ("M<mask>K*", r"'\*' at place 4"),
    ],
)
def test_what_is_no_residue_is_refused_with_its_place(text, message, folder):
    tokenizer = load_tokenizer(folder)
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(text)


def test_the_advice_of_the_errors_helps(folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("mk".upper()).tolist() == [20, 15]
    assert tokenizer.encode("MKJAY".replace("J", "X")).tolist() == [20, 15, 24, 5, 19]


def test_special_tokens_in_a_corpus_are_no_residues(folder):
    tokenizer = load_tokenizer(folder)
    with pytest.raises(ValueError, match="'<' at place 3"):
        tokenizer.encode("MK<mask>", parse_special=False)


def test_the_kind_of_a_run_is_the_class_and_is_saved_as_such(tmp_path):
    made = train_tokenizer("residues", [], 0, roles=("mask", "cls", "sep"))
    made.save(tmp_path)
    read = load_tokenizer(tmp_path)
    assert read.tokenizer_class == "EsmTokenizer"
    assert read.kind == "residues"
    assert (tmp_path / "vocab.txt").read_text().split("\n") == [*TOKENS]
    for text, ids in THEIRS.items():
        assert made.batch([text])["input_ids"][0].tolist() == ids
        assert read.batch([text])["input_ids"][0].tolist() == ids
    assert read.special_id("sep") == read.special_id("eos") == 2


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "esm"}')
    with pytest.raises(ValueError, match=r"vocab\.txt is not in .*EsmTokenizer reads it"):
        load_tokenizer(tmp_path)


FASTA = """>one first protein
MKTAY
IAKQR

>two
 GGS GGS
"""


def test_fasta_gives_a_record_for_each_sequence(tmp_path):
    file = tmp_path / "some.fasta"
    file.write_text(FASTA)
    records = [record for _, record in read_records(file)]
    assert records == [
        {"name": "one first protein", "text": "MKTAYIAKQR"},
        {"name": "two", "text": "GGSGGS"},
    ]
    packed = tmp_path / "some.faa.gz"
    packed.write_bytes(gzip.compress(FASTA.encode()))
    assert [record for _, record in read_records(packed)] == records
    source = open_source(str(file))
    assert [*source.splits["train"]] == ["MKTAYIAKQR", "GGSGGS"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("MKTAY\n>one\nMK\n", "line 1: expected a line that begins with '>'.*'MKTAY' came"),
        (">one\n>two\nMK\n", "line 1: no sequence follows 'one'"),
        (">one\nMK\n>two\n\n", "line 3: no sequence follows 'two'"),
    ],
)
def test_a_damaged_fasta_file_is_refused_with_the_line(content, message, tmp_path):
    file = tmp_path / "some.fa"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        [*read_records(file)]
