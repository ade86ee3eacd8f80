"""`tj.transcribe` from samples to texts, and its command."""

from __future__ import annotations

import itertools
import json
import wave

import jax
import numpy as np
import pytest
import soundfile

import transformers_jax as tj
from transformers_jax.cli import main

ONCE = tj.Trust(temperatures=(0.0,))


def said(model, processor, audio, **options):
    return tj.transcribe(model, audio, processor=processor, trust=ONCE, **options)


def test_segments_follow_each_other_and_stay_inside_the_audio(model, processor, sound):
    one = said(model, processor, sound)
    assert one.duration == pytest.approx(2.6)
    assert one.language in ("en", "de")
    assert one.text == "".join(segment.text for segment in one.segments).strip()
    assert len(one.segments) > 2
    for before, after in zip(one.segments, one.segments[1:]):
        assert before.start <= before.end
        assert before.start <= after.start


def test_a_batch_is_its_audios_one_by_one(model, processor, sound):
    audios = [sound, sound[8000:20000], sound[:30000]]
    options = {"language": "en"}
    together = said(model, processor, audios, batch=3, **options)
    for audio, one in zip(audios, together):
        alone = said(model, processor, [audio], batch=3, **options)[0]
        assert one.text == alone.text
        assert [s.start for s in one.segments] == [s.start for s in alone.segments]


def test_language_and_task_change_the_prompt(model, processor, sound):
    texts = {
        (language, task): said(model, processor, sound, language=language, task=task).text
        for language in ("english", "de")
        for task in ("transcribe", "translate")
    }
    assert len(set(texts.values())) > 1


def test_what_was_said_before_is_told_or_not(model, processor, sound):
    alone = said(model, processor, sound, language="en")
    told = said(model, processor, sound, language="en", condition_on_previous=True)
    assert alone.segments[0].tokens == told.segments[0].tokens
    assert alone.text != told.text
    assert said(model, processor, sound, language="en", prompt="Names: Ada").text != alone.text


def test_words_lie_in_their_order(model, processor, sound):
    one = said(model, processor, sound, timestamps="words", language="en")
    for segment in one.segments:
        words = segment.words
        assert "".join(word.text for word in words) == segment.text
        assert all(word.start <= word.end for word in words)
        assert all(a.start <= b.start for a, b in itertools.pairwise(words))


def test_what_is_left_of_a_frame_has_no_window_of_its_own(model, processor, sound):
    whole = said(model, processor, sound[:16_000], language="en", max_new_tokens=3)
    for size in (16_001, 16_159):  # a frame is of 160 samples, a window of 16,000
        other = said(model, processor, sound[:size], language="en", max_new_tokens=3)
        assert [one.tokens for one in other.segments] == [one.tokens for one in whole.segments]


@pytest.mark.parametrize("size", [1, 159, 161, 16_001, 16_161])
def test_windows_of_hardly_a_frame_have_words(model, processor, sound, size):
    one = said(model, processor, sound[:size], timestamps="words", language="en")
    for segment in one.segments:
        assert "".join(word.text for word in segment.words) == segment.text


def test_chunks_of_a_short_audio_are_its_window(model, processor, sound):
    short = sound[:12_000]
    window = said(model, processor, short, language="en", timestamps="none", method="windows")
    chunk = said(
        model, processor, short, language="en", timestamps="none", method="chunks", batch=1
    )
    assert window.text == chunk.text


def test_temperatures_rise_until_a_text_is_trusted(model, processor, sound):
    never = tj.Trust(temperatures=(0.0, 0.3, 0.9), log_probability=10.0, no_speech=None)
    one = tj.transcribe(model, sound[:9000], processor=processor, language="en", trust=never)
    assert {segment.temperature for segment in one.segments} == {0.9}
    always = tj.Trust(log_probability=-100.0, compression=None)
    one = tj.transcribe(model, sound[:9000], processor=processor, language="en", trust=always)
    assert {segment.temperature for segment in one.segments} == {0.0}


def test_silence_is_left_out(model, processor, sound):
    silent = tj.Trust(temperatures=(0.0,), log_probability=10.0, no_speech=0.0)
    assert tj.transcribe(model, sound, processor=processor, trust=silent).segments == ()


