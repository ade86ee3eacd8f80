"""Folders of tokens are what was written: whatever changes is noticed, named and made anew."""

import json

import numpy as np
import pytest

from transformers_jax.cli import main
from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.file_sums import file_sum, known_sum
from transformers_jax.data.verification import Verification


@pytest.fixture
def tokens(tmp_path):
    """A folder of tokens in four shards."""
    source = tmp_path / "t.txt"
    source.write_text("".join(f"Document {n}. It has Two.\n" for n in range(600)))
    flags = ["--tokenizer", "byte", "--documents", "line", "--shard-size", "8KB", "--sentences"]
    assert main(["tokenize", str(source), "--out", str(tmp_path / "tokens"), *flags]) == 0
    return tmp_path / "tokens"


def read(folder):
    """What a run does with a folder when it starts."""
    corpus = load_corpus(Data(path=str(folder)))
    verification = Verification(corpus.expected)
    verification.wait()
    return corpus, verification


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def flip(file, draw):
    data = bytearray(file.read_bytes())
    data[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
    file.write_bytes(bytes(data))


def zeros(file):
    ids = np.fromfile(file, "<u2")
    ids[100:200] = 0
    ids.tofile(file)


def others(file):
    ids = np.fromfile(file, "<u2")
    ids[50:3000] = np.arange(50, 3000) % 250
    ids.tofile(file)


@pytest.mark.parametrize(
    "damage", [lambda file: flip(file, np.random.default_rng(0)), zeros, others]
)
def test_changed_ids_are_named_with_what_was_expected_and_the_command_that_mends(tokens, damage):
    whole, shard = content(tokens), tokens / "train" / "ids-00001.bin"
    expected = file_sum(shard)
    damage(shard)
    with pytest.raises(ValueError, match="differs from its checksum") as error:
        read(tokens)
    assert str(shard) in str(error.value)
    assert expected[:16] in str(error.value)
    assert f"`transformers-jax tokenize --out {tokens}` makes it anew" in str(error.value)
    assert main(["tokenize", "--out", str(tokens)]) == 0
    assert content(tokens) == whole
    read(tokens)


def test_a_flipped_bit_in_any_file_is_noticed_and_mended(tokens):
    draw, whole = np.random.default_rng(1), content(tokens)
    assert len(whole) > 15
    for name in whole:
        flip(tokens / name, draw)
        with pytest.raises(ValueError, match=str(tokens)):
            read(tokens)
        if name != "arguments.json":  # without which nothing is known of the source
            assert main(["tokenize", "--out", str(tokens)]) == 0
            assert (tokens / name).read_bytes() == whole[name]
        (tokens / name).write_bytes(whole[name])
        read(tokens)


def test_files_that_are_missing_are_named(tokens):
    (tokens / "validation" / "shard-00000.json").unlink()  # nothing that a run reads
    corpus = read(tokens)[0]
    shard = tokens / "train" / "ids-00002.bin"
    shard.unlink()
    with pytest.raises(ValueError, match=r"ids-00002\.bin cannot be read \(No such file"):
        Verification(corpus.expected).wait()
    with pytest.raises(ValueError, match=r"ids-00002\.bin is missing; .*tokenize --out"):
        read(tokens)


@pytest.mark.parametrize("inside", ["", "train"])
@pytest.mark.parametrize("checksums", [True, False])
def test_a_tokenizer_that_is_gone_is_missed_and_made_anew(tokens, inside, checksums):
    file, whole = tokens / "tokenizer.json", content(tokens)
    if not checksums:  # as earlier versions wrote it
        record = tokens / "tokenizer_fingerprint.json"
        record.write_text(
            json.dumps({"fingerprint": json.loads(record.read_text())["fingerprint"]})
        )
    file.unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json (cannot|is missing).*tokenize --out"):
        load_corpus(Data(path=str(tokens / inside)))
    assert main(["tokenize", "--out", str(tokens)]) == 0  # as advised
    assert content(tokens) == whole
    load_corpus(Data(path=str(tokens / inside)))


def test_tokens_without_the_tokenizer_that_they_name_are_refused(tokens, tmp_path):
    alone = tmp_path / "alone"
    (tokens / "train").rename(alone)
    with pytest.raises(ValueError, match=r"which is not beside it; name it with --data.tokenizer"):
        load_corpus(Data(path=str(alone)))
    assert load_corpus(Data(path=str(alone), tokenizer=str(tokens))).tokenizer is not None
    assert load_corpus(Data(path=str(alone), tokenizer="none")).tokenizer is None  # as asked for


def test_splits_that_were_swapped_are_noticed(tokens):
    for old, new in (("train", "x"), ("validation", "train"), ("x", "validation")):
        (tokens / old).rename(tokens / new)
    with pytest.raises(ValueError, match=r"train holds the split validation, as its meta\.json"):
        read(tokens)


def test_what_was_verified_is_not_read_again_until_it_is_touched(tokens):
    assert read(tokens)[1].size == 0  # `tokenize` has verified it
    shard = tokens / "train" / "ids-00000.bin"
    assert known_sum(shard)
    shard.write_bytes(shard.read_bytes())
    assert known_sum(shard) is None
    assert read(tokens)[1].size == shard.stat().st_size
    assert read(tokens)[1].size == 0


def test_folders_without_checksums_are_read_and_it_is_said(tokens):
    for file in tokens.glob("*/meta.json"):
        meta = json.loads(file.read_text())
        meta.pop("digest")
        for shard in meta["shards"]:
            shard.pop("sha256")
        file.write_text(json.dumps(meta))
    corpus, verification = read(tokens)
    assert (corpus.expected, verification.size) == ((), 0)
    assert corpus.notes == (f"{tokens} has no checksums: its files are not verified",)


def test_out_alone_goes_on_with_what_was_begun(tmp_path, capsys):
    assert main(["tokenize", "--out", str(tmp_path / "new")]) == 1
    assert "was not begun yet: name the source and --tokenizer" in capsys.readouterr().err
    assert main(["tokenize", "--out", str(tmp_path / "new"), "--eos"]) != 0
    assert main(["tokenize", "a.txt", "--out", str(tmp_path / "new")]) == 2
    assert "--tokenizer is missing" in capsys.readouterr().err


def test_a_text_of_the_same_size_is_another_source(tokens, capsys):
    source = tokens.parent / "t.txt"
    source.write_text(source.read_text().replace("Document 300", "document 300"))
    assert main(["tokenize", "--out", str(tokens)]) == 1
    assert (
        "(since then the files of the source, or what is in them, changed)"
        in capsys.readouterr().err
    )
    assert main(["tokenize", str(source), "--tokenizer", "character", "--out", str(tokens)]) == 1
    assert "begun otherwise (tokenizer: 'byte' -> 'character'" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".bin", ".npy"])
def test_every_id_of_a_file_is_in_its_fingerprint(tmp_path, suffix):
    file, ids = tmp_path / f"a{suffix}", np.arange(30_000, dtype=np.uint16)
    write = lambda ids: np.save(file, ids) if suffix == ".npy" else ids.tofile(file)
    settings = Data(path=str(file), tokenizer="none")
    write(ids)
    before = load_corpus(settings).fingerprint, load_corpus(settings, rules=1).fingerprint
    ids[15_000] = 7
    write(ids)
    assert load_corpus(settings).fingerprint != before[0]
    assert load_corpus(settings, rules=1).fingerprint == before[1]  # the control
