"""Decoding of frames: against every path there is, the words of a list, and times."""

import itertools
import json

import numpy as np
import pytest

from transformers_jax.generation.ctc import align, decode_ctc
from transformers_jax.generation.ctc_symbols import Symbols, read_symbols

SYMBOLS = Symbols(("<pad>", "|", "a", "b", "<s>"), blank=0, delimiter=1, special=frozenset({4}))
rng = np.random.default_rng(0)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def probabilities(scores, allowed=None):
    """{text: the sum over all of its paths}, by listing all paths."""
    found = {}
    for path in itertools.product((0, 1, 2, 3), repeat=len(scores)):
        ids = tuple(SYMBOLS.collapse(path))
        chance = np.exp(sum(scores[t, n] for t, n in enumerate(path)))
        found[ids] = found.get(ids, 0.0) + chance
    return found


def test_a_path_is_merged_and_its_blanks_left_out():
    assert SYMBOLS.collapse([2, 2, 0, 2, 1, 1, 3, 0, 0]) == [2, 2, 1, 3]
    assert SYMBOLS.text([4, 2, 2, 1, 3]) == "aa b"
    assert SYMBOLS.encode("aa b") == [2, 2, 1, 3]
    assert Symbols(("<pad>", "A"), blank=0, lower=True).text([1]) == "a"
    with pytest.raises(ValueError, match=r"no symbol for 'c'; there are \| a b"):
        SYMBOLS.encode("abc")


def test_greedy_decoding_takes_the_likeliest_path():
    logits = rng.normal(size=(3, 6, 5))
    for row, found in zip(logits, decode_ctc(logits, SYMBOLS)):
        assert list(found.ids) == SYMBOLS.collapse(row.argmax(1))
        assert np.isclose(found.score, log_softmax(row).max(1).sum())


def test_wide_beams_find_the_likeliest_text_of_all():
    logits = 2 * rng.normal(size=(8, 5, 5))
    logits[..., 4] = -60  # no text
    differ = 0
    for row in logits:
        chances = probabilities(log_softmax(row))
        best = max(chances, key=chances.get)
        (found,) = decode_ctc(row[None], SYMBOLS, beams=400)
        assert found.ids == best
        assert np.isclose(found.score, np.log(chances[best]))
        differ += decode_ctc(row[None], SYMBOLS)[0].ids != best
    assert differ  # the control: paths alone decide otherwise


def test_only_words_of_a_list_are_written_and_a_scorer_chooses():
    logits = rng.normal(size=(6, 7, 5))
    for found in decode_ctc(logits, SYMBOLS, beams=50, words=["ab", "ba"]):
        assert set(found.text.split()) <= {"ab", "ba"}
    flat = np.zeros((1, 6, 5))
    flat[..., 4] = -60
    like = lambda word: lambda text: 30.0 * text.split().count(word)
    for word in ("ab", "ba"):
        options = dict(beams=200, words=["ab", "ba"], scorer=like(word))
        assert word in decode_ctc(flat, SYMBOLS, **options)[0].text.split()
    for wrong, match in (
        (dict(words=["ab"]), "give beams=16"),
        (dict(beams=4, words=[]), "words is empty"),
        (dict(beams=4, words=["a b"]), "no single word"),
        (dict(lengths=[7]), "from 0 to 6"),
        (dict(beams=0), "beams=0"),
    ):
        with pytest.raises(ValueError, match=match):
            decode_ctc(flat, SYMBOLS, **wrong)
    with pytest.raises(ValueError, match=r"5 symbols.*vocab\.json"):
        decode_ctc(flat[..., :4], SYMBOLS)


def test_words_have_the_times_of_their_frames():
    path = np.array([0, 2, 2, 0, 3, 1, 0, 3, 3, 0])
    logits = np.where(np.arange(5) == path[:, None], 9.0, 0.0)[None]
    for beams in (1, 20):
        (found,) = decode_ctc(logits, SYMBOLS, beams=beams, seconds=0.02)
        assert found.text == "ab b"
        times = [(word.text, round(word.start, 3), round(word.end, 3)) for word in found.words]
        assert times == [("ab", 0.02, 0.1), ("b", 0.14, 0.18)]
    cut = decode_ctc(logits, SYMBOLS, lengths=[5], seconds=0.02)[0]
    assert [word.text for word in cut.words] == ["ab"]


def test_the_alignment_is_the_likeliest_path_of_the_text():
    for _ in range(5):
        scores = log_softmax(rng.normal(size=(5, 4)))
        for ids in ([2], [2, 2], [2, 3], []):
            paths = itertools.product(range(4), repeat=5)
            fitting = [p for p in paths if SYMBOLS.collapse(p) == ids]
            best = max(sum(scores[t, n] for t, n in enumerate(p)) for p in fitting)
            path = align(scores, ids, 0)
            assert SYMBOLS.collapse(path) == ids
            assert np.isclose(sum(scores[t, n] for t, n in enumerate(path)), best)
    assert align(scores[:2], [2, 2], 0) is None  # a blank must part them


def test_symbols_are_read_from_a_folder(tmp_path):
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    special = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(special))
    symbols = read_symbols(tmp_path)
    assert (symbols.blank, symbols.delimiter, symbols.unknown) == (0, 4, 3)
    assert symbols.text([1, 5, 4, 5, 2]) == "e e"
    assert symbols.encode("e z") == [5, 4, 3]
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": vocabulary}))
    with pytest.raises(ValueError, match="target_lang='None'; set it"):
        read_symbols(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
    with pytest.raises(ValueError, match="the blank"):
        read_symbols(tmp_path)
