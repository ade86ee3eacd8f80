"""`tj.transcribe` with models of frames: chunks, batches, times of words, and its command."""

from __future__ import annotations

import itertools
import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.speech.test_transcribe import write
from transformers_jax.cli import main
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.nn.param import bind, flatten, params, unflatten
from transformers_jax.publish import publish_json
from transformers_jax.speech.frames import frames_of
from transformers_jax.speech.symbols import symbols_of

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAO")
CONFIG = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    conv_dim=(8, 8),
    conv_kernel=(40, 4),
    conv_stride=(40, 2),
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    vocab_size=len(TOKENS),
    pad_token_id=0,
    initializer_range=0.5,
)


def folder_of(folder, masked, norm=None):
    norm = norm or ("layer" if masked else "group")
    config = tj.Wav2Vec2Config(**CONFIG, feat_extract_norm=norm, do_stable_layer_norm=masked)
    model = tj.from_config(config, head="ctc", key=jax.random.key(3))
    # no message between frames: what a frame says depends on a few samples around it
    values = flatten(params(model))
    values = {n: x * 0 if "self.out" in n else x for n, x in values.items()}
    bind(model, unflatten(values)).save_pretrained(folder)
    publish_json(folder / "vocab.json", {token: n for n, token in enumerate(TOKENS)})
    publish_json(folder / "tokenizer_config.json", {"tokenizer_class": "Wav2Vec2CTCTokenizer"})
    features = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 4000}
    features |= {"do_normalize": False, "return_attention_mask": masked}
    publish_json(folder / "preprocessor_config.json", features)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    make = lambda masked: folder_of(tmp_path_factory.mktemp("frames"), masked)
    return {masked: make(masked) for masked in (True, False)}


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.uniform(0, 1, 40), 400)
    return (rng.normal(size=16_000) * loud).astype(np.float32)


def said(folder, audio, **options):
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    return tj.transcribe(model, audio, processor=processor, **options)


@pytest.mark.parametrize("chunk", [1.0, 1.7])
def test_chunks_of_a_long_audio_are_the_whole(folders, sound, chunk):
    frames = frames_of(tj.from_pretrained(folders[True]), tj.load_processor(folders[True]), 3)
    show = lambda share: None
    whole = frames.scores([sound], 16_000, 800, show)[0]
    size = int(chunk * 4000) // 80 * 80
    parts = frames.scores([sound], size, 960, show)[0]
    assert parts.shape == whole.shape
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    apart = frames.scores([sound], size, 160, show)[0]  # the ends of chunks are heard differently
    assert np.abs(apart - whole).max() > 1e-3
    one, other = said(folders[True], sound), said(folders[True], sound, chunk=chunk)
    assert one.text == other.text
    assert one.text


@pytest.mark.parametrize("masked", [True, False])
def test_a_batch_is_its_audios_one_by_one(folders, sound, masked):
    audios = [sound, sound[2000:9000], sound[:3333], sound[300:7300]]
    together = said(folders[masked], audios, batch=2, timestamps="words")
    for audio, one in zip(audios, together):
        assert said(folders[masked], audio, timestamps="words") == one
        assert one.duration == len(audio) / 4000


def test_a_model_that_normalises_over_a_row_reads_no_padding_though_there_is_a_mask(tmp_path):
    folder = folder_of(tmp_path, masked=True, norm="group")
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    rng = np.random.default_rng(1)
    audios = [(0.3 + rng.normal(size=size)).astype(np.float32) for size in (4100, 6300)]
    frames = frames_of(model, processor, 2)
    found = frames.scores(audios, 16_000, 800, lambda share: None)
    for audio, scores in zip(audios, found):
        alone = model(**processor(audio=audio)).logits[0]
        np.testing.assert_allclose(scores, alone, atol=1e-5)


def test_words_have_the_times_of_their_frames(folders, sound):
    one = said(folders[True], sound, timestamps="words")
    words = [word for segment in one.segments for word in segment.words]
    assert " ".join(word.text.strip() for word in words) == one.text
    assert all(0 <= a.start < a.end <= b.start for a, b in itertools.pairwise(words))
    assert words[-1].end <= one.duration
    assert all(len(segment.text) <= 80 for segment in one.segments)
    assert "".join(segment.text for segment in one.segments).strip() == one.text
    plain = said(folders[True], sound, timestamps="none")
    assert plain.text == one.text
    assert [(s.start, s.end) for s in plain.segments] == [(0.0, 4.0)]


