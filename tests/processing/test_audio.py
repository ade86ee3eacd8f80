"""Sound: files of all kinds, the sampling rate, and the features of each extractor."""

import functools
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.processing import sounds
from transformers_jax.processing.audio.processor import audio_processor
from transformers_jax.processing.audio.read import read_audio, resample

HERE = Path(__file__).parent
WHISPER = {"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 1}
WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
AST = {"feature_extractor_type": "ASTFeatureExtractor", "max_length": 20}


@functools.cache
def stored():
    with np.load(HERE / "features.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize("case", sounds.CASES)
def test_features_equal_those_of_transformers(case):
    """1e-5 of what the classes compute by NumPy, in float64; where torch is installed Whisper's
    computes in float32, whose own rounding is larger in quiet bands."""
    kind, settings, names, options = sounds.CASES[case]
    options, config = dict(options), {"feature_extractor_type": f"{kind}FeatureExtractor"}
    if "do_normalize" in options:
        settings = {**settings, "do_normalize": options.pop("do_normalize")}
    rows = [sounds.sound(name) for name in names]
    out = audio_processor(config | settings)(rows, sounds.RATE, **options)
    keys = [key for key in stored() if key.startswith(f"{case}/")]
    assert set(out) == {key.split("/")[2] for key in keys}
    for key in keys:
        _, way, name = key.split("/")
        result = out[name][..., ::4] if kind == "Whisper" and out[name].ndim == 3 else out[name]
        assert result.dtype == stored()[key].dtype
        atol = 1e-5 if way == "numpy" else 4e-5
        np.testing.assert_allclose(result, stored()[key], atol=atol, err_msg=key)


def test_thirty_seconds_are_three_thousand_frames():
    features = audio_processor({**WHISPER, "chunk_length": 30})(sounds.sound("short"), 16000)
    assert features["input_features"].shape == (1, 80, 3000)
    quiet = features["input_features"][0, :, 200:]
    assert (quiet == quiet.min()).all()
    assert features["input_features"].max() - quiet.min() == 2


# ---------------------------------------------------------------- reading


KINDS = [
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 2**-24),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAVEX", "PCM_24", 2**-23),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
    ("WAV", "ULAW", 0.05),
]


def written(samples, form, kind, rate=16000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=kind)
    return file.getvalue()


@pytest.mark.parametrize(("form", "kind", "step"), KINDS)
def test_files_are_read_as_soundfile_reads_them(form, kind, step, tmp_path):
    samples = sounds.sound("brief")
    content = written(samples, form, kind)
    result, rate = read_audio(content)
    assert rate == 16000
    assert result.dtype == np.float32
    assert np.abs(result - samples).max() <= step
    reference, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    assert np.array_equal(result, reference)
    (tmp_path / "a").write_bytes(content)
    assert np.array_equal(read_audio(tmp_path / "a")[0], result)
    assert np.array_equal(read_audio({"bytes": content, "path": None})[0], result)


def test_plain_wav_needs_no_library(monkeypatch):
    content = written(sounds.sound("brief"), "WAV", "PCM_24")
    flac = written(sounds.sound("brief"), "FLAC", "PCM_16")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    assert len(read_audio(content)[0]) == 777
    with pytest.raises(ValueError, match=r"transformers-jax\[audio\]"):
        read_audio(flac)


def test_channels_are_averaged():
    left, right = sounds.sound("brief"), -0.5 * sounds.sound("brief")
    content = written(np.stack([left, right], 1), "WAV", "FLOAT")
    assert np.allclose(read_audio(content)[0], (left + right) / 2, atol=1e-7)


def test_another_rate_is_resampled_where_it_is_asked_for():
    """A tone stays the tone that it is."""
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    processor = audio_processor({**WAVES, "do_normalize": False})
    made = processor(tone, 44100, resample=True)["input_values"][0]
    assert made.shape == (16000,)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(made - wanted)[200:-200].max() < 1e-3
    assert resample(tone[:1001], 44100, 16000).shape == (364,)  # ceil(1001 * 16000 / 44100)
    with pytest.raises(ValueError, match=r"44100 samples a second, and .*resample=True"):
        processor(tone, 44100)


def test_a_batch_is_a_list_or_an_array_of_rows():
    processor = audio_processor(WAVES)
    rows = np.stack([sounds.sound("short"), sounds.sound("short")[::-1]])
    whole = processor(rows)["input_values"]
    assert np.array_equal(whole, processor(list(rows), 16000)["input_values"])
    assert np.array_equal(whole[:1], processor(rows[0].tolist(), 16000)["input_values"])
    ragged = processor([rows[0], rows[0][:900]], padding=False)["input_values"]
    assert [len(row) for row in ragged] == [2000, 900]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros(0, np.float32), "audio is empty"),
        ([], "audio is empty"),
        (b"", "empty"),
        (np.array([0.1, np.nan, 0.2]), "not finite, the first at 1"),
        (np.zeros((900, 2), np.float32), r"pass array.mean\(1\)"),
        ([np.zeros((2, 900), np.float32)], r"mix them with array.mean\(0\)"),
        (np.zeros(900, np.int16), "array / 32768"),
        ("nowhere.wav", "nowhere.wav does not exist"),
        (b"RIFF\0\0\0\0WAVEfmt ", "damaged WAV"),
        (b"no sound at all", "no audio that can be read"),
        ({"samples": 1}, "expected 'array', 'bytes' or 'path'"),
        (object(), "expected a path"),
    ],
)
def test_what_is_no_sound_says_what_was_expected(source, words):
    with pytest.raises(ValueError, match=words):
        audio_processor(WAVES)(source, 16000)


