"""Text becomes ids; text and ids that cannot be trained on are refused."""

import dataclasses

import numpy as np
import pytest

from transformers_jax.data import corpus as data
from transformers_jax.data.config import Data


def test_text_is_split_and_its_fingerprint_changes_with_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcdefghij" * 10)
    settings = Data(path=str(path), tokenizer="byte", eval_fraction=0.2)
    corpus = data.load_corpus(settings)
    assert (len(corpus.parts[0].tokens.ids), len(corpus.evaluation[""].ids)) == (80, 20)
    assert corpus.bytes_per_token[""] == 1.0
    path.write_text("abcdefghij" * 9 + "abcdefghiJ")
    assert data.load_corpus(settings).fingerprint != corpus.fingerprint
    other = tmp_path / "b.txt"
    other.write_text("held out")
    apart = data.load_corpus(dataclasses.replace(settings, eval_path=str(other)))
    assert (len(apart.parts[0].tokens.ids), len(apart.evaluation[""].ids)) == (100, 8)


def test_bits_per_byte_count_bytes_and_not_characters(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("é" * 100)
    corpus = data.load_corpus(Data(path=str(path), tokenizer="character"))
    assert corpus.bytes_per_token[""] == 2.0


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_token_files_are_read_as_stored(tmp_path, suffix):
    path = tmp_path / f"ids{suffix}"
    ids = (np.arange(200) * 7 % 50).astype(np.uint16)
    np.save(path, ids) if suffix == ".npy" else ids.tofile(path)
    corpus = data.load_corpus(Data(path=str(path), tokenizer="none"))
    assert isinstance(corpus.parts[0].tokens.ids, np.memmap)
    np.testing.assert_array_equal(corpus.parts[0].tokens.ids, ids[:180])
    data.check_ids(corpus, 50, str(path))
    with pytest.raises(ValueError, match=r"id 49 at 7 of the training part .* \[0, 49\)"):
        data.check_ids(corpus, 49, str(path))


def test_a_tokenizer_that_is_too_large_for_the_model_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abc" * 100)
    corpus = data.load_corpus(Data(path=str(path), tokenizer="byte"))
    with pytest.raises(ValueError, match=r"largest id \(255\).*--model.vocab-size 256"):
        data.check_ids(corpus, 255, str(path))


def test_files_that_hold_no_text_are_refused(tmp_path):
    def load(content, name="a.txt"):
        (tmp_path / name).write_bytes(content)
        data.load_corpus(Data(path=str(tmp_path / name)))

    for content, name, message in (
        (b"", "a.txt", "is empty"),
        (b" \n", "a.txt", "is empty"),
        (b"a\xff", "a.txt", "not UTF-8 text .* at byte 1, in line 1"),
        (b"", "a.bin", "is empty"),
        (b"abc", "a.bin", "no file of token ids"),
        (b"abc", "a.npy", "no file of token ids"),
    ):
        with pytest.raises(ValueError, match=message):
            load(content, name)
    np.save(tmp_path / "f.npy", np.zeros(5))
    with pytest.raises(ValueError, match="expected one row of integers"):
        data.load_corpus(Data(path=str(tmp_path / "f.npy")))
    with pytest.raises(ValueError, match="is not a file; give a text"):
        data.load_corpus(Data(path="python_dogs"))