ERRORS = {
    "language": ({"language": "klingon"}, "this model knows en, de"),
    "languages": ({"language": ["en", "de"]}, "2 names for 1 audios"),
    "task": ({"task": "sing"}, "expected one of transcribe, translate"),
    "timestamps": ({"timestamps": "all"}, "expected one of none, segments, words"),
    "method": ({"method": "fast"}, "expected one of windows, chunks"),
    "both": ({"timestamps": "words", "method": "chunks"}, "pass method='windows'"),
    "long": ({"timestamps": "none", "method": "windows"}, "method='chunks'"),
    "batch": ({"batch": 0}, "expected a whole number from 1 on"),
    "rate": ({"sampling_rate": 8000}, "resample=True"),
    "overlap": ({"method": "chunks", "overlap": 2.0}, "needs chunks of more"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_done_says_why(model, processor, sound, name):
    options, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        said(model, processor, sound, **options)


def test_a_model_that_writes_nothing_is_refused(processor, sound):
    config = tj.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    with pytest.raises(ValueError, match="reads input_features and writes text"):
        tj.transcribe(tj.from_config(config, key=jax.random.key(0)), sound, processor=processor)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperatures": ()}, "one or more numbers"),
        ({"compression": "zip"}, "expected one of text, ids, or None"),
        ({"log_probability": None}, "no_speech=None"),
    ],
)
def test_trust_refuses_what_means_nothing(options, words):
    with pytest.raises(ValueError, match=words):
        tj.Trust(**options)


def write(path, samples, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_the_command_writes_lines_and_subtitles_and_goes_on(whisper, sound, tmp_path, capsys):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("a", "b"):
        write(folder / f"{name}.wav", sound[: 9000 if name == "a" else 24_000])
    out = tmp_path / "said.jsonl"
    command = ["transcribe", str(folder), "--model", str(whisper), "--language", "en"]
    command += ["--out", str(out), "--srt", "--vtt"]
    assert main(command) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["file"] for line in lines] == [str(folder / "a.wav"), str(folder / "b.wav")]
    assert (folder / "a.vtt").read_text().startswith("WEBVTT\n\n00:00:0")
    assert (folder / "b.srt").read_text().startswith("1\n00:00:0")
    whole = out.read_text()
    out.write_text(whole.splitlines()[0] + '\n{"file": "half')
    assert main(command) == 0
    assert out.read_text() == whole
    assert main([*command[:1], str(folder / "b.wav"), *command[2:]]) == 1
    assert "lines of other files" in capsys.readouterr().err


def test_the_command_names_what_is_missing(whisper, tmp_path, capsys):
    for files, words in (
        ([str(tmp_path / "none.wav")], "there is no file or directory"),
        ([str(tmp_path)], "has no file that ends in .wav"),
    ):
        assert main(["transcribe", *files, "--model", str(whisper)]) == 1
        assert words in capsys.readouterr().err


def test_sound_that_cannot_be_read_is_named_or_skipped(whisper, sound, tmp_path, capsys):
    folder, out = tmp_path / "sounds", tmp_path / "said.jsonl"
    folder.mkdir()
    write(folder / "a.wav", sound[:0])
    (folder / "b.wav").write_bytes(b"RIFF what")
    wave_of_nan = np.full(16_000, np.nan, np.float32)
    soundfile.write(folder / "c.wav", wave_of_nan, 16_000, subtype="FLOAT")
    write(folder / "d.wav", sound[:9000])
    command = ["transcribe", str(folder), "--model", str(whisper), "--language", "en"]
    assert main(command) == 1
    assert f"{folder / 'a.wav'} is empty: it has no samples (--on-error skip" in (
        capsys.readouterr().err
    )
    assert main([*command, "--out", str(out), "--on-error", "skip"]) == 0
    said = capsys.readouterr().err
    assert "c.wav has samples that are not finite, the first at 0" in said
    assert "3 of 4 files could not be read" in said
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [sorted(line)[:2] for line in lines[:3]] == [["error", "file"]] * 3
    assert "error" not in lines[3]
    whole = out.read_text()
    assert main([*command, "--out", str(out), "--on-error", "skip"]) == 0
    assert out.read_text() == whole  # nothing is left to do
    assert f"3 of them with an error: remove {out} to read" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--on-error", "skip", "--srt"]) == 1
    assert "lines that were made with other srt" in capsys.readouterr().err
    alone = [command[0], str(folder / "a.wav"), *command[2:], "--on-error", "skip"]
    assert main(alone) == 1
    assert "none of the 1 files could be read" in capsys.readouterr().err


def test_another_rate_is_resampled_by_the_command(whisper, sound, tmp_path, capsys):
    write(tmp_path / "low.wav", sound[:16000:2], 8_000)
    assert main(["transcribe", str(tmp_path / "low.wav"), "--model", str(whisper)]) == 0
    assert capsys.readouterr().out


def test_progress_ends_with_the_whole(model, processor, sound):
    seen = []
    said(model, processor, sound, show=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert np.isfinite(seen).all()
