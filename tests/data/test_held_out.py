"""How much text is held out: as much as was asked for, of few documents too, always the same."""

import dataclasses

import numpy as np
import pytest

from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.held_out import FEW, hold_out
from transformers_jax.data.texts import Source, Texts


def split(documents, fraction=0.1, **options):
    source = hold_out(
        Source("a", {"train": Texts(lambda: iter(documents))}), fraction, False, **options
    )
    return [list(source.splits[name]) for name in ("train", "validation")]


def words(count, longest=1, seed=0):
    draw = np.random.default_rng(seed)
    return [f"{n:05d} " * draw.integers(1, longest + 1) for n in range(count)]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("count", [6, 10, 30, 300, FEW])
def test_of_few_documents_the_share_is_rounded_exactly(count, fraction):
    for seed in range(5):
        train, held_out = split([f"{seed} {text}" for text in words(count)], fraction)
        assert abs(len(held_out) - fraction * count) <= 0.5
        assert len(train) + len(held_out) == count


@pytest.mark.parametrize("count", [2, 3, 30, 300])
@pytest.mark.parametrize("longest", [1, 50, 5000])
def test_the_share_is_that_of_the_text_however_documents_differ_in_size(count, longest):
    for seed in range(5):
        documents = words(count, longest, seed)
        train, held_out = (sum(map(len, side)) for side in split(documents))
        assert train + held_out == sum(map(len, documents))
        assert abs(held_out / (train + held_out) - 0.1) <= max(0.5 / count, 0.03)


UNEQUAL = {
    "20 small and one": [f"{n:04d}" * 250 for n in range(20)] + ["y" * 1_400_000],
    "one of each": ["a" * 10_000, "b" * 100],
    "doubling": [f"{n:02d}" * 2**n for n in range(15)],
}


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", UNEQUAL)
def test_where_few_documents_hold_most_of_the_text_the_share_is_kept(name, fraction):
    documents = UNEQUAL[name]
    sizes = [sum(map(len, side)) for side in split(documents, fraction)]
    assert sum(sizes) == sum(map(len, documents))
    assert fraction / 2 <= sizes[1] / sum(sizes) <= fraction * 2
    assert (1 - fraction) / 2 <= sizes[0] / sum(sizes) <= (1 - fraction) * 2
    before = [sum(map(len, side)) for side in split(documents, fraction, rules=2)]
    assert sum(before) == sum(sizes)
    if name != "doubling" and fraction == 0.1:  # as it was
        assert before[1] / sum(before) < fraction / 2


def test_of_many_documents_the_lowest_hashes_are_held_out():
    train, held_out = split(words(20 * FEW))
    assert abs(len(held_out) / (20 * FEW) - 0.1) < 0.01
    assert [train, held_out] == split(words(20 * FEW), rules=1)


def test_the_order_and_new_documents_change_little():
    documents = words(40)
    held_out = set(split(documents, 0.2)[1])
    assert set(split(documents[::-1], 0.2)[1]) == held_out
    for new in range(20):
        again = set(split([*documents, f"new {new}"], 0.2)[1])
        assert len(held_out - again) <= 1
        assert len(again - held_out) <= 1


def test_duplicates_are_on_one_side_and_never_all_are_held_out():
    train, held_out = split(words(10) * 3, 0.3)
    assert len(held_out) == 9
    assert not {*train} & {*held_out}
    assert all(split(["a", "b"], 0.9))
    assert all(split(["same text"] * 5, 0.5))


def test_two_files_are_trained_on_and_evaluated(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name * 500)
    corpus = load_corpus(Data(path=str(tmp_path), tokenizer="byte"))
    assert corpus.documents == {"train": 2, "validation": 2}
    assert len(corpus.evaluation[""].ids) == pytest.approx(100, abs=6)
    one_side = load_corpus(Data(path=str(tmp_path), tokenizer="byte", eval_fraction=0.4))
    assert one_side.documents == {"train": 1, "validation": 1}


def test_runs_of_earlier_versions_keep_their_split(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(words(60)))
    settings = Data(path=str(path), documents="line", tokenizer="byte")
    now, before = load_corpus(settings), load_corpus(settings, rules=1)
    assert now.fingerprint != before.fingerprint
    assert before.fingerprint == "07278f99a827c46c"  # pinned: of such a run
    other = dataclasses.replace(settings, documents="file")
    assert load_corpus(other).fingerprint == load_corpus(other, rules=1).fingerprint
