"""Documents as ids: in memory, joined, split, and in folders that are complete or refused."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.token_writing import breaks, document, write_tokens
from transformers_jax.data import token_folders as folders
from transformers_jax.data.tokens import Encoded, Joined, Tokens, cut_documents, fingerprint, join
from transformers_jax.json_files import with_digest


def make(lengths, seed=0, sentences=True):
    """Documents of given lengths, with a sentence at every third id."""
    draw = np.random.default_rng(seed)
    starts = np.cumsum([0, *lengths])
    ids = draw.integers(0, 500, starts[-1]).astype(np.uint16)
    marks = [np.arange(a, b, 3) for a, b in itertools.pairwise(starts)]
    return Tokens(ids, starts, np.concatenate([*marks, []]) if sentences else None)


def assert_same(one, other):
    np.testing.assert_array_equal(np.asarray(one.ids), np.asarray(other.ids))
    assert one.starts.tolist() == other.starts.tolist()
    assert (one.sentences is None) == (other.sentences is None)
    for d in range(len(one)):
        assert document(one, d).tolist() == document(other, d).tolist()
        if one.sentences is not None:
            assert breaks(one, d).tolist() == breaks(other, d).tolist()


def test_documents_and_breaks_are_cut_where_they_start():
    tokens = make([4, 0, 7])
    assert [len(document(tokens, d)) for d in range(3)] == [4, 0, 7]
    assert [breaks(tokens, d).tolist() for d in range(3)] == [[0, 3], [], [0, 3, 6]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 30), st.booleans())
def test_a_folder_reads_back_as_written_with_any_shard_size(tmp_path_factory, sizes, limit, marks):
    tokens = make(sizes, sentences=marks)
    folder = tmp_path_factory.mktemp("tokens") / "t"
    read = write_tokens(folder, tokens, shard_size=limit)
    assert_same(tokens, read)
    assert read.fingerprint == tokens.fingerprint == folders.check_tokens(folder).fingerprint


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=5), st.integers(-3, 20), st.integers(-3, 20))
def test_joined_arrays_are_cut_as_one(sizes, low, high):
    whole, starts = np.arange(sum(sizes), dtype=np.int32), np.cumsum([0, *sizes])
    joined = Joined([whole[a:b] for a, b in itertools.pairwise(starts)], np.int32)
    np.testing.assert_array_equal(joined[low:high], whole[low:high])
    np.testing.assert_array_equal(np.asarray(joined), whole)


def test_joined_documents_can_be_split_again():
    parts = make([3, 5], 1), make([2, 0, 4], 2), make([6], 3)
    whole = join(parts)
    assert len(whole) == 6
    for part, low, high in zip(parts, (0, 2, 5), (2, 5, 6)):
        assert_same(cut_documents(whole, low, high), part)
    assert whole.fingerprint != join(parts[::-1]).fingerprint


def test_the_fingerprint_covers_ids_starts_and_sentences_but_not_the_dtype():
    tokens = make([5, 6])
    assert fingerprint(tokens.ids.astype(np.int32), tokens.starts, tokens.sentences) == (
        tokens.fingerprint
    )
    others = [make([6, 5]), make([5, 6], sentences=False), make([5, 6], seed=1)]
    assert len({tokens.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_resumed_writer_writes_the_same_bytes(tmp_path):
    tokens = make([3, 9, 2, 8, 1, 7, 4])

    def write(folder, low, high):
        writer = folders.Writer(folder, "uint16", True, 16)
        assert writer.documents <= low
        for d in range(writer.documents, high):
            writer.add(Encoded(document(tokens, d), breaks(tokens, d)))
        return writer

    write(tmp_path / "once", 0, 7).close()
    for stop in (3, 5, 6):  # documents of an unwritten shard are lost with the process
        write(tmp_path / "often", stop, stop)
    (tmp_path / "often" / ".ids-00007.bin.12345.tmp").write_bytes(b"half")
    write(tmp_path / "often", 7, 7).close()
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "often").iterdir())
    assert "shard-00002.json" in names
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "often" / name).read_bytes()


def test_damage_is_detected_and_named(tmp_path):
    def fresh(name):
        write_tokens(tmp_path / name, make([5, 6, 7]), shard_size=8)
        return tmp_path / name

    flipped = fresh("flipped")
    content = bytearray((flipped / "ids-00001.bin").read_bytes())
    content[3] ^= 1
    (flipped / "ids-00001.bin").write_bytes(bytes(content))
    folders.load_tokens(flipped)  # sizes agree
    with pytest.raises(ValueError, match=r"ids-00001\.bin differs from its checksum"):
        folders.check_tokens(flipped)

    short = fresh("short")
    (short / "ids-00000.bin").write_bytes(b"ab")
    with pytest.raises(ValueError, match=r"ids-00000\.bin has 2 bytes; expected 10"):
        folders.load_tokens(short)
    deleted = fresh("gone")
    (deleted / "starts-00001.npy").unlink()
    with pytest.raises(ValueError, match=r"starts-00001\.npy is missing"):
        folders.load_tokens(deleted)
    (deleted / "meta.json").unlink()
    with pytest.raises(ValueError, match=r"meta\.json is missing; it was not finished"):
        folders.load_tokens(deleted)

    other = fresh("other")
    meta = json.loads((other / "meta.json").read_text())
    for change, message in (
        ({"version": 9}, "version 9"),
        ({"complete": False}, "whole folder"),
        ({"documents": 9}, "9 of 18"),
    ):
        (other / "meta.json").write_text(json.dumps(with_digest({**meta, **change})))
        with pytest.raises(ValueError, match=message):
            folders.load_tokens(other)
    (other / "meta.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        folders.load_tokens(other)
    with pytest.raises(ValueError, match="is no folder of tokens"):
        folders.load_tokens(tmp_path)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: Tokens(np.zeros((2, 2), int)), "one row of integers"),
        (lambda: Tokens(np.zeros(3)), "one row of integers"),
        (lambda: Tokens(np.arange(3), np.array([0, 2])), "from 0 to 3"),
        (lambda: Tokens(np.arange(3), np.array([0, 2, 1, 3])), "after document 1"),
        (lambda: Tokens(np.arange(3), np.array([0, 2, 3]), np.array([0, 1])), "at 2 and no"),
        (lambda: Tokens(np.arange(3), None, np.array([0, 3])), r"lie in \[0, 3\)"),
    ],
)
def test_tokens_that_do_not_fit_together_are_refused(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_ids_that_do_not_fit_the_dtype_are_refused(tmp_path):
    writer = folders.Writer(tmp_path)
    with pytest.raises(ValueError, match="do not fit uint16"):
        writer.add(Encoded(np.array([70_000])))
    with pytest.raises(ValueError, match="'int8' is not one of"):
        folders.Writer(tmp_path, "int8")
    big = write_tokens(tmp_path / "big", Tokens(np.array([70_000, 1])))
    assert big.ids.dtype == np.uint32
