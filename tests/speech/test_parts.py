"""The parts of transcription: cuts at times, agreement of chunks, alignment, words, subtitles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.speech.chunks import Said, agreement, joined, spans
from transformers_jax.speech.languages import CODES, code_of
from transformers_jax.speech.segments import Cut, cut_at_times
from transformers_jax.speech.vocabulary import Vocabulary, checked
from transformers_jax.speech.words import median_filter, warp, words_of

T = 100  # the token of the time 0


def test_two_times_end_a_piece_and_one_at_the_end_ends_the_window():
    open_end = [T, 1, 2, T + 5, T + 5, 3]
    assert cut_at_times(open_end, T, 40, 2) == ([Cut(0, 4, 0, 5)], 10)
    closed = [T, 1, T + 5, T + 6, 3, T + 9]
    assert cut_at_times(closed, T, 40, 2) == ([Cut(0, 3, 0, 5), Cut(3, 6, 6, 9)], 40)
    assert cut_at_times([T, 1, 2], T, 40, 2) == ([Cut(0, 3, 0, 20)], 40)
    assert cut_at_times([T, 1, T + 7], T, 40, 2) == ([Cut(0, 3, 0, 7)], 40)
    assert cut_at_times([1, 2, 3], None, 30, 2) == ([Cut(0, 3, 0, 15)], 30)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 1), (4, 6), (5, 3)])
def test_the_path_is_the_cheapest_of_all(rows, columns):
    cost = np.random.default_rng(rows * 10 + columns).normal(size=(rows, columns))

    def best(i, j):
        if (i, j) == (0, 0):
            return cost[0, 0]
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        return cost[i, j] + min(best(a, b) for a, b in before if a >= 0 and b >= 0)

    first, second = warp(cost)
    assert (first[0], second[0], first[-1], second[-1]) == (0, 0, rows - 1, columns - 1)
    steps = set(zip(np.diff(first).tolist(), np.diff(second).tolist()))
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert cost[first, second].sum() == pytest.approx(best(rows - 1, columns - 1))


def test_the_median_removes_a_spike_and_keeps_what_is_too_short():
    x = np.zeros((2, 12))
    x[0, 5] = 9
    assert not median_filter(x, 7).any()
    assert (median_filter(x[:, 4:7], 7) == x[:, 4:7]).all()


def test_chunks_cover_the_audio_and_overlap():
    for samples, chunk, overlap in itertools.product((1, 99, 100, 101, 555), (100,), (0, 30)):
        found = spans(samples, chunk, overlap)
        assert found[0][0] == 0
        assert found[-1][1] == samples
        assert all(end - begin <= chunk for begin, end in found)
        assert all(a[1] - b[0] == overlap for a, b in itertools.pairwise(found))
    with pytest.raises(ValueError, match="needs chunks of more"):
        spans(10, 5, 5)


def test_texts_that_overlap_are_joined_once():
    text = list(range(40))
    said = lambda tokens: [Said(token, 0.0, 1.0) for token in tokens]
    parts = [said(text[:18]), said(text[12:30]), said(text[24:])]
    assert [one.token for one in joined(parts)] == text
    wrong = [said([*text[:17], 99]), said([77, *text[13:]])]  # what the edges cut is wrong
    assert [one.token for one in joined(wrong)] == text
    assert agreement([1, 2, 3], [4, 5, 6]) == (3, 0)  # nothing in common: one after the other
    assert joined([]) == []


class Bytes:
    """A tokenizer whose tokens are bytes of UTF-8."""

    def decode(self, ids, skip_special_tokens=False):
        return bytes(ids).decode(errors="replace")


def words(text, language="en"):
    tokens = list(text.encode())
    starts = [float(i) for i in range(len(tokens))]
    return [w.text for w in words_of(Bytes(), tokens, starts, [s + 1 for s in starts], language)]


def test_words_are_cut_at_spaces_and_keep_their_punctuation():
    assert words(" Hello, world!") == [" Hello,", " world!"]
    assert words(" größer als") == [" größer", " als"]
    assert words(' he said "no" twice') == [" he", " said", ' "no"', " twice"]
    assert words("你好。", "zh") == ["你", "好。"]


def test_subtitles_hold_every_segment():
    segments = (tj.Segment(0.0, 1.5, " One & two"), tj.Segment(61.25, 3661.0, " a --> b\n\n c"))
    one = tj.Transcript("", segments, "en", 4000.0)
    assert tj.srt(one) == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne & two\n\n"
        "2\n00:01:01,250 --> 01:01:01,000\na -> b\nc\n"
    )
    assert tj.vtt(one) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne &amp; two\n\n"
        "00:01:01.250 --> 01:01:01.000\na -&gt; b\nc\n"
    )


VOCABULARY = Vocabulary(
    start=50, end=(49,), no_timestamps=60, languages={"en": 51, "de": 52},
    tasks={"transcribe": 55, "translate": 56},
)  # fmt: skip


def test_prompts_say_language_task_and_times():
    prompt = VOCABULARY.prompt
    assert prompt("de", "translate", False) == [50, 52, 56, 60]
    assert prompt("de", None, True) == [50, 52, 55]
    assert prompt(None, "transcribe", True) == [50, None, 55]
    assert prompt(None, None, False) == [50, None, 60]
    older = Vocabulary(start=50, end=(49,), no_timestamps=60, forced=(51, 55, 60))
    assert older.prompt(None, None, False) == [50, 51, 55, 60]
    assert older.prompt(None, None, True) == [50, 51, 55]
    plain = Vocabulary(start=50, end=(49,))
    assert plain.prompt(None, None, False) == [50]


def test_what_a_model_of_one_language_cannot_do():
    plain = Vocabulary(start=50, end=(49,), no_timestamps=60)
    assert checked(plain, None, "transcribe", True) == (None, None)
    for language, task in (("en", None), (None, "translate")):
        with pytest.raises(ValueError, match="knows no languages and tasks"):
            checked(plain, language, task, False)
    with pytest.raises(ValueError, match="timestamps='none'"):
        checked(Vocabulary(start=1, end=(2,)), None, None, True)


def test_a_language_has_several_names():
    known = {code: token for token, code in enumerate(sorted(set(CODES.values())))}
    assert len(known) == 100
    for name in ("German", "de", "<|de|>", " german "):
        assert code_of(name, known) == "de"
    with pytest.raises(ValueError, match="did you mean 'german'"):
        code_of("germna", known)