def test_beams_and_lists_of_words_choose_the_text(folders, sound):
    short = sound[:2000]
    greedy = said(folders[True], short)
    beams = said(folders[True], short, num_beams=4)
    assert set(beams.text) <= {*"ETAO "}
    only = said(folders[True], short, num_beams=4, words=["TO", "EAT"])
    assert set(only.text.split()) <= {"TO", "EAT"}
    assert only.text != greedy.text


ERRORS = {
    "language": ({"language": "en"}, "leave out language"),
    "windows": ({"method": "windows"}, "leave out method='windows'"),
    "chunk": ({"chunk": 0.1}, "do not move on"),
    "overlap": ({"overlap": 0.0}, "at least two frames"),
    "batch": ({"batch": 0}, "expected a whole number from 1 on"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_means_nothing_is_refused(folders, sound, name):
    options, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        said(folders[True], sound, **options)


def test_an_unknown_option_and_a_short_audio_are_refused(folders, sound):
    with pytest.raises(TypeError, match="no option 'beams'"):
        said(folders[True], sound, beams=3)
    with pytest.raises(ValueError, match="audio 1 has 50 samples"):
        said(folders[True], [sound, sound[:50]])


def test_the_tokenizer_is_that_of_the_files(folders, tmp_path):
    tokenizer = load_tokenizer(folders[True])
    assert tokenizer.encode("TEA TO X").tolist() == [6, 5, 7, 4, 6, 8, 4, 3]
    assert tokenizer.decode([6, 5, 7, 4, 6, 8]) == "TEA TO"
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.encode("TEA TO X").tolist() == [6, 5, 7, 4, 6, 8, 4, 3]
    symbols = symbols_of(again, len(TOKENS), 0)
    assert (symbols.blank, symbols.delimiter, symbols.unknown) == (0, 4, 3)
    assert symbols.text([6, 5, 4, 7, 1]) == "TE A"


def test_an_empty_text_and_spaces_at_its_ends_are_decoded(folders):
    tokenizer = tj.load_tokenizer(folders[True])
    space, letter = TOKENS.index("|"), TOKENS.index("E")
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([space]) == ""
    assert tokenizer.decode([space, letter, space, letter, space]) == "E E"


def test_small_letters_are_written_with_capitals(folders, tmp_path):
    for name in ("vocab.json",):
        (tmp_path / name).write_bytes((folders[True] / name).read_bytes())
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "do_lower_case": True}
    publish_json(tmp_path / "tokenizer_config.json", settings)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("tea TO").tolist() == [6, 5, 7, 4, 6, 8]
    assert tokenizer.decode([6, 5, 7, 4, 6, 8]) == "tea to"


def test_tokens_of_several_characters_are_no_symbols():
    tokenizer = train_tokenizer("bpe", ["to eat to eat"] * 9, 270, ("pad",))
    with pytest.raises(ValueError, match="tokenizer character"):
        symbols_of(tokenizer, tokenizer.max_id + 1, None)


def test_a_folder_of_several_languages_names_one(tmp_path):
    publish_json(tmp_path / "vocab.json", {"eng": {"<pad>": 0, "|": 1, "a": 2}})
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer"}
    publish_json(tmp_path / "tokenizer_config.json", settings)
    with pytest.raises(ValueError, match="1 languages"):
        load_tokenizer(tmp_path)
    publish_json(tmp_path / "tokenizer_config.json", {**settings, "target_lang": "eng"})
    assert load_tokenizer(tmp_path).encode("a a").tolist() == [2, 1, 2]


def test_the_command_writes_lines_and_subtitles(folders, sound, tmp_path, capsys):
    write(tmp_path / "low.wav", sound[::2] / 4, 2000)
    out = tmp_path / "said.jsonl"
    command = ["transcribe", str(tmp_path / "low.wav"), "--model", str(folders[False])]
    assert main([*command, "--out", str(out), "--vtt", "--timestamps", "words"]) == 0
    line = json.loads(out.read_text())
    assert line["duration"] == pytest.approx(4.0)
    assert (tmp_path / "low.vtt").read_text().startswith("WEBVTT\n\n00:00:0")
    assert main([*command, "--language", "en"]) == 1
    assert "leave out language" in capsys.readouterr().err
    write(tmp_path / "short.wav", sound[:5], 2000)
    both = [command[0], str(tmp_path), *command[2:], "--on-error", "skip"]
    assert main(both) == 0
    said = capsys.readouterr().err
    assert f"left out: {tmp_path / 'short.wav'}: audio 0 has 10 samples, and a frame" in said