@pytest.mark.parametrize("source", [b"no sound at all", None, "text.wav"])
def test_messages_show_no_object_of_python(source, tmp_path):
    if source == "text.wav":
        source = tmp_path / source
        source.write_text("no sound at all")
    with pytest.raises(ValueError, match="audio") as error:
        read_audio(source)
    assert not re.search(r"<_io|object at|NoneType", str(error.value))


def test_a_file_that_was_cut_off_is_named(tmp_path):
    content = written(sounds.sound("short"), "WAV", "PCM_16")
    (tmp_path / "cut.wav").write_bytes(content[:500])
    with pytest.raises(ValueError, match=r"cut\.wav is a damaged WAV file: 456 of 4000 bytes"):
        audio_processor(WAVES)([tmp_path / "cut.wav"])


@pytest.mark.parametrize(
    ("config", "name", "options", "words"),
    [
        (WHISPER, "long", {}, "longer than 16000; truncation=True"),
        (WHISPER, "brief", {"padding": False, "max_length": 100}, "longer than 100"),
        (AST, "chirp", {}, "54 frames is longer than max_length=20"),
        (AST, "brief", {"padding": True}, "padding means nothing here"),
        (WAVES, "brief", {"truncation": True}, "need a max_length"),
    ],
)
def test_sound_of_a_wrong_length_is_refused(config, name, options, words):
    with pytest.raises(ValueError, match=words):
        audio_processor(config)(sounds.sound(name), **options)


def test_sound_that_is_shorter_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="99 samples is shorter than a frame of 400"):
        audio_processor(AST)(sounds.sound("brief")[:99])
    with pytest.raises(ValueError, match="shorter than half a window"):
        audio_processor(WHISPER)(sounds.sound("brief")[:99], padding=False)
    with pytest.raises(TypeError, match="no option 'paddding'; did you mean 'padding'"):
        audio_processor(AST)(sounds.sound("brief"), paddding=True)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"feature_extractor_type": "SpeechT5FeatureExtractor"}, "SpeechT5.* is not supported"),
        (
            {**WHISPER, "n_samples": 480000},
            "chunk_length, sampling_rate and hop_length make it 16000",
        ),
        ({**WHISPER, "dither": 0.1}, "noise is not added"),
        ({**WHISPER, "hop_lenght": 160}, "did you mean 'hop_length'"),
        ({**WHISPER, "hop_length": "160"}, "expected int"),
        ({**WAVES, "padding_side": "up"}, "expected 'left' or 'right'"),
        ({**WAVES, "feature_size": 2}, "samples have one feature"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_name(config, words):
    with pytest.raises(ValueError, match=words):
        audio_processor(config)
